"""What pickled names stand for here: shells that hold what the file says, and can do nothing.

Nothing in this file calls, or is, a class or a function that a pickle names.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class RefusedPickle(Exception):
    """The pickle asks for something that no checkpoint needs, or is damaged; one line."""


class Record:
    """An object of a known module class: its attributes and nothing else.

    Attributes:
        kind: `module.Class`.
        state: its attributes.
    """

    __slots__ = ("state",)
    kind = ""

    def __init__(self, *_: object) -> None:
        self.state: dict[str, Any] = {}

    def __new__(cls, *_: object) -> "Record":
        made = super().__new__(cls)
        made.state = {}
        return made

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            # torch 0.4 writes a text here for what it could not pickle.
            state = {}
        self.state = {name: value for name, value in state.items() if isinstance(name, str)}


class Names(dict[Any, Any]):
    """Stands for collections.OrderedDict; attributes on it (`_metadata`) are dropped."""

    __slots__ = ()

    def __setstate__(self, _: object) -> None:
        pass


class Storage(NamedTuple):
    """Numbers of one kind, somewhere in the file."""

    key: str
    dtype: str
    numel: int


class View(NamedTuple):
    """A tensor: a part of a storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Inert:
    """What a name of the list stands for; BUILD cannot change it."""

    __slots__ = ("call", "dtype")

    def __init__(self, call: Callable[..., Any] | None = None, dtype: str = "") -> None:
        self.call, self.dtype = call, dtype

    def __call__(self, *arguments: Any) -> Any:
        if self.call is None:
            raise RefusedPickle("a storage type is called")
        return self.call(*arguments)

    def __setstate__(self, _: object) -> None:
        raise RefusedPickle("a function is given attributes")


def make_view(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> View:
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage) or not all(type(n) is int and n >= 0 for n in numbers):
        raise RefusedPickle("a tensor is described by something else than whole numbers")
    if len(size) != len(stride):
        raise RefusedPickle(f"a tensor has {len(size)} sizes and {len(stride)} strides")
    return View(storage, offset, tuple(size), tuple(stride))


def make_parameter(tensor: Any, *_: Any) -> Any:
    if not isinstance(tensor, View):
        raise RefusedPickle("a parameter that is no tensor")
    return tensor


def make_nothing(*_: Any) -> None:
    """Stands for values that do not matter here, such as torch's old backend."""


def make_list(items: Any = ()) -> list[Any]:
    return list(items) if isinstance(items, list | tuple) else []


class NumberKind(Record):
    """Stands for numpy.dtype: its letters, such as `f4`, and its order of bytes."""

    __slots__ = ("letters", "order")
    kind = "numpy.dtype"
    letters: object
    order: str

    def __new__(cls, letters: object = "", *_: object) -> "NumberKind":
        made: Any = super().__new__(cls)
        made.letters, made.order = letters, ""
        return made

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), "<" | ">" as order, *_):
                self.order = order


class Numbers:
    """Stands for an array of numpy: its shape and its raw values, held against each other."""

    __slots__ = ("_array",)

    def __init__(self) -> None:
        self._array: np.ndarray | None = None

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), tuple() as shape, NumberKind() as kind, bool() as columns, bytes() as raw):
                pass
            case _:
                raise RefusedPickle("an array is described by something else than plain values")
        if kind.letters not in ("f4", "f8") or not kind.order:
            raise RefusedPickle("an array that does not hold plain numbers")
        if not all(type(size) is int and size >= 0 for size in shape):
            raise RefusedPickle("an array whose sizes are no whole numbers")
        needed = np.dtype(f"{kind.order}{kind.letters}").itemsize
        for size in shape:
            needed *= size
        if needed != len(raw):
            raise RefusedPickle(f"an array of {shape}: got {len(raw):,} bytes, expected {needed:,}")
        values = np.frombuffer(raw, f"{kind.order}{kind.letters}")
        self._array = values.reshape(shape, order="F" if columns else "C")

    @property
    def array(self) -> np.ndarray:
        """The array, read-only."""
        if self._array is None:
            raise RefusedPickle("an array without values")
        return self._array


def make_numbers(*_: Any) -> Numbers:
    """Stands for the maker of numpy's arrays, which are empty at first."""
    return Numbers()
