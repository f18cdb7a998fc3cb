"""Read the pickles of checkpoints without running a line of what they name.

A pickle is a program: it may name any function and call it. This reader first walks through the
whole program and refuses what checkpoints do not need. Then it unpickles with a list of exactly
known names, each of which stands for something inert: module classes for empty `Record`s,
tensors for a note of where their numbers lie, arrays of numpy for their raw values. Nothing from
torch, numpy or the file is called.
"""

import io
import pickle
import pickletools
from typing import Any

from protemb.models.pretrained.inert import (
    Inert,
    Names,
    NumberKind,
    Record,
    RefusedPickle,
    Storage,
    make_list,
    make_nothing,
    make_numbers,
    make_parameter,
    make_view,
)

# What picklers of protocol 2 and torch's own write. Not there: calls of classes by the file's own
# names (INST, OBJ), extension codes, persistent ids as text, buffers from elsewhere.
OPCODES = frozenset(
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 "
    "FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE "
    "BINUNICODE SHORT_BINUNICODE BINUNICODE8 EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE "
    "TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS EMPTY_SET ADDITEMS GLOBAL STACK_GLOBAL "
    "REDUCE NEWOBJ BUILD PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE BINPERSID".split()
)
MOST_OPCODES = 5_000_000
LONGEST_NUMBER = 64
"""Bytes (or digits) of a whole number; pickles may ask for numbers that take hours to convert."""

STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
MODULES = {
    "src.models.multitask": "SCOPCM OrdinalRegression ConvContactMap",
    "src.models.embedding": "StackedRNN LMEmbed Linear",
    "src.models.sequence": "BiLM",
    "src.models.comparison": "OrdinalRegression L1 L2",
    "prose.models.lstm": "SkipLSTM",
    "prose.models.multitask": "ProSEMT OrdinalRegression BilinearContactMap ConvContactMap L1 L2",
    "torch.nn.modules.sparse": "Embedding",
    "torch.nn.modules.dropout": "Dropout",
    "torch.nn.modules.container": "ModuleList Sequential",
    "torch.nn.modules.rnn": "LSTM GRU",
    "torch.nn.modules.linear": "Linear",
    "torch.nn.modules.activation": "ReLU LeakyReLU",
    "torch.nn.modules.conv": "Conv2d",
}


def _known_names() -> dict[tuple[str, str], Any]:
    known: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): Names,
        ("torch._utils", "_rebuild_tensor"): Inert(make_view),
        ("torch._utils", "_rebuild_tensor_v2"): Inert(make_view),
        ("torch._utils", "_rebuild_parameter"): Inert(make_parameter),
        ("torch.nn.parameter", "Parameter"): Inert(make_parameter),
        ("torch.nn.backends.thnn", "_get_thnn_function_backend"): Inert(make_nothing),
        ("__builtin__", "set"): Inert(make_list),
        ("builtins", "set"): Inert(make_list),
        ("_codecs", "encode"): Inert(make_nothing),
        ("numpy", "dtype"): NumberKind,
        ("numpy", "ndarray"): Inert(make_nothing),
    }
    for place in ("numpy.core.multiarray", "numpy._core.multiarray"):
        known[place, "scalar"] = Inert(make_nothing)
        known[place, "_reconstruct"] = Inert(make_numbers)
    for name, dtype in STORAGES.items():
        for place in ("torch", "torch.cuda"):
            known[place, name] = Inert(dtype=dtype)
    places = {**MODULES, "torch.backends.cudnn.rnn": "Unserializable"}
    for place, names in places.items():
        for name in names.split():
            kind = f"{place}.{name}"
            known[place, name] = type(name, (Record,), {"kind": kind, "__slots__": ()})
    return known


KNOWN = _known_names()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        # Texts of Python 2 are bytes of any kind; latin-1 reads them all.
        super().__init__(file, fix_imports=False, encoding="latin-1")
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return KNOWN[module, name]
        except KeyError:
            raise RefusedPickle(f"it asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        match pid:
            case ("module", type() as kind, *_) if issubclass(kind, Record):
                return kind
            case ("storage", Inert(dtype=dtype), key, _, count, *view) if dtype:
                key = str(key) if type(key) is int else key
                if not isinstance(key, str) or type(count) is not int or count < 0:
                    raise RefusedPickle("a storage without a name or a size")
                if any(part is not None for part in view):
                    raise RefusedPickle("a storage that is a view of another one")
                storage = Storage(key, dtype, count)
                if self.storages.setdefault(key, storage) != storage:
                    raise RefusedPickle(f"the storage {key!r} is described in two ways")
                return storage
        raise RefusedPickle("a reference that is neither a storage nor a known module")


def unpickle(file: io.BytesIO) -> tuple[Any, dict[str, Storage]]:
    """Read the pickle at the file's position; afterwards it stands behind it.

    Returns:
        The object, made of plain values, `Record`s and `View`s, and the storages by key.

    Raises:
        RefusedPickle: with a reason of one line.
    """
    start = file.tell()
    _vet(file)
    file.seek(start)
    reader = _Unpickler(file)
    try:
        return reader.load(), reader.storages
    except RefusedPickle:
        raise
    except RecursionError:
        raise RefusedPickle("it is nested too deeply") from None
    except Exception as error:  # whatever a damaged program leads to
        raise RefusedPickle(f"it is damaged ({type(error).__name__})") from None


def _vet(file: io.BytesIO) -> None:
    """Walk through the program without running it."""
    places, names, odd, number = [0], set[str](), "", 0
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if number > MOST_OPCODES:
                raise RefusedPickle(f"it has more than {MOST_OPCODES:,} instructions")
            if isinstance(argument, int) and argument.bit_length() > 8 * LONGEST_NUMBER:
                raise RefusedPickle("it holds a number of absurd length")
            if opcode.name not in OPCODES:
                odd = odd or opcode.name
            elif opcode.name == "GLOBAL":
                names.add(str(argument))
            elif opcode.name.endswith("PUT"):
                places.append(int(argument or 0))
    except RefusedPickle:
        raise
    except Exception as error:
        raise RefusedPickle(f"it is damaged ({type(error).__name__})") from None
    # What it wants to call says more than the instruction that it would do so with.
    if unknown := sorted(names - {" ".join(name) for name in KNOWN}):
        raise RefusedPickle(f"it asks for {unknown[0].replace(' ', '.')}")
    if odd:
        raise RefusedPickle(f"it has the instruction {odd}")
    # The unpickler reserves room up to the largest place, whether or not the others are used.
    if max(places) > number:
        raise RefusedPickle("it asks for more memory than its length can need")
