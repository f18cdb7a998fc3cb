"""What a training config may hold, and how its objects are built."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from protemb.errors import ConfigError
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
    scheduler: Any = None
    trainer: Any = MISSING
    logger: Any = None
    callbacks: Any = MISSING
    paths: Any = MISSING
    seed: int = 0
    level: str = "states"
    objective: str = MISSING
    objective_mode: str = MISSING
    resume: str = "auto"
    baselines: bool = True
    replicates: int = 1000
    unit_identity: float = 0.99
    train_share: float = 1.0
    shuffle: str = "none"
    vectors: list[str] | None = None
    figures: bool = True
    out_dir: str = MISSING
    choices: Any = MISSING
    overrides: list[str] = field(default_factory=list)
    # Set by a sweep that tunes: the run's number in its study, or the options that were tuned.
    trial: int | None = None
    tuned: list[str] | None = None


def register_schema() -> None:
    """Offer `TrainConfig` to conf/train.yaml under the name `train_schema`."""
    share_store().store(name="train_schema", node=TrainConfig)


def share_store() -> ConfigStore:
    """Hydra's store of configs, no longer copied for each of the groups that a help page lists.

    Hydra copies what it looks groups up in, to be free to change its list of sources; the store is
    one of these and stays as it is. A copy takes milliseconds, a help page over a hundred of them.
    """
    store = ConfigStore.instance()
    store.__deepcopy__ = lambda memo: store  # type: ignore[attr-defined]
    return store


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The config as resolved plain values.

    Raises:
        ConfigError: a value refers to another one that is not there.
    """
    try:
        values = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        what, *_ = str(error).splitlines()
        raise ConfigError(error.full_key or "config", None, f"a value ({what})") from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


POOLING_NAMES = ("mean", "max", "last", "ends", "attention", "position")
CHOICES = {
    "resume": ("auto", "never"),
    "objective_mode": ("max", "min"),
    # Those of sequences.shuffles, which loads numpy; --help has to be quick.
    "shuffle": ("none", "residues", "dipeptides"),
}

# Options that each kind of task has beside those of all tasks, and metrics that choose its epoch.
TASK_OPTIONS = {
    "classification": ("max_records", "hidden", "dropout", "class_weights", "label_smoothing"),
    "residue": ("max_records", "hidden", "dropout", "class_weights", "crf"),
    "similarity": (
        "level",
        "out_dim",
        "method",
        "norm",
        "levels",
        "unit",
        "tau",
        "resample",
        "pairs_per_epoch",
        "pairs_per_batch",
        "validation_pairs",
        "test_pairs",
        "alignment",
        "pairs_file",
        "cells",
    ),
    "lm": ("max_records",),
    "masked_lm": ("max_records", "masked"),
}
OBJECTIVES = {
    "classification": ("val/balanced_accuracy", "val/macro_f1", "val/loss"),
    "residue": ("val/accuracy", "val/macro_f1", "val/loss"),
    "similarity": ("val/spearman", "val/loss"),
    "lm": ("val/loss", "val/accuracy"),
    "masked_lm": ("val/loss", "val/accuracy"),
}

# Keys of the groups that are no class of their own.
TASK = ("kind", "objective", "objective_mode", "residues")
DATA = ("name", "hint", "source")
PATHS = ("root", "data", "cache", "runs")
# Keys that are read here, whatever the class makes of them.
TRAINER = ("num_nodes", "devices", "strategy", "precision", "enable_progress_bar")
CLASSES = {
    "trainer": ("_target_", *TRAINER),
    "split": ("_target_",),
    "encoder": ("_target_",),
    "pooling": ("_target_",),
    "optimizer": ("_target_",),
    "callbacks": ("best", "history"),
}
# Kind and range of numbers, by the name they have wherever they stand.
WHOLE = {
    name: 1
    for name in (
        "hidden",
        "residues",
        "max_records",
        "embed_dim",
        "hidden_dim",
        "layers",
        "kernel",
        "max_epochs",
        "devices",
        "num_nodes",
        "accumulate_grad_batches",
        "patience",
        "sequences_per_host",
    )
} | {"seed": 0, "fold": 0, "replicates": 2}
SHARES = ("dropout", "label_smoothing")
POSITIVE = ("lr",)
UP_TO_ONE = ("unit_identity", "train_share", "identity")


