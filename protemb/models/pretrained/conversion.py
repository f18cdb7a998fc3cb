"""From what was published to a network and the facts that its recipe keeps, for every family."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from protemb.files import hash_file
from protemb.models.pretrained.huggingface import (
    ALPHABET_OF,
    CONFIG,
    fetch,
    is_hub_name,
    read_transformer,
    weight_files,
)
from protemb.models.pretrained.inert import RefusedPickle
from protemb.models.pretrained.originals import HEADS, recurrent_network
from protemb.models.pretrained.published import known_file
from protemb.models.pretrained.unirep import unirep_network
from protemb.models.pretrained.unirep_files import (
    PUBLISHED,
    has_tensorflow_arrays,
    installed_weights,
    read_unirep,
    tensorflow_files,
)
from protemb.models.pretrained.weights import Weights, read_weights

NON_COMMERCIAL = (
    "The published weights of this family are licensed CC BY-NC 4.0: for non-commercial use, with "
    "attribution to their authors."
)
LICENCES = {
    "esm": (
        "Meta's ESM-2 and ESM-1b weights are under the MIT licence; models that others made from "
        "them may have another one: see the model's page."
    ),
    "t5": (
        "ProtTrans publishes its models, ProtT5 among them, under the Academic Free License 3.0; "
        "others of this family may have another licence: see the model's page."
    ),
}


@dataclass(frozen=True)
class Original:
    """A published model, read.

    Attributes:
        network: an encoder with `options` that build it again.
        alphabet: name of the letters that it reads.
        level: the vectors that the authors publish results for.
        source: name, hash and the like of what was read.
        licence: of the weights, in words.
        heads: tensors behind the embedding.
        hints: what the file says of how its model compares.
    """

    network: Any
    alphabet: str
    level: str
    source: Mapping[str, str]
    licence: str = NON_COMMERCIAL
    heads: Mapping[str, np.ndarray] = field(default_factory=dict)
    hints: Mapping[str, object] = field(default_factory=dict)


def read_original(source: str | PathLike[str]) -> Original:
    """Read a file, a folder, or what a name stands for.

    Raises:
        RefusedPickle: it is damaged, hostile, or of no known model.
        CheckpointError: it cannot be read.
        MissingExtra: an optional package is needed.
        DownloadError: the hub cannot be reached, or has no such model.
    """
    name, path = str(source), Path(source)
    if name in PUBLISHED:
        path = installed_weights(name)
        return _unirep(path, {"name": name, "sha256": hash_file(path)})
    if is_hub_name(name):
        folder = fetch(name)  # which the hub's cache names by the commit
        return _transformer(folder, {"name": name, "revision": folder.name})
    if (path / CONFIG).is_file():
        return _transformer(path, {"name": path.resolve().name})
    if path.is_dir():
        if not has_tensorflow_arrays(path):
            raise RefusedPickle("a folder without the files of a known model")
        sha256 = _hash_files(tensorflow_files(path))
        return _unirep(path, {"name": path.resolve().name, "sha256": sha256})
    if path.suffix in (".npz", ".pkl"):
        return _unirep(path, None)
    return _recurrent(path)


def _unirep(path: Path, source: Mapping[str, str] | None) -> Original:
    network = unirep_network(read_unirep(path))
    source = source or {"name": path.name, "sha256": hash_file(path)}
    return Original(network, "unirep", "average", source)


def _transformer(folder: Path, source: Mapping[str, str]) -> Original:
    network = read_transformer(folder)
    architecture = str(network.options["architecture"])
    source = {**source, "sha256": _hash_files(weight_files(folder))}
    alphabet, licence = ALPHABET_OF[architecture].name, LICENCES[architecture]
    return Original(network, alphabet, "states", source, licence)


def _recurrent(path: Path) -> Original:
    weights = read_weights(path)
    network = recurrent_network(weights.tensors)
    told = known_file(path.name, network.options)
    return Original(
        network,
        "aa21",
        _own_level(network.levels, network.skip),
        {"name": path.name, "sha256": hash_file(path)},
        heads={n: a for n, a in weights.tensors.items() if n.startswith(HEADS)},
        # What stands in the file goes before what its name says.
        hints=told | _similarity_hints(weights),
    )


def _own_level(levels: tuple[str, ...], skip: bool) -> str:
    if skip:
        return "all"
    return "projection" if "projection" in levels else "lm"


def _similarity_hints(weights: Weights) -> dict[str, object]:
    """State dicts say nothing."""
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


def _hash_files(paths: list[Path]) -> str:
    """Hash of a file, or of the list of several files' hashes as `sha256sum` prints it."""
    if len(paths) == 1:
        return hash_file(paths[0])
    lines = "".join(f"{hash_file(path)}  {path.name}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()
