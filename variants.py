"""Embeddings as features for variant effects: `python variants.py`; --help shows more."""

import hydra
from omegaconf import DictConfig

from protemb.apps.naming import register_resolvers
from protemb.apps.variants.config import register_schema

register_resolvers()
register_schema()


@hydra.main(version_base="1.3", config_path="conf/variants", config_name="variants")
def main(cfg: DictConfig) -> float | None:
    """Run one grid; heavy imports wait until here, so --help and --cfg answer at once."""
    from protemb.apps.variants.run import main as run

    return run(cfg)


if __name__ == "__main__":
    main()
