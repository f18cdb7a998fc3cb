"""The token store: residues of all distinct sequences end to end, and which record has which.

Shape letters: N = records, S = distinct sequences, T = residues of the distinct sequences,
A = records appended to a builder (N of them are kept).
"""

import hashlib
import json
import struct
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from protemb.errors import InputError
from protemb.files import write_json
from protemb.sequences.alphabet import AA21, Alphabet, Tokenizer
from protemb.sequences.repeats import Digests

FORMAT = 1
ARRAYS = ("tokens_T", "offsets_S1", "sequence_of_N", "ids_T", "id_offsets_N1")
# One appended record in the builder's scratch file; little-endian, no padding.
ROW = struct.Struct("<qqq")
ROW_DTYPE = np.dtype([("residues", "<i8"), ("bytes", "<i8"), ("line", "<i8")])


@dataclass(frozen=True, eq=False)
class TokenStore:
    """Tokens of N records; identical sequences are stored once, every id is kept.

    Distinct sequences stand in the order of their first record. Two stores with the same
    content have the same `fingerprint`, however they were built.

    >>> store = TokenStore.from_sequences([("a", "MKV"), ("b", "MK"), ("c", "MKV")])
    >>> len(store), store.n_sequences, store.sequence_of_N.tolist(), store.lengths_N.tolist()
    (3, 2, [0, 1, 0], [3, 2, 3])
    >>> store.id(2), store.sequence(2)
    ('c', 'MKV')
    """

    tokens_T: np.ndarray  # uint8, distinct sequences end to end; may be a memory map
    offsets_S1: np.ndarray  # int64, sequence s is tokens_T[offsets_S1[s] : offsets_S1[s + 1]]
    sequence_of_N: np.ndarray  # int64, the distinct sequence of each record
    ids_T: np.ndarray  # uint8, UTF-8 of all ids end to end
    id_offsets_N1: np.ndarray  # int64
    alphabet: Alphabet
    fingerprint: str

    def __len__(self) -> int:
        return len(self.sequence_of_N)

    @property
    def n_sequences(self) -> int:
        """Number of distinct sequences."""
        return len(self.offsets_S1) - 1

    @cached_property
    def lengths_S(self) -> np.ndarray:
        """Residues of each distinct sequence."""
        return np.diff(self.offsets_S1)

    @cached_property
    def lengths_N(self) -> np.ndarray:
        """Residues of each record."""
        return self.lengths_S[self.sequence_of_N]

    def tokens(self, record: int) -> np.ndarray:
        """Tokens of one record, a view."""
        return self.distinct(self.sequence_of_N[record])

    def distinct(self, sequence: int) -> np.ndarray:
        """Tokens of one distinct sequence, a view."""
        return self.tokens_T[self.offsets_S1[sequence] : self.offsets_S1[sequence + 1]]

    def sequence(self, record: int) -> str:
        """Residues of one record as text (synonyms already read as what they stand for)."""
        return self.alphabet.decode(self.tokens(record))

    def id(self, record: int) -> str:
        """Id of one record."""
        start, stop = self.id_offsets_N1[record], self.id_offsets_N1[record + 1]
        return self.ids_T[start:stop].tobytes().decode()

    def ids(self) -> Iterator[str]:
        """Ids of all records, in order, one at a time."""
        return map(self.id, range(len(self)))

    def positions(self) -> dict[str, int]:
        """Record index of every id; made anew on each call."""
        return {record_id: record for record, record_id in enumerate(self.ids())}

    @classmethod
    def open(cls, folder: str | Path) -> "TokenStore":
        """Memory-map the store that a builder left in `folder`."""
        return cls._load(Path(folder), "r")

    @classmethod
    def from_sequences(
        cls, records: Iterable[tuple[str, str]], alphabet: Alphabet = AA21
    ) -> "TokenStore":
        """Build a store in memory from (id, sequence) pairs; every id must be its own."""
        tokenizer = Tokenizer(alphabet)
        with tempfile.TemporaryDirectory() as folder:
            with TokenStoreBuilder(folder, alphabet) as builder:
                for record_id, sequence in records:
                    tokens = tokenizer.encode(record_id, sequence.encode())
                    assert tokens is not None, "the default policy drops nothing"
                    builder.append(record_id, tokens)
                _, kept_A = builder.finish()
            if not kept_A.all():
                number = int(np.argmin(kept_A)) + 1
                raise InputError(builder.source, f"record {number} repeats an id given before")
            return cls._load(Path(folder), None)

    @classmethod
    def _load(cls, folder: Path, mmap_mode: Literal["r"] | None) -> "TokenStore":
        meta = _read_meta(folder)
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode=mmap_mode, allow_pickle=False)
            # A plain view: slicing a numpy.memmap itself costs a microsecond more each time.
            .view(np.ndarray)
            for name in ARRAYS
        }
        spelling = meta["alphabet"]
        synonyms = tuple((written, read_as) for written, read_as in spelling["synonyms"])
        alphabet = Alphabet(spelling["name"], spelling["symbols"], synonyms)
        return cls(**arrays, alphabet=alphabet, fingerprint=meta["fingerprint"])


def _read_meta(folder: Path) -> dict:
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(str(folder), "not a token store: it has no meta.json") from None
    if meta["format"] != FORMAT:
        raise InputError(str(folder), f"got token store format {meta['format']}, expected {FORMAT}")
    return meta


