"""Encoders that were trained here, in the form of converted models."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from protemb.errors import InputError
from protemb.files import whole_folder, write_json
from protemb.models.encoders.base import Encoder
from protemb.models.pretrained.library import HEAD, NUMBERS, RECIPE, RECIPE_VERSION
from protemb.sequences.alphabet import Alphabet


def save_pretrained(
    folder: str | PathLike[str],
    encoder_node: Mapping[str, Any],
    encoder: Encoder,
    alphabet: Alphabet,
    *,
    level: str,
    source: Mapping[str, str],
    heads: Mapping[str, Tensor] | None = None,
    hints: Mapping[str, object] | None = None,
    licence: str | None = None,
) -> Path:
    """Write a model's folder, whole or not at all, for `load_pretrained` to read.

    Args:
        folder: is made; it must not exist.
        encoder_node: plain values that build the encoder: `_target_` and its options.
        encoder: its weights.
        alphabet: the letters that it reads.
        level: the level that it embeds with when nothing else is asked for.
        source: `name` for people, and further facts such as the checkpoint's `sha256`.
        heads: tensors behind the embedding, by name.
        hints: plain facts on how heads are used.
        licence: of the weights, in words.

    Raises:
        InputError: the folder exists.
        ConfigError: the encoder has no such level.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(str(folder), "exists already; a model is never overwritten")
    encoder.check_level(level)
    assert "name" in source and encoder.alphabet_size == alphabet.size
    recipe = {
        "version": RECIPE_VERSION,
        "encoder": dict(encoder_node),
        "alphabet": alphabet.name,
        "alphabet_fingerprint": alphabet.fingerprint,
        "level": level,
        "hints": dict(hints or {}),
        "source": dict(source),
        "licence": licence,
    }
    numbers = _numbers(encoder)
    numbers |= {f"{HEAD}{name}": _plain(value) for name, value in (heads or {}).items()}
    with whole_folder(folder) as part:
        save_file(numbers, part / NUMBERS)
        write_json(part / RECIPE, recipe)
    return folder


def _numbers(encoder: nn.Module) -> dict[str, Tensor]:
    return {name: _plain(value) for name, value in encoder.state_dict().items()}


def _plain(value: Tensor) -> Tensor:
    """A copy on its own in host memory: the format refuses tensors that share it."""
    return value.detach().cpu().float().contiguous().clone()
