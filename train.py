"""Train and score an encoder: `python train.py encoder=bilstm pooling=mean`; --help shows more."""

import hydra
from omegaconf import DictConfig

from protemb.apps.config import register_schema
from protemb.apps.naming import register_resolvers

register_resolvers()
register_schema()


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Run one job; heavy imports wait until here, so --help and --cfg answer at once."""
    from protemb.apps.train import main as train

    return train(cfg)


if __name__ == "__main__":
    main()
