"""The encoders that a grid names: a model's weights, a control without training, random weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from protemb.apps.config import build
from protemb.apps.variants.config import words
from protemb.errors import ConfigError
from protemb.files import content_key
from protemb.models.encoders import Encoder
from protemb.models.encoders.fixed import FixedTable
from protemb.models.loading import load_model
from protemb.sequences.alphabet import AA21, Alphabet


@dataclass(frozen=True)
class GridEncoder:
    """An encoder of the grid, in evaluation mode.

    Attributes:
        name: in tables.
        encoder: gives the states.
        alphabet: the letters that it reads.
        levels: that are in the grid.
        trained: False for controls.
        facts: plain values that decide what it computes.
    """

    name: str
    encoder: Encoder
    alphabet: Alphabet
    levels: tuple[str, ...]
    trained: bool
    facts: Mapping[str, Any]


def open_encoder(
    name: str, node: Mapping[str, Any], level: str | list[str] | None, device: str
) -> GridEncoder:
    """Load or build one encoder.

    Args:
        name: in the config.
        node: its options.
        level: word or words that replace the encoder's own levels.
        device: where it will run.

    Raises:
        CheckpointError: weights that cannot be read.
        ConfigError: no such level or control.
    """
    usual = "states"
    if "weights" in node:
        try:
            model = load_model(node["weights"], device)
        except FileNotFoundError as error:
            raise ConfigError(f"encoders.{name}.weights", node["weights"], str(error)) from None
        encoder, alphabet, usual = model.encoder, model.alphabet, model.level
        facts: dict[str, Any] = {"sha256": model.sha256, "model": model.name}
    elif "control" in node:
        encoder, alphabet = FixedTable(kind=node["control"]), AA21
        facts = {"control": node["control"]}
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(node.get("seed", 0))
            encoder, alphabet = build(node["network"]), AA21
        facts = {"network": node["network"], "seed": node.get("seed", 0)}
        if encoder.alphabet_size != AA21.size:
            raise ConfigError(f"encoders.{name}.network", node["network"], "an encoder for aa21")
    trained = "weights" in node
    wanted = level if level is not None and (trained or _has(encoder, level)) else None
    levels = words(wanted or node.get("levels") or usual, "level")
    for each in levels:
        if each not in encoder.levels:
            expected = f"one of {', '.join(encoder.levels)} for {name}"
            raise ConfigError("level", each, expected)
    return GridEncoder(name, encoder.eval().to(device), alphabet, levels, trained, facts)


def _has(encoder: Encoder, level: str | list[str]) -> bool:
    """Controls stand beside models at levels that they do not have themselves."""
    return set(words(level, "level")) <= set(encoder.levels)


def encoder_key(found: GridEncoder) -> str:
    """Content key of what the encoder computes."""
    return content_key({"alphabet": found.alphabet.fingerprint, **found.facts})
