"""Proteins with a label on every residue.

Shape letters: T = residues of the distinct sequences, N = records, L = residues of one protein,
M = records asked for, C = labels.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from protemb.errors import InputError
from protemb.files import write_json
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.segments import NOT_COUNTED, find_segments, present_marks

FORMAT = 1
ALL = "protein"
"""The one class of proteins that bear no marks."""


@dataclass(frozen=True, eq=False)
class ResidueSet:
    """Records, and the labels of their residues.

    Args:
        labelled: The records; their one label each is the kind of protein that its residue labels
            make (see `marks`).
        codes_T: uint8 index into `letters` of every residue of `labelled.store.tokens_T`;
            255 does not count.
        letters: The labels, one character each, sorted.
        segments: Labels of membrane segments, whose number and place are scored.
        marks: Kinds of protein by name: the labels of which one run makes a protein that kind.
        fingerprint: Hash of records and residue labels; computed when not given.
    """

    labelled: LabelledSet
    codes_T: np.ndarray
    letters: str
    segments: str = ""
    marks: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""

    def __post_init__(self) -> None:
        assert self.codes_T.dtype == np.uint8
        assert len(self.codes_T) == len(self.labelled.store.tokens_T)
        assert list(self.letters) == sorted(set(self.letters))
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", self._hash())

    def __len__(self) -> int:
        return len(self.labelled)

    def codes(self, record: int) -> np.ndarray:
        """Codes of the residues of one record, a view."""
        store = self.labelled.store
        sequence = store.sequence_of_N[record]
        return self.codes_T[store.offsets_S1[sequence] : store.offsets_S1[sequence + 1]]

    def flat(self, records_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes of some records end to end, and offsets_M1: where each begins."""
        pieces = [self.codes(record) for record in records_M]
        offsets_M1 = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])
        return np.concatenate(pieces), offsets_M1.astype(np.int64)

    def text(self, codes_L: np.ndarray, unknown: str = "?") -> str:
        """Codes as letters; residues that do not count are `unknown`."""
        table = np.full(256, ord(unknown), np.uint8)
        table[: len(self.letters)] = np.frombuffer(self.letters.encode("ascii"), np.uint8)
        return table[codes_L].tobytes().decode("ascii")

    @cached_property
    def counted_N(self) -> np.ndarray:
        """How many residues of each record count."""
        counted_T1 = np.concatenate([[0], np.cumsum(self.codes_T != NOT_COUNTED)])
        offsets_S1 = self.labelled.store.offsets_S1
        counted_S = counted_T1[offsets_S1[1:]] - counted_T1[offsets_S1[:-1]]
        return counted_S[self.labelled.store.sequence_of_N]

    def letter_counts(self, records_M: np.ndarray | None = None) -> dict[str, int]:
        """Residues of each label over all records, or over some."""
        records_M = np.arange(len(self)) if records_M is None else records_M
        sizes = np.zeros(256, np.int64)
        if len(records_M):
            sizes = np.bincount(self.flat(records_M)[0], minlength=256)
        return dict(zip(self.letters, sizes[: len(self.letters)].tolist(), strict=True))

    @property
    def mark_codes(self) -> list[list[int]]:
        """The codes that make each of the marks, in their order."""
        return mark_codes(self.letters, self.marks)

    @property
    def segment_codes(self) -> list[int]:
        """Codes of membrane segments."""
        return [self.letters.index(letter) for letter in self.segments if letter in self.letters]

    def write(self, folder: Path) -> None:
        """Write all but the tokens, which lie in `folder`/tokens already."""
        self.labelled.write_columns(folder)
        np.save(folder / "codes_T.npy", self.codes_T)
        meta = {
            "format": FORMAT,
            "letters": self.letters,
            "segments": self.segments,
            # A list keeps the order of the marks; JSON objects are written sorted.
            "marks": [list(pair) for pair in self.marks.items()],
            "fingerprint": self.fingerprint,
        }
        write_json(folder / "residues.json", meta)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Map what `write` left in `folder`."""
        folder = Path(folder)
        try:
            meta: dict[str, Any] = json.loads((folder / "residues.json").read_text("utf-8"))
        except FileNotFoundError:
            raise InputError(str(folder), "no residue labels: it has no residues.json") from None
        if meta["format"] != FORMAT:
            raise InputError(str(folder), f"got format {meta['format']}, expected {FORMAT}")
        codes_T = np.load(folder / "codes_T.npy", mmap_mode="r", allow_pickle=False)
        return cls(
            LabelledSet.open(folder),
            codes_T.view(np.ndarray),
            meta["letters"],
            meta["segments"],
            dict(meta["marks"]),
            meta["fingerprint"],
        )

    def _hash(self) -> str:
        digest = hashlib.sha256(self.labelled.fingerprint.encode())
        digest.update(json.dumps([self.letters, self.segments, list(self.marks.items())]).encode())
        digest.update(np.ascontiguousarray(self.codes_T).data)
        return digest.hexdigest()


def mark_codes(letters: str, marks: Mapping[str, str]) -> list[list[int]]:
    """Codes of the letters that make each mark."""
    return [
        [letters.index(letter) for letter in made_by if letter in letters]
        for made_by in marks.values()
    ]


def protein_kinds(
    codes_T: np.ndarray,
    offsets_P1: np.ndarray,
    letters: str,
    marks: Mapping[str, str],
    unmarked: str = ALL,
) -> list[str]:
    """Name the kind of each protein: its marks joined by "+", or `unmarked`.

    >>> codes_T = np.array([0] * 6 + [1] * 6 + [2] * 6, np.uint8)
    >>> protein_kinds(codes_T, np.array([0, 12, 18]), "HSi", {"alpha": "H", "SP": "S"}, "soluble")
    ['alpha+SP', 'soluble']
    """
    segments = find_segments(codes_T, offsets_P1)
    names = list(marks)
    present_PK = present_marks(segments, len(offsets_P1) - 1, mark_codes(letters, marks))
    return ["+".join(names[k] for k in np.flatnonzero(row_K)) or unmarked for row_K in present_PK]
