"""Train and score an encoder: `python train.py encoder=bilstm pooling=mean`; --help shows more."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from protemb.apps.config import register_schema
from protemb.apps.hydra_versions import MAIN, say_when_sweeping
from protemb.apps.naming import register_resolvers
from protemb.apps.starting import start

register_resolvers()
register_schema()


@hydra.main(config_path="conf", config_name="train", **MAIN)
def main(cfg: DictConfig) -> float | None:
    """Run one job; heavy imports wait until here, so --help and --cfg answer at once."""
    from protemb.apps.train import main as train

    return train(cfg)


if __name__ == "__main__":
    conf = Path(__file__).parent / "conf"
    folders = conf, conf / "shared"
    say_when_sweeping(*folders)
    start(main, *folders)
