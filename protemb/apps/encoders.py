"""The encoder that a config names, also when it is a model that is there already."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protemb.apps.config import build
from protemb.errors import ConfigError
from protemb.models.encoders import Encoder
from protemb.models.loading import load_model
from protemb.models.tuning import TunedEncoder, unwrapped


def weights_of(node: Mapping[str, Any]) -> str | None:
    """Path of the model that an encoder begins with, or None.

    Raises:
        ConfigError: it was not given.
    """
    if "weights" not in node:
        return None
    if node["weights"] in ("???", None, ""):
        expected = "a converted model, a run folder or a checkpoint"
        raise ConfigError("encoder.weights", node["weights"], expected)
    return str(node["weights"])


def weights_fingerprint(node: Mapping[str, Any]) -> str:
    """Hash of those weights; empty for an encoder that is trained from nothing."""
    weights = weights_of(node)
    return "" if weights is None else load_model(weights).sha256


def encoder_recipe(node: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values that build the encoder without the model that it began with."""
    return dict(node) if weights_of(node) is None else build(node).node


def begin_from_weights(encoder: Encoder, node: Mapping[str, Any], level: str) -> None:
    """Fill an encoder that was built from its recipe.

    Raises:
        ConfigError: nothing of what is to be tuned has a part in the level.
    """
    weights = weights_of(node)
    if weights is not None:
        assert isinstance(encoder, TunedEncoder)
        encoder.encoder.load_state_dict(unwrapped(load_model(weights))[0].state_dict())
        encoder.check_trains(level)


def encoder_label(values: Mapping[str, Any]) -> str:
    """The encoder's name in tables: the word of the config, or the folder of its weights."""
    weights = weights_of(values["encoder"])
    if weights is None:
        return values["choices"]["encoder"]
    tune = values["encoder"]["tune"]
    return Path(weights).absolute().name + ("" if tune == "head" else f"[{tune}]")
