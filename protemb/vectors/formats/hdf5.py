"""What the HDF5 layouts have in common: files with checksums, plain facts, and no way out of them.

An HDF5 file can point to other files (external links, external or virtual data); a file that was
given to us must not choose what else is read, so such a file is refused.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from protemb.vectors.formats.blocks import Plain

if TYPE_CHECKING:
    import h5py

# A chunk cache that holds the last chunk however wide its rows are.
CACHE_BYTES = 32 * 2**20


def create_file(part: Path, *, ordered: bool = False) -> "h5py.File":
    """A new file; from 1.10 on the format has checksums of its own structure too.

    Args:
        part: where to write.
        ordered: whether names are listed in the order in which they were made.
    """
    import h5py

    return h5py.File(
        part, "w", libver=("v110", "v110"), rdcc_nbytes=CACHE_BYTES, track_order=ordered
    )


def utf8(texts: Sequence[str]) -> np.ndarray:
    """Texts as an array of UTF-8 bytes of one width.

    HDF5 keeps texts of any length in a heap without checksums, and a damaged heap can send its
    library into an endless loop.
    """
    import h5py

    encoded = [text.encode() for text in texts]
    return np.array(encoded, h5py.string_dtype("utf-8", max(map(len, encoded), default=0) or 1))


def write_facts(holder: "h5py.HLObject", facts: Mapping[str, Plain]) -> None:
    """Plain facts as attributes of a file or data set."""
    for name, value in facts.items():
        if isinstance(value, str):
            text = utf8([value])
            holder.attrs.create(name, text[0], dtype=text.dtype)
        else:
            holder.attrs[name] = value


def read_facts(holder: "h5py.HLObject") -> dict[str, Any]:
    """The attributes of a file or data set as Python values, where they are plain."""
    return {name: plain(value) for name, value in holder.attrs.items()}


def plain(value: Any) -> Any:
    """A Python value from what h5py makes of an attribute."""
    if isinstance(value, np.generic):
        value = value.item()
    return value.decode() if isinstance(value, bytes) else value


def own_dataset(group: "h5py.Group", name: str) -> "h5py.Dataset":
    """A data set that lies in the file itself.

    Raises:
        KeyError: There is none of that name.
        TypeError: It is a group, or points out of the file.
    """
    import h5py

    way_out = _way_out(group, name, group.get(name, getlink=True))
    if way_out is not None:
        raise TypeError(way_out)
    if not isinstance(group[name], h5py.Dataset):
        raise TypeError(f"{name!r} is not a data set (were ids with '/' taken for folders?)")
    return group[name]


def refuse_outside(file: "h5py.File") -> None:
    """Look at everything in the file, before a library that follows links reads it.

    Raises:
        TypeError: Something points out of the file.
    """
    # What the visitor raised would leave h5py in a bad state: it returns the problem.
    way_out = file.visititems_links(lambda name, link: _way_out(file, name, link))
    if way_out is not None:
        raise TypeError(way_out)


def _way_out(group: "h5py.Group", name: str, link: object) -> str | None:
    """How what the link leads to points out of the file, or None when it does not."""
    import h5py

    if link is not None and not isinstance(link, h5py.HardLink):
        return f"{name!r} is a link"
    item = group[name]
    if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
        return f"{name!r} keeps its data in another file"
    return None
