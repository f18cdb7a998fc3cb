"""Labelled records ready for work: a token store, a label per record, optional columns."""

import hashlib
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from protemb.errors import InputError
from protemb.files import whole_folder, write_json
from protemb.sequences.tokens import TokenStore, TokenStoreBuilder

FORMAT = 1


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """N records with one label each.

    Args:
        store: Tokens and ids.
        labels_N: int64 index into `label_names`.
        label_names: Sorted.
        fields: Columns of length N by name: "group" and "split" (text), "year" (int64),
            "position" (int64, 0-based), and any further text columns for the audit.
        report: Plain counts of everything that reading did; goes into JSON.
        fingerprint: Hash of sequences, ids, labels and fields; computed when not given.
    """

    store: TokenStore
    labels_N: np.ndarray
    label_names: tuple[str, ...]
    fields: Mapping[str, np.ndarray] = field(default_factory=dict)
    report: Mapping[str, object] = field(default_factory=dict)
    fingerprint: str = ""

    def __post_init__(self) -> None:
        assert len(self.labels_N) == len(self.store)
        assert all(len(column) == len(self.store) for column in self.fields.values())
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", self._hash())

    def __len__(self) -> int:
        return len(self.store)

    @property
    def sequences_N(self) -> np.ndarray:
        """Index of each record's distinct sequence: equal numbers are equal sequences."""
        return self.store.sequence_of_N

    @cached_property
    def class_sizes(self) -> dict[str, int]:
        """Records of each label, in the order of `label_names`."""
        sizes_C = np.bincount(self.labels_N, minlength=len(self.label_names))
        return dict(zip(self.label_names, sizes_C.tolist(), strict=True))

    @classmethod
    def from_labels(
        cls,
        store: TokenStore,
        labels: Sequence[str],
        fields: Mapping[str, np.ndarray] | None = None,
        report: Mapping[str, object] | None = None,
    ) -> "LabelledSet":
        """Pair a store with one label name per record.

        >>> store = TokenStore.from_sequences([("a", "MKV"), ("b", "MK")])
        >>> LabelledSet.from_labels(store, ["swine", "avian"]).labels_N.tolist()
        [1, 0]
        """
        names, labels_N = np.unique(np.asarray(labels, str), return_inverse=True)
        return cls(
            store, labels_N.astype(np.int64), tuple(names.tolist()), fields or {}, report or {}
        )

    def save(self, folder: str | Path) -> None:
        """Write everything to a new folder, whole or not at all."""
        if Path(folder).exists():
            raise InputError(str(folder), "exists already; a data set is saved to a new folder")
        with whole_folder(folder) as part:
            copy_records(self.store, range(len(self)), part / "tokens")
            self.write_columns(part)

    def write_columns(self, folder: Path) -> None:
        """Write all but the store, which lies in `folder`/tokens already."""
        np.save(folder / "labels_N.npy", self.labels_N)
        for number, column in enumerate(self.fields.values()):
            # Numbered, because a user's word must not become a file name.
            np.save(folder / f"field_{number}.npy", column)
        meta = {
            "format": FORMAT,
            "label_names": list(self.label_names),
            "fields": list(self.fields),
            "report": self.report,
            "fingerprint": self.fingerprint,
        }
        write_json(folder / "meta.json", meta)

    @classmethod
    def open(cls, folder: str | Path) -> "LabelledSet":
        """Memory-map a set that `save` or a source's cache left in `folder`."""
        folder = Path(folder)
        try:
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(str(folder), "not a data set: it has no meta.json") from None
        if meta["format"] != FORMAT:
            got = meta["format"]
            raise InputError(str(folder), f"got data set format {got}, expected {FORMAT}")
        return cls(
            TokenStore.open(folder / "tokens"),
            _map(folder / "labels_N.npy"),
            tuple(meta["label_names"]),
            {name: _map(folder / f"field_{i}.npy") for i, name in enumerate(meta["fields"])},
            meta["report"],
            meta["fingerprint"],
        )

    def _hash(self) -> str:
        digest = hashlib.sha256(self.store.fingerprint.encode())
        names = json.dumps([self.label_names, sorted(self.fields)])
        digest.update(names.encode())
        digest.update(np.ascontiguousarray(self.labels_N).data)
        for _, column in sorted(self.fields.items()):
            digest.update(column.dtype.str.encode())
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()


def without_classes(data: LabelledSet, classes: Container[str], folder: Path) -> LabelledSet:
    """Leave out whole classes; the tokens of the other records are copied to `folder`."""
    kept_C = np.array([name not in classes for name in data.label_names])
    keep_N = kept_C[data.labels_N]
    return LabelledSet(
        copy_records(data.store, np.flatnonzero(keep_N).tolist(), folder),
        (np.cumsum(kept_C) - 1)[data.labels_N[keep_N]],
        tuple(name for name in data.label_names if name not in classes),
        {name: column_N[keep_N] for name, column_N in data.fields.items()},
    )


def copy_records(store: TokenStore, records: Iterable[int], folder: Path) -> TokenStore:
    """Write the chosen records of a store, in this order, as a store of their own."""
    with TokenStoreBuilder(folder, store.alphabet) as builder:
        for record in records:
            builder.append(store.id(record), store.tokens(record))
        copy, _ = builder.finish()
    return copy


def _map(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)


# How people read a report, line by line.
WORDS = {
    "no_label": "left out, no label",
    "small_classes": "left out, class below the minimum size",
    "unknown_letters_dropped": "left out, letters outside the alphabet",
    "repeated_records": "left out, same id and sequence as an earlier record",
    "lower_case_records": "records with lower-case letters, read as upper case",
    "terminal_stops": "records with a '*' at the end, removed",
    "synonym_residues": "residues read as the letter they are a synonym of",
    "unknown_residues": "residues outside the alphabet, read as X",
    "merged_labels": "records with a label that was merged",
    "no_field": "empty values of further fields",
    "classes": "records by class",
}
NAMED = 12  # so many parts of a count are named


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Say in words what reading did; steps that changed nothing are not mentioned.

    >>> report_lines({"records_read": 9, "records_kept": 7, "no_label": {"unknown": 2}})
    ['9 records read, 7 kept', 'left out, no label: 2 (unknown 2)']
    """
    first = f"{report['records_read']:,} records read, {report['records_kept']:,} kept"
    if "distinct_sequences" in report:
        first += f", {report['distinct_sequences']:,} distinct sequences"
    lines = [first]
    counts = {**report, **report.get("letters", {})}
    for name, words in WORDS.items():
        count = counts.get(name)
        if isinstance(count, Mapping) and count:
            largest = sorted(count.items(), key=lambda item: -item[1])
            parts = [f"{part} {n:,}" for part, n in largest[:NAMED]]
            parts += [f"and {len(largest) - NAMED:,} more"] * (len(largest) > NAMED)
            lines.append(f"{words}: {sum(count.values()):,} ({', '.join(parts)})")
        elif count:
            lines.append(f"{words}: {count:,}")
    return lines
