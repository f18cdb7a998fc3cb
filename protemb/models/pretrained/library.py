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
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from protemb.errors import CheckpointError, InputError, ProtembError
from protemb.files import hash_file, whole_folder, write_json
from protemb.models.encoders.base import Encoder
from protemb.models.pretrained.filling import fill
from protemb.models.pretrained.originals import HEADS, recurrent_network
from protemb.models.pretrained.pickles import RefusedPickle
from protemb.models.pretrained.unirep import unirep_network
from protemb.models.pretrained.weights import Weights, read_weights
from protemb.sequences.alphabet import ALPHABETS, Alphabet
from protemb.targets import locate

RECIPE_VERSION = 1
RECIPE, NUMBERS = "recipe.json", "model.safetensors"
ALLOWED = ("protemb.models.pretrained.",)
HEAD = "head/"
"""Prefix of tensors behind the embedding: similarity and contacts."""

NOTICE = (
    "The published weights of this family are licensed CC BY-NC 4.0: for non-commercial use, with "
    "attribution to their authors."
)


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


def convert(source: str | PathLike[str], folder: str | PathLike[str]) -> Path:
    """Read an original file and write the model's folder.

    Args:
        source: a checkpoint of Bepler and Berger's or ProSE's code in any of torch's layouts, or
            UniRep's weights as `.npz`.
        folder: is made; it must not exist.

    Raises:
        CheckpointError: the file is damaged, hostile, or of no known model.
        InputError: the folder exists.
    """
    source, folder = Path(source), Path(folder)
    if folder.exists():
        raise InputError(str(folder), "exists already; a converted model is never overwritten")
    try:
        if source.suffix == ".npz":
            network: Any = unirep_network(_arrays(source))
            heads: dict[str, np.ndarray] = {}
            level, alphabet, hints = "average", "unirep", {}
        else:
            weights = read_weights(source)
            network = recurrent_network(weights.tensors)
            heads = {n: a for n, a in weights.tensors.items() if n.startswith(HEADS)}
            level, alphabet = _own_level(network.levels, network.skip), "aa21"
            hints = _similarity_hints(weights)
    except RefusedPickle as error:
        raise CheckpointError(str(source), f"refused, nothing was executed: {error}") from None
    kind = type(network)
    recipe = {
        "version": RECIPE_VERSION,
        "encoder": {"_target_": f"{kind.__module__}.{kind.__name__}", **network.options},
        "alphabet": alphabet,
        "alphabet_fingerprint": ALPHABETS[alphabet].fingerprint,
        "level": level,
        "hints": hints,
        "source": {"name": source.name, "sha256": hash_file(source)},
        "licence": NOTICE,
    }
    numbers = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    numbers |= {f"{HEAD}{name}": np.ascontiguousarray(array) for name, array in heads.items()}
    with whole_folder(folder) as part:
        save_file(numbers, part / NUMBERS)
        write_json(part / RECIPE, recipe)
    return folder


def _similarity_hints(weights: Weights) -> dict[str, object]:
    """What the file says of how its model compares; state dicts say nothing."""
    wanted = ("align_method", "allow_insertions")
    hints = {
        name.removeprefix("scop_predict."): hint
        for name, hint in weights.hints.items()
        if name.removeprefix("scop_predict.") in wanted
    }
    for name, kind in weights.kinds.items():
        if name.rpartition(".")[2] == "compare":
            hints["norm"] = kind.rpartition(".")[2]
    return hints


def _own_level(levels: tuple[str, ...], skip: bool) -> str:
    """The vectors that the authors publish results for."""
    if skip:
        return "all"
    return "projection" if "projection" in levels else "lm"


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except OSError as error:
        problem = error.strerror or "it is damaged"
        raise CheckpointError(str(path), f"cannot be read: {problem}") from None
    except Exception as error:  # whatever damage makes of numpy's reader
        raise RefusedPickle(f"it is damaged ({type(error).__name__})") from None


def is_pretrained(path: str | PathLike[str]) -> bool:
    """Whether the path is the folder of a converted model."""
    return (Path(path) / RECIPE).is_file()


def load_pretrained(folder: str | PathLike[str]) -> Pretrained:
    """Load a converted model.

    Raises:
        CheckpointError: files are missing or damaged, or do not fit together.
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
        node = dict(recipe["encoder"])
        kind = locate(node.pop("_target_"), ALLOWED)
        if not issubclass(kind, Encoder):
            raise RefusedPickle("its encoder is none")
        encoder = kind(**node)
        fill(encoder, {n: a for n, a in numbers.items() if not n.startswith(HEAD)})
    except (ProtembError, RefusedPickle, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(str(folder), f"numbers and recipe do not fit: {reason}") from None
    heads = {n.removeprefix(HEAD): a for n, a in numbers.items() if n.startswith(HEAD)}
    return Pretrained(encoder, alphabet, heads, recipe, hash_file(folder / NUMBERS))
