"""Embeddings as features for variant effects: `python variants.py`; --help shows more."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from protemb.apps.hydra_versions import MAIN, say_when_sweeping
from protemb.apps.naming import register_resolvers
from protemb.apps.starting import start
from protemb.apps.variants.config import register_schema

register_resolvers()
register_schema()


@hydra.main(config_path="conf/variants", config_name="variants", **MAIN)
def main(cfg: DictConfig) -> float | None:
    """Run one grid; heavy imports wait until here, so --help and --cfg answer at once."""
    from protemb.apps.variants.run import main as run

    return run(cfg)


if __name__ == "__main__":
    conf = Path(__file__).parent / "conf"
    folders = conf / "variants", conf / "shared"
    say_when_sweeping(*folders)
    start(main, *folders)
