"""What sources of residue labels share: checks, the kind of each protein, the cache.

Shape letters: N = records, S = distinct sequences, T = residues of these.
"""

import hashlib
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from protemb import __version__
from protemb.errors import ConfigError, InputError
from protemb.files import cached_folder, content_key
from protemb.sequences.alphabet import AA21, LetterPolicy, as_policy
from protemb.sequences.columns import Fields
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.labels import RuleLike, as_rule
from protemb.sequences.records import Recorder
from protemb.sequences.residue_files import BLANK, Item, LabelLetters
from protemb.sequences.residue_set import ALL, ResidueSet, protein_kinds
from protemb.sequences.segments import NOT_COUNTED
from protemb.sequences.source import PathLike
from protemb.sequences.streams import open_file
from protemb.sequences.tokens import TokenStore

# Raise it when the same files and options are read in another way than before.
FORMAT = 1


class ResidueSource(ABC):
    """Proteins with a label per residue from the user's files, cached by content.

    Args:
        known: Labels that may stand in the files; None for any letter.
        merge: Labels that are read as another one.
        unknown: Labels of residues that do not count.
        segments: Labels of membrane segments, whose number and place are scored.
        marks: Kinds of protein by name, and the labels of which one run of five residues or more
            makes a protein that kind.
        unmarked: The kind of proteins without a mark.
        id: Where the id stands.
        fields: Further columns kept as text, by name.
        letters: What to do with residues outside the alphabet, lower case and '*'.
    """

    def __init__(
        self,
        *,
        known: str | None = None,
        merge: Mapping[str, str] | None = None,
        unknown: str = "",
        segments: str = "",
        marks: Mapping[str, str] | None = None,
        unmarked: str = ALL,
        id: RuleLike = None,
        fields: Mapping[str, RuleLike] | None = None,
        letters: LetterPolicy | Mapping[str, str] | None = None,
    ) -> None:
        self._rules = LabelLetters(known, dict(merge or {}), unknown)
        self._segments, self._marks, self._unmarked = segments, dict(marks or {}), unmarked
        if known is not None:
            wanted = {f"marks.{name}": made_by for name, made_by in self._marks.items()}
            for name, letters_of in {"segments": segments, **wanted}.items():
                if not set(letters_of) <= set(known):
                    expected = f"labels among {known} (data.source.known)"
                    raise ConfigError(f"data.source.{name}", letters_of, expected)
        self._id = as_rule("id", id)
        self._id.check("id", headers=True, columns=False)
        self._fields = {name: as_rule(name, rule) for name, rule in (fields or {}).items()}
        for name, rule in self._fields.items():
            rule.check(name, headers=True, columns=False)
        self._letters = as_policy(letters)

    @property
    @abstractmethod
    def files(self) -> tuple[str, ...]:
        """All files that are read."""

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Yield the records."""

    @abstractmethod
    def columns(self, item: Item) -> dict[str, str]:
        """Columns of one record that are not rules on its header."""

    def load(self, cache_dir: PathLike | None = None) -> LabelledSet:
        """The records with the kind of each protein as its one label.

        Raises:
            InputError: A file cannot be used, or all proteins are of one kind.
        """
        labelled = self.load_residues(cache_dir).labelled
        if len(labelled.label_names) < 2:
            problem = f"every protein is of the kind {labelled.label_names[0]!r}, expected two"
            raise InputError(self.files[0], f"{problem} (data.source.marks names kinds)")
        return labelled

    def load_residues(self, cache_dir: PathLike | None = None) -> ResidueSet:
        """Read the files, or map what an earlier call left in `cache_dir`.

        Raises:
            InputError: A file cannot be used as the options say.
        """
        if cache_dir is None:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
                return self.load_residues(temporary)
        folder = Path(cache_dir) / "datasets" / self._content_key()
        return cached_folder(folder, self._fill, ResidueSet.open)

    def _content_key(self) -> str:
        return content_key(
            {
                "version": [__version__, FORMAT, AA21.fingerprint, type(self).__name__],
                "files": [_hash(path) for path in self.files],
                "rules": asdict(self._rules),
                "kinds": [self._segments, list(self._marks.items()), self._unmarked],
                "id": asdict(self._id),
                "fields": {name: asdict(rule) for name, rule in self._fields.items()},
                "columns": self._column_key(),
                "letters": asdict(self._letters),
            }
        )

    @abstractmethod
    def _column_key(self) -> list[object]:
        """What `columns` depends on, as plain values."""

    def _fill(self, folder: Path) -> None:
        """Read everything and write the set to `folder`."""
        texts: list[bytes] = []
        columns: dict[str, list[str]] = {}
        fields = Fields({}, self._fields, frozenset())
        with Recorder(folder / "tokens", AA21, self._letters) as recorder:
            for item in self.items():
                read, added = self._rules.read(item), self.columns(item)
                if residues := recorder.add(item.entry):
                    texts.append(read)
                    fields.append(item.entry, residues)
                    for name, text in added.items():
                        columns.setdefault(name, []).append(text)
            if not len(recorder):
                raise InputError(self.files[0], "no record has known residues only")
            store, kept_A = recorder.finish()
        if not kept_A.all():
            again = int(np.argmin(kept_A))
            first = recorder.place(int(recorder.first_same()[again]))
            source, line = recorder.place(again)
            problem = f"the id came before, in {first[0]}:{first[1]}"
            raise InputError(source, problem, line, store.id(int(recorder.first_same()[again])))
        codes_T, letters = self._codes(store, texts, recorder)
        kinds = protein_kinds(codes_T, store.offsets_S1, letters, self._marks, self._unmarked)
        report = {
            **recorder.counts(),
            "no_field": dict(fields.missing),
            "records_kept": len(store),
            "distinct_sequences": store.n_sequences,
        }
        labelled = LabelledSet.from_labels(
            store,
            np.array(kinds)[store.sequence_of_N].tolist(),
            {name: np.array(texts) for name, texts in columns.items()} | fields.arrays(),
            report,
        )
        ResidueSet(labelled, codes_T, letters, self._segments, self._marks).write(folder)

    def _codes(
        self, store: TokenStore, texts: list[bytes], recorder: Recorder
    ) -> tuple[np.ndarray, str]:
        """Codes of the distinct sequences' residues, and the letters that they stand for.

        Raises:
            InputError: Records with the same sequence have different labels; or there are fewer
                than two labels.
        """
        _, first_S = np.unique(store.sequence_of_N, return_index=True)
        for record, sequence in enumerate(store.sequence_of_N):
            first = int(first_S[sequence])
            if texts[record] != texts[first]:
                (source, line), (earlier, number) = recorder.place(record), recorder.place(first)
                problem = (
                    f"the labels differ from those of {store.id(first)!r} in {earlier}:{number}, "
                    "which has the same sequence"
                )
                raise InputError(source, problem, line, store.id(record))
        letters_T = np.frombuffer(b"".join(texts[first] for first in first_S), np.uint8)
        found = [code for code in np.unique(letters_T).tolist() if code != BLANK]
        if len(found) < 2:
            named = f"only the label {chr(found[0])!r}" if found else "no residue that counts"
            raise InputError(self.files[0], f"{named}, expected two labels or more")
        table = np.full(256, NOT_COUNTED, np.uint8)
        table[found] = np.arange(len(found))
        return table[letters_T], "".join(map(chr, found))


def _hash(path: str) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
