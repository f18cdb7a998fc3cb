"""Small, quick training jobs, run in this process from a composed config."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from protemb.apps.config import register_schema
from protemb.apps.hydra_versions import BASE
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

    with initialize_config_dir(str(ROOT / "conf"), **BASE):
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


# Seconds as well: 144 rows of 8 proteins, 8 cells.
SMALL_GRID = [
    "folds.count=4",
    "nested=4",
    "seeds=[0]",
    "replicates=50",
    "regressor=ridge",
    "workers=1",
    "pooling=[mean,position]",
    "features=[concatenated,difference]",
]
SMALL_DEMO = ["table.source.proteins=8", "table.source.mutations=12"]
TWO_ENCODERS = ["~encoders.onehot"]


@pytest.fixture(scope="session")
def grid_options() -> Callable[..., list[str]]:
    """Options of a small grid, to which a test adds its own, for the command line too."""

    def options(*overrides: str) -> list[str]:
        def names(*groups: str) -> bool:
            return any(item.startswith(groups) for item in overrides)

        given = {item.partition("=")[0].lstrip("+") for item in overrides}
        return [
            *(item for item in SMALL_GRID if item.partition("=")[0] not in given),
            *([] if names("table=", "experiment=") else SMALL_DEMO),
            *([] if names("encoders=", "experiment=", "+encoders=") else TWO_ENCODERS),
            *overrides,
        ]

    return options


@pytest.fixture(scope="session")
def grid_config(grid_options: Callable[..., list[str]]) -> Callable[..., DictConfig]:
    """Compose the config of a small grid below a root folder, without a Hydra job around it."""
    from protemb.apps.variants.config import register_schema as register_grid

    register_resolvers()
    register_grid()

    def make(root: Path, *overrides: str, name: str = "run") -> DictConfig:
        own = [f"out_dir={root / 'runs' / name}", "choices={}", "overrides=[]"]
        options = [*grid_options(*overrides), f"paths.root={root}", *own]
        # Hydra has one place for the folder in use, which `composed` may hold.
        other, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
        try:
            with initialize_config_dir(str(ROOT / "conf" / "variants"), **BASE):
                return compose("variants", overrides=options)
        finally:
            GlobalHydra.instance().hydra = other

    return make


@pytest.fixture(scope="session")
def run_grid(grid_config: Callable[..., DictConfig]) -> Callable[..., Path]:
    """Run a small grid below a root folder; returns its folder."""
    from protemb.apps.variants.run import run

    def start(root: Path, *overrides: str, name: str = "run") -> Path:
        run(grid_config(root, *overrides, name=name))
        return root / "runs" / name

    return start


@pytest.fixture
def wandb_stages(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where wandb stages files, else a folder of the user's; no options from the environment."""
    home = tmp_path_factory.mktemp("wandb")
    for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "NETRC"):
        monkeypatch.setenv(variable, str(home / variable.lower()))
    for variable in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT", "WANDB_RUN_GROUP"):
        monkeypatch.delenv(variable, raising=False)
    return home / "wandb_data_dir"