class TokenStoreBuilder:
    """Streams records to disk and leaves a `TokenStore` in `folder`.

    Use it in a `with` block: `append` each record, then `finish`. Nothing per record stays in
    memory while appending; `finish` needs about 30 bytes per record for a moment (whole numbers),
    not the sequences.

    Attributes:
        counts: what was done; `repeated_records` = same id and same sequence, kept once.
    """

    def __init__(self, folder: str | Path, alphabet: Alphabet, source: str = "<sequences>") -> None:
        """Start an empty store; `source` is the name that errors give to the input."""
        self.folder, self.alphabet, self.source = Path(folder), alphabet, source
        self.counts: Counter[str] = Counter()
        self.folder.mkdir(parents=True, exist_ok=True)
        # Nameless files: nothing is left behind, whatever goes wrong.
        self._tokens = tempfile.TemporaryFile(dir=self.folder)
        self._ids = tempfile.TemporaryFile(dir=self.folder)
        self._rows = tempfile.TemporaryFile(dir=self.folder)
        self._sequence_digests, self._id_digests = Digests(self.folder), Digests(self.folder)

    def __enter__(self) -> "TokenStoreBuilder":
        return self

    def __exit__(self, *_: object) -> None:
        for scratch in (self._tokens, self._ids, self._rows):
            scratch.close()
        for digests in (self._sequence_digests, self._id_digests):
            digests.close()

    def append(self, record_id: str, tokens: np.ndarray, line: int = 0) -> None:
        """Add a record; `line` (1-based, 0 = not known) is where an error would point."""
        assert tokens.dtype == np.uint8
        name, residues = record_id.encode(), tokens.tobytes()
        if not name or not residues:
            problem = "the id is empty" if not name else "the sequence is empty"
            raise InputError(self.source, problem, line or None, record_id)
        self._tokens.write(residues)
        self._ids.write(name)
        self._sequence_digests.append(residues)
        self._id_digests.append(name)
        self._rows.write(ROW.pack(len(residues), len(name), line))

    def finish(self) -> tuple[TokenStore, np.ndarray]:
        """Write the store; return it and kept_A, False where an appended record was a repeat.

        Raises:
            InputError: no record was appended, or an id came twice with different sequences.
        """
        if not self._rows.tell():
            raise InputError(self.source, "no sequences")
        self._rows.flush()
        rows_A = np.memmap(self._rows, ROW_DTYPE, "r").view(np.ndarray)
        first_A = self._sequence_digests.first_equal()
        kept_A = self._kept(rows_A, first_A)
        # A record that repeats an earlier id repeats its sequence too, so firsts are all kept.
        distinct_A = first_A == np.arange(len(rows_A))
        number_A = np.cumsum(distinct_A)
        number_A -= 1
        sequence_of_A = number_A[first_A]
        del first_A, number_A

        _save_selected(self.folder / "tokens_T.npy", self._tokens, rows_A["residues"], distinct_A)
        _save_selected(self.folder / "ids_T.npy", self._ids, rows_A["bytes"], kept_A)
        np.save(self.folder / "offsets_S1.npy", _offsets(rows_A["residues"][distinct_A]))
        np.save(self.folder / "sequence_of_N.npy", sequence_of_A[kept_A])
        np.save(self.folder / "id_offsets_N1.npy", _offsets(rows_A["bytes"][kept_A]))
        meta = {"format": FORMAT, "alphabet": asdict(self.alphabet)}
        write_json(self.folder / "meta.json", meta | {"fingerprint": self._fingerprint()})
        return TokenStore.open(self.folder), kept_A

    def _kept(self, rows_A: np.ndarray, first_A: np.ndarray) -> np.ndarray:
        first_id_A = self._id_digests.first_equal()
        kept_A = first_id_A == np.arange(len(rows_A))
        conflicts = np.flatnonzero(first_A != first_A[first_id_A])
        if len(conflicts):
            later = int(conflicts[0])
            earlier_line = int(rows_A["line"][first_id_A[later]])
            where = f" on line {earlier_line}" if earlier_line else " before"
            raise InputError(
                self.source,
                f"the sequence differs from the one given{where} under the same id",
                int(rows_A["line"][later]) or None,
                self._id_of(rows_A, later),
            )
        self.counts["repeated_records"] = int(len(kept_A) - kept_A.sum())
        return kept_A

    def _id_of(self, rows_A: np.ndarray, record: int) -> str:
        self._ids.seek(int(rows_A["bytes"][:record].sum()))
        return self._ids.read(int(rows_A["bytes"][record])).decode()

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(self.alphabet.fingerprint.encode())
        for name in ARRAYS:
            array = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            # The length keeps neighbours apart: (ab, c) and (a, bc) must differ.
            digest.update(len(array).to_bytes(8, "little"))
            digest.update(array.data)
        return digest.hexdigest()


def _offsets(lengths: np.ndarray) -> np.ndarray:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _save_selected(
    path: Path, scratch: BinaryIO, lengths_A: np.ndarray, selected_A: np.ndarray, chunk: int = 4096
) -> None:
    """Copy the selected ones of the byte strings in `scratch` to a .npy file, a chunk at a time."""
    total = int(lengths_A[selected_A].sum())
    scratch.seek(0)
    # Not a mapped array: a disk that gets full would end the process without a word.
    with open(path, "wb") as target:
        header = {"descr": "|u1", "fortran_order": False, "shape": (total,)}
        np.lib.format.write_array_header_1_0(target, header)
        for start in range(0, len(lengths_A), chunk):
            here = slice(start, start + chunk)
            source_T = np.fromfile(scratch, np.uint8, int(lengths_A[here].sum()))
            target.write(source_T[np.repeat(selected_A[here], lengths_A[here])].tobytes())
