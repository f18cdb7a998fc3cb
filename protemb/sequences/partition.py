"""A split of the records into train, validation and test, and its file."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protemb.errors import InputError
from protemb.files import whole_file
from protemb.sequences.streams import open_text
from protemb.sequences.tokens import TokenStore

PARTS = ("train", "validation", "test")
LEFT_OUT = "none"
# What people write for a part; a record in no part has the code -1.
PART_CODES = {"train": 0, "validation": 1, "valid": 1, "val": 1, "test": 2, LEFT_OUT: -1}
COLUMNS = "id\tpart"


@dataclass(frozen=True, eq=False)
class Split:
    """Sorted record indices (int64) of each part; a record may be in none.

    Args:
        train: Records to fit on.
        validation: Records to choose and stop by.
        test: Records to report.
        method: How the split was made.
        parameters: Its options and what it had to leave out; plain values.
        groups_N: Records that were kept together, where something coarser than the record was.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    method: str
    parameters: Mapping[str, object]
    groups_N: np.ndarray | None = None

    def __post_init__(self) -> None:
        together = np.concatenate([self.train, self.validation, self.test])
        assert len(np.unique(together)) == len(together), "a record is in two parts"

    @classmethod
    def from_codes(
        cls,
        part_of_N: np.ndarray,
        method: str,
        parameters: Mapping[str, object],
        groups_N: np.ndarray | None = None,
    ) -> "Split":
        """Build from one part code per record: 0 train, 1 validation, 2 test, -1 none."""
        train, validation, test = (np.flatnonzero(part_of_N == part) for part in range(3))
        return cls(train, validation, test, method, parameters, groups_N)

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """Record indices by the name of their part."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def part_of_N(self, n: int) -> np.ndarray:
        """Part code of each of the `n` records (int8): 0 train, 1 validation, 2 test, -1 none."""
        part_of_N = np.full(n, -1, np.int8)
        for code, records in enumerate(self.parts.values()):
            part_of_N[records] = code
        return part_of_N

    @property
    def fingerprint(self) -> str:
        """Hash of parts, method and parameters."""
        digest = hashlib.sha256(json.dumps([self.method, self.parameters], sort_keys=True).encode())
        for records in self.parts.values():
            digest.update(len(records).to_bytes(8, "little"))
            digest.update(records.astype("<i8").tobytes())
        return digest.hexdigest()

    def write(self, path: str | Path, store: TokenStore) -> None:
        """Write a TSV (id, part) of every record; comments name method, parameters and data."""
        names = (*PARTS, LEFT_OUT)
        with whole_file(path) as part, open(part, "w", encoding="utf-8", newline="\n") as out:
            out.write(f"# method: {self.method}\n")
            out.write(f"# parameters: {json.dumps(self.parameters, sort_keys=True)}\n")
            out.write(f"# sequences: {store.fingerprint}\n{COLUMNS}\n")
            for record_id, code in zip(store.ids(), self.part_of_N(len(store)), strict=True):
                out.write(f"{record_id}\t{names[code]}\n")

    @classmethod
    def read(cls, path: str | Path, store: TokenStore) -> "Split":
        """Read what `write` wrote, or a table by hand with the same two columns.

        Raises:
            InputError: A line that is not id and part, or an id that is unknown, twice or missing.
        """
        source = str(path)
        lines = numbered_lines(path)
        facts: dict[str, str] = {}
        for number, line in lines:
            if line == COLUMNS:
                break
            if not line.startswith("#"):
                raise InputError(source, f"got {line!r}, expected the header 'id<TAB>part'", number)
            key, _, value = line[1:].partition(":")
            facts[key.strip()] = value.strip()
        else:
            raise InputError(source, "the header 'id<TAB>part' is missing")

        position = store.positions()
        part_of_N = np.full(len(store), -2, np.int8)
        for number, line in lines:
            record_id, _, name = line.rpartition("\t")
            if name not in PART_CODES:
                raise InputError(source, f"got part {name!r}, expected {expected_parts()}", number)
            record = position.get(record_id)
            if record is None:
                raise InputError(source, "the data has no such id", number, record_id)
            if part_of_N[record] != -2:
                raise InputError(source, "the id is there twice", number, record_id)
            part_of_N[record] = PART_CODES[name]
        missing = np.flatnonzero(part_of_N == -2)
        if len(missing):
            problem = f"{len(missing)} of {len(store)} records of the data are missing"
            raise InputError(source, f"{problem}, the first is {store.id(missing[0])!r}")
        method = facts.get("method", "predefined")
        return cls.from_codes(part_of_N, method, _parameters(facts.get("parameters", "{}"), source))


def expected_parts() -> str:
    """The words for a part, for messages."""
    return ", ".join(PART_CODES)


def numbered_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of a text file; blank lines are skipped."""
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                text = line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise InputError(str(path), "not UTF-8 text", number) from None
            if text:
                yield number, text


def _parameters(text: str, source: str) -> dict[str, object]:
    try:
        parameters = json.loads(text)
    except json.JSONDecodeError:
        parameters = None
    if not isinstance(parameters, dict):
        raise InputError(source, f"'# parameters:' got {text!r}, expected a JSON object")
    return parameters
