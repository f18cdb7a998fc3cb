"""Small, quick training jobs, run in this process from a composed config."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from protemb.apps.config import register_schema
from protemb.apps.naming import register_resolvers

ROOT = Path(__file__).parents[2]

# Seconds, not minutes: 40 proteins per host, three epochs.
QUICK = [
    "data.source.sequences_per_host=40",
    "trainer=cpu",
    "trainer.max_epochs=3",
    "task.residues=4000",
    "encoder.embed_dim=4",
    "~callbacks.progress",
    "trainer.enable_progress_bar=false",
    "replicates=50",
]


@pytest.fixture(scope="session")
def composed() -> Iterator[Callable[..., DictConfig]]:
    """Compose conf/train.yaml with overrides, without a Hydra job around it."""
    register_resolvers()
    register_schema()

    def make(*overrides: str, out_dir: Path | str = "unused") -> DictConfig:
        chosen = {"encoder": "bilstm", "pooling": "mean", "split": "group"}
        for item in overrides:
            key, _, value = item.partition("=")
            if key in chosen:
                chosen[key] = value
        own = [f"out_dir={out_dir}", "choices={}", "overrides=[]"]
        own += [f"+choices.{key}={value}" for key, value in chosen.items()]
        return compose("train", overrides=[*overrides, *own])

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield make


@pytest.fixture
def train(composed: Callable[..., DictConfig], tmp_path: Path) -> Callable[..., Path]:
    """Run a quick job; returns its folder. `name` tells several jobs of a test apart."""
    from protemb.apps.train import run

    def start(*overrides: str, name: str = "run") -> Path:
        folder = tmp_path / name
        size = [] if "encoder=embedding" in overrides else ["encoder.hidden_dim=8"]
        job = [*QUICK, *size, f"paths.root={tmp_path}", "figures=false", *overrides]
        run(composed(*job, out_dir=folder))
        return folder

    return start
