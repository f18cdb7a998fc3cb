"""What the config of a variant grid may hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

from protemb.apps.config import check_given, check_section, share_store, unknown_options
from protemb.errors import ConfigError
from protemb.targets import target_nodes


@dataclass
class VariantsConfig:
    """Root of the config; an unknown key is an error before anything is loaded."""

    table: Any = MISSING
    encoders: Any = MISSING
    paths: Any = MISSING
    level: Any = None
    pooling: Any = MISSING
    features: Any = MISSING
    regressor: str | None = None
    seeds: list[int] = field(default_factory=lambda: [0])
    folds: Any = MISSING
    augment: bool = False
    nested: int | None = 5
    replicates: int = 2_000
    workers: int | None = None
    residues: int = 32_768
    device: str = "cpu"
    resume: str = "auto"
    logger: Any = None
    out_dir: str = MISSING
    choices: Any = MISSING
    overrides: list[str] = field(default_factory=list)


def register_schema() -> None:
    """Offer `VariantsConfig` to conf/variants/variants.yaml under the name `variants_schema`."""
    share_store().store(name="variants_schema", node=VariantsConfig)


KNOWN = {
    "table": ("name", "hint", "source"),
    "folds": ("kind", "count", "identity"),
    "paths": ("root", "data", "models", "cache", "runs"),
}
ENCODER = ("weights", "control", "network", "seed", "levels")
KINDS = ("weights", "control", "network")
LEAST = {"nested": 3, "replicates": 2, "workers": 1, "residues": 1}


def words(value: Any, option: str) -> tuple[str, ...]:
    """A word or a list of words; each counts once.

    Raises:
        ConfigError: there is none, or something is no word.
    """
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(x, str) for x in found):
        raise ConfigError(option, value, "a word or a list of words")
    return tuple(dict.fromkeys(found))


def check(values: Mapping[str, Any]) -> None:
    """Refuse what cannot work, before any data is read.

    Raises:
        ConfigError: a value out of range, or an option that is none.
        ForbiddenTarget: a `_target_` that is not on the list.
    """
    check_section(values, [known.name for known in fields(VariantsConfig)])
    check_given(values)
    for group, keys in KNOWN.items():
        check_section(values[group], keys, group)
    if values["resume"] not in ("auto", "never"):
        raise ConfigError("resume", values["resume"], "one of auto, never")
    for name, least in LEAST.items():
        if values[name] is not None and values[name] < least:
            raise ConfigError(name, values[name], f"a whole number from {least} on")
    seeds = values["seeds"]
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ConfigError("seeds", seeds, "whole numbers from 0 on, each once")
    for option in ("pooling", "features"):
        words(values[option], option)
    if values["level"] is not None:
        words(values["level"], "level")
    count, identity = values["folds"]["count"], values["folds"]["identity"]
    if type(count) is not int or count < 2:
        raise ConfigError("folds.count", count, "a whole number from 2 on")
    if type(identity) not in (int, float) or not 0 < identity <= 1:
        raise ConfigError("folds.identity", identity, "a share above 0, at most 1")
    _check_encoders(values["encoders"])
    for path, node in target_nodes(values):
        unknown = unknown_options(node)
        if unknown:
            raise ConfigError(f"{path}.{unknown[0]}", node[unknown[0]], "no such option")


def _check_encoders(encoders: Any) -> None:
    if not isinstance(encoders, Mapping) or not encoders:
        raise ConfigError("encoders", encoders, "encoders by name")
    for name, node in encoders.items():
        where = f"encoders.{name}"
        if not isinstance(node, Mapping):
            raise ConfigError(where, node, f"a mapping with one of {', '.join(KINDS)}")
        for option in node:
            if option not in ENCODER:
                raise ConfigError(f"{where}.{option}", node[option], "no such option")
        kinds = [kind for kind in KINDS if kind in node]
        if len(kinds) != 1:
            raise ConfigError(where, kinds, f"one of {', '.join(KINDS)}")
        if "weights" in node and not isinstance(node["weights"], str):
            expected = "a converted model, a run folder or a checkpoint"
            raise ConfigError(f"{where}.weights", node["weights"], expected)
        network = node.get("network", {"_target_": ""})
        if not isinstance(network, Mapping) or "_target_" not in network:
            raise ConfigError(f"{where}.network", network, "an encoder with its _target_")
        seed = node.get("seed", 0)
        if type(seed) is not int or seed < 0:
            raise ConfigError(f"{where}.seed", seed, "a whole number from 0 on")
        if node.get("levels") is not None:
            words(node["levels"], f"{where}.levels")
