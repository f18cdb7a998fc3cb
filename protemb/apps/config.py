"""What a training config may hold, and how its objects are built."""

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from typing import Any

import hydra.utils
from hydra.core.config_store import ConfigStore
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf

from protemb.errors import ConfigError, ProtembError
from protemb.targets import locate, target_nodes


@dataclass
class TrainConfig:
    """Root of the training config; an unknown key is an error before anything is loaded."""

    data: Any = MISSING
    split: Any = MISSING
    encoder: Any = MISSING
    pooling: Any = MISSING
    task: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    trainer: Any = MISSING
    logger: Any = MISSING
    callbacks: Any = MISSING
    paths: Any = MISSING
    seed: int = 0
    level: str = "states"
    objective: str = MISSING
    objective_mode: str = MISSING
    resume: str = "auto"
    baselines: bool = True
    replicates: int = 1000
    vectors: list[str] = field(default_factory=list)
    figures: bool = True
    out_dir: str = MISSING
    choices: Any = MISSING
    overrides: list[str] = field(default_factory=list)


def register_schema() -> None:
    """Offer `TrainConfig` to conf/train.yaml under the name `train_schema`."""
    ConfigStore.instance().store(name="train_schema", node=TrainConfig)


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The config as resolved plain values."""
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


CHOICES = {
    "resume": ("auto", "never"),
    "objective": ("val/balanced_accuracy", "val/macro_f1", "val/loss"),
    "objective_mode": ("max", "min"),
}


def check(values: Mapping[str, Any]) -> None:
    """Refuse what cannot work, before any data is read.

    Raises:
        ConfigError: a value out of range, or an option that its class does not have.
        ForbiddenTarget: a `_target_` that is not on the list.
    """
    for name in values:
        if name not in {known.name for known in fields(TrainConfig)}:
            raise ConfigError(name, values[name], "no such option")
    for option, words in CHOICES.items():
        if values[option] not in words:
            raise ConfigError(option, values[option], f"one of {', '.join(words)}")
    if values["replicates"] < 2:
        raise ConfigError("replicates", values["replicates"], "at least 2 bootstrap replicates")
    if (values["objective"] == "val/loss") != (values["objective_mode"] == "min"):
        raise ConfigError(
            "objective_mode", values["objective_mode"], "min for val/loss and max for the others"
        )
    for path, node in target_nodes(values):
        unknown = unknown_options(node)
        if unknown:
            raise ConfigError(f"{path}.{unknown[0]}", node[unknown[0]], "no such option")


def unknown_options(node: Mapping[str, Any]) -> list[str]:
    """Options of a `_target_` node that its class would refuse."""
    accepted = inspect.signature(locate(node["_target_"])).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
        return []
    return sorted(key for key in set(node) - set(accepted) if not key.startswith("_"))


def build(node: Mapping[str, Any], **options: Any) -> Any:
    """Build the object that a `_target_` node describes, if every target in it is allowed."""
    for _, inner in target_nodes(node):
        locate(inner["_target_"])
    try:
        with _hydra_whitelist():
            return instantiate(dict(node), **options, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, ProtembError):
            raise error.__cause__ from None
        raise


def _hydra_whitelist() -> AbstractContextManager[None]:
    """Hydra 1.4 asks for a list of its own; ours has been checked before, with more rules."""
    if not hasattr(hydra.utils, "execution_whitelist"):
        return nullcontext()
    return hydra.utils.execution_whitelist("*")
