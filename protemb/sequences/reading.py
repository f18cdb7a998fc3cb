"""Sequences without labels, for a model that is there already: whole files, or one share of them.

Shape letters: N = records kept.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from protemb.errors import ConfigError, InputError, ProtembError
from protemb.files import cached_folder, read_json, write_json
from protemb.sequences.alphabet import AA21, Alphabet, LetterPolicy, as_policy
from protemb.sequences.columns import TextColumn
from protemb.sequences.labels import RuleLike, as_rule
from protemb.sequences.records import Recorder, RecordFiles
from protemb.sequences.tokens import TokenStore


@dataclass(frozen=True)
class Shard:
    """One of several shares of the same input; identical sequences are always in the same share.

    Args:
        number: from 1.
        of: how many shares there are.

    >>> str(Shard.parse("2/8"))
    '2/8'
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `2/8`.

        Raises:
            ConfigError: it is something else.
        """
        number, slash, of = text.partition("/")
        if slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
            return cls(int(number), int(of))
        raise ConfigError("shard", text, "I/N, such as 2/8, with I from 1 to N")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, tokens_L: np.ndarray) -> bool:
        """Whether a sequence belongs to this share."""
        digest = hashlib.blake2b(tokens_L.tobytes(), digest_size=8).digest()
        return int.from_bytes(digest, "little") % self.of == self.number - 1


class EmptyShard(ProtembError, ValueError):
    """The input has records, and none of them belongs to this share."""

    def __init__(self, path: str, report: dict) -> None:
        super().__init__(path, report)
        self.path, self.report = path, report

    def __str__(self) -> str:
        return f"{self.path}: no record belongs to this share"


@dataclass(frozen=True, eq=False)
class Reading:
    """Records of a file, and what was done to them.

    Attributes:
        store: tokens and ids.
        places_N: of each record among all records of the input that have known letters, from 0.
        report: counts; those of letters and records speak of the whole input, in every share.
        label_names: labels that occur; "" is none.
        codes_N: index of each record's label, or None.
    """

    store: TokenStore
    places_N: np.ndarray
    report: dict[str, Any]
    label_names: tuple[str, ...] = ()
    codes_N: np.ndarray | None = None

    def labels(self, start: int, stop: int) -> np.ndarray | None:
        """Labels of some records, where a rule was given."""
        if self.codes_N is None:
            return None
        return np.array(self.label_names, str)[self.codes_N[start:stop]]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What `read_to` left in a folder."""
        places_N = np.load(folder / "places_N.npy", mmap_mode="r", allow_pickle=False)
        report = read_json(folder / "report.json")
        names, codes = report.pop("labels", []), folder / "codes_N.npy"
        codes_N = np.load(codes, allow_pickle=False) if codes.exists() else None
        store = TokenStore.open(folder / "tokens")
        return cls(store, places_N.view(np.ndarray), report, tuple(names), codes_N)


def read_to(
    folder: Path,
    path: str,
    alphabet: Alphabet,
    policy: LetterPolicy | None = None,
    id_rule: RuleLike = None,
    shard: Shard | None = None,
    label_rule: RuleLike = None,
) -> Reading:
    """Read FASTA or a table into `folder`, in bounded memory; what is there already is kept.

    Raises:
        InputError: the file cannot be used, or no record is left.
    """

    label = as_rule("label", label_rule)

    def fill(part: Path) -> None:
        columns = (label.column,) if label.column else ()
        files = RecordFiles((path,), as_rule("id", id_rule), columns=columns)
        label.check("label", columns=files.are_tables, headers=not files.are_tables)
        labels = TextColumn()
        with Recorder(part / "tokens", alphabet, as_policy(policy), shard) as recorder:
            for entry in files:
                if recorder.add(entry) and label.given:
                    labels.append(label.extract(entry.header, entry.row, wanted="label") or "")
            if not len(recorder):
                if recorder.known:
                    raise EmptyShard(path, {**recorder.counts(), "records_known": recorder.known})
                raise InputError(path, "no record has known letters only")
            _, kept_A = recorder.finish()
            np.save(part / "places_N.npy", recorder.places()[kept_A])
        report = recorder.counts() | {
            "records_known": recorder.known,
            "records_kept": int(kept_A.sum()),
        }
        if label.given:
            names, codes_A = labels.codes()
            if names == ("",) and (shard is None or shard.of == 1):
                raise InputError(path, f"no record has a label in {label}")
            np.save(part / "codes_N.npy", codes_A[kept_A])
            report |= {"labels": list(names), "no_label": _count_empty(names, codes_A[kept_A])}
        write_json(part / "report.json", report)

    return cached_folder(folder, fill, Reading.open)


def _count_empty(names: tuple[str, ...], codes_N: np.ndarray) -> int:
    return int((codes_N == names.index("")).sum()) if "" in names else 0


def read_sequences(
    path: str | Path,
    alphabet: Alphabet = AA21,
    policy: LetterPolicy | None = None,
    id_rule: RuleLike = None,
) -> tuple[TokenStore, dict[str, Any]]:
    """Read records without labels, FASTA or a table; return them and a report of what was done.

    The arrays are mapped from temporary files that go with the store.

    Raises:
        InputError: The file cannot be used; or every record was dropped.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        reading = read_to(Path(folder) / "read", str(path), alphabet, policy, id_rule)
    return reading.store, reading.report