def check(values: Mapping[str, Any]) -> None:
    """Refuse what cannot work, before any data is read.

    Raises:
        ConfigError: a value out of range, or an option that its class does not have.
        ForbiddenTarget: a `_target_` that is not on the list.
    """
    check_section(values, [known.name for known in fields(TrainConfig)])
    for group, keys in CLASSES.items():
        check_section(values[group], keys, group, more=None)
    check_section(values["data"], DATA, "data", more=("splits",))
    check_section(values["paths"], PATHS, "paths")
    check_section(values["task"], ("kind",), "task", more=None)
    check_given(values["data"], "data.")
    for option, words in CHOICES.items():
        if values[option] not in words:
            raise ConfigError(option, values[option], f"one of {', '.join(words)}")
    kind = values["task"]["kind"]
    if kind not in TASK_OPTIONS:
        raise ConfigError("task.kind", kind, f"one of {', '.join(TASK_OPTIONS)}")
    if values["objective"] not in OBJECTIVES[kind]:
        raise ConfigError("objective", values["objective"], f"one of {', '.join(OBJECTIVES[kind])}")
    check_section(values["task"], TASK + TASK_OPTIONS[kind], "task")
    _check_numbers(values, "")
    for name in values["vectors"] or ():
        level, slash, pooling = str(name).partition("/")
        if name != "own" and (not slash or pooling not in POOLING_NAMES):
            expected = f"own, or level/pooling with one of {', '.join(POOLING_NAMES)}"
            raise ConfigError("vectors", name, expected)
    if (values["objective"] == "val/loss") != (values["objective_mode"] == "min"):
        raise ConfigError(
            "objective_mode", values["objective_mode"], "min for val/loss and max for the others"
        )
    for path, node in target_nodes(values):
        unknown = unknown_options(node)
        if unknown:
            raise ConfigError(f"{path}.{unknown[0]}", node[unknown[0]], "no such option")


def check_section(
    section: Any, keys: Sequence[str], path: str = "", more: Sequence[str] | None = ()
) -> None:
    """Refuse a part of a config with a key too many or too few.

    Args:
        section: the part.
        keys: that it has to have.
        path: where it stands; "" is the root.
        more: keys that it may have; None: any.

    Raises:
        ConfigError: the first of them, by its name.
    """
    dot = f"{path}." if path else ""
    if not isinstance(section, Mapping):
        raise ConfigError(path, section, f"options such as {dot}{keys[0]}")
    for name in section:
        if more is not None and name not in (*keys, *more):
            raise ConfigError(f"{dot}{name}", section[name], "no such option")
    for name in keys:
        if name not in section:
            raise ConfigError(f"{dot}{name}", None, "a value: it cannot be left out")


def check_given(section: Mapping[str, Any], path: str = "") -> None:
    """Refuse a config that leaves something to be said by its user.

    Raises:
        ConfigError: the first such option.
    """
    for name, value in section.items():
        if value == MISSING:
            raise ConfigError(f"{path}{name}", value, "a value: there is no usual one")
        if isinstance(value, Mapping):
            check_given(value, f"{path}{name}.")


def _check_numbers(node: Any, path: str) -> None:
    """Refuse numbers of the wrong kind or outside their range, wherever they stand."""
    for name, value in node.items() if isinstance(node, Mapping) else ():
        where = f"{path}.{name}" if path else str(name)
        if isinstance(value, Mapping):
            _check_numbers(value, where)
        elif value is None:
            continue
        elif name in WHOLE and not (type(value) is int and value >= WHOLE[name]):
            # Lightning takes "auto", lists of devices and -1 for all of them.
            if name != "devices" or type(value) is int and value != -1:
                raise ConfigError(where, value, f"a whole number from {WHOLE[name]} on")
        elif name in SHARES and not (isinstance(value, float | int) and 0 <= value < 1):
            raise ConfigError(where, value, "a share from 0 to below 1")
        elif name in POSITIVE and not (isinstance(value, float | int) and value > 0):
            raise ConfigError(where, value, "a number above 0")
        elif name in UP_TO_ONE and not (isinstance(value, float | int) and 0 < value <= 1):
            raise ConfigError(where, value, "a share above 0, at most 1")


def unknown_options(node: Mapping[str, Any]) -> list[str]:
    """Options of a `_target_` node that its class would refuse."""
    accepted = inspect.signature(locate(node["_target_"])).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
        return []
    return sorted(key for key in set(node) - set(accepted) if not key.startswith("_"))


def build(node: Mapping[str, Any], **options: Any) -> Any:
    """Build the object that a `_target_` node describes, if every target in it is allowed.

    Hydra's own `instantiate` would resolve interpolations once more, after the check; here plain
    values stay what they are.
    """
    target = locate(node["_target_"])
    given = {name: _built(value) for name, value in node.items() if not name.startswith("_")}
    if node.get("_partial_"):
        return partial(target, **given, **options)
    return target(**given, **options)


def _built(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build(value)
        return {name: _built(inner) for name, inner in value.items()}
    return [_built(inner) for inner in value] if isinstance(value, list) else value


def optimizer_of(values: Mapping[str, Any]) -> Any:
    """The optimizer that the config names, waiting for its parameters."""
    options = dict(values["optimizer"])
    if "mixed" in str(values["trainer"]["precision"]):
        # There Lightning does not clip the gradients of a fused optimizer.
        options.pop("fused", None)
    return build(options)
