"""Labelled records from the user's files, by stated rules, cached by content."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import numpy as np

from protemb import __version__
from protemb.errors import ConfigError, InputError
from protemb.files import cached_folder, content_key
from protemb.sequences.alphabet import AA21, LetterPolicy, as_policy
from protemb.sequences.columns import Fields, TextColumn
from protemb.sequences.dataset import LabelledSet, without_classes
from protemb.sequences.labelling import Join, Labeller
from protemb.sequences.labels import Rule, RuleLike, as_rule, read_synonyms
from protemb.sequences.records import Recorder, RecordFiles
from protemb.sequences.streams import open_file
from protemb.sequences.tables import read_lookup
from protemb.sequences.tokens import TokenStore

PathLike = str | os.PathLike[str]
# Raise it when the same files and options are read in another way than before.
FORMAT = 1
MISSING_VALUES = ("", "-", "?", "na", "n/a", "nan", "null", "unknown")


class FileSource:
    """Labelled proteins in FASTA files, or in tables with a sequence in each row.

    A rule is a `Rule` or a mapping of its options. Its `column` is a column of the table, or of
    the metadata row whose `metadata_key` equals the record's `record_key`.

    Args:
        path: One file, or several that are read as one.
        label: Where the label stands.
        id: Where the id stands; not given: the whole header, or the column `id`.
        group: Optional column; a record without a value is an error, as in the next three.
        year: Four digits or an ISO date.
        split: Name of the part.
        position: 1-based in the file, 0-based in the set.
        fields: Further columns kept as text, by name; a missing value is "" and counted.
        sequence_column: Of tables.
        delimiter: Of tables and metadata, when neither name nor first row tell.
        metadata: Table that is joined to FASTA records.
        metadata_key: Its key column.
        record_key: Where a record's key stands; not given: the id.
        synonyms: YAML file {label: [other names]}; names as written, case counts.
        missing_values: Texts that count as no value, in any case.
        missing_label: A record without a label is an "error", or "drop"ped and counted.
        min_class_size: Smaller classes are left out and counted.
        letters: What to do with letters outside the alphabet, lower case and '*'.
    """

    def __init__(
        self,
        path: PathLike | Iterable[PathLike],
        *,
        label: RuleLike,
        id: RuleLike = None,
        group: RuleLike = None,
        year: RuleLike = None,
        split: RuleLike = None,
        position: RuleLike = None,
        fields: Mapping[str, RuleLike] | None = None,
        sequence_column: str = "sequence",
        delimiter: str | None = None,
        metadata: PathLike | None = None,
        metadata_key: str | None = None,
        record_key: RuleLike = None,
        synonyms: PathLike | None = None,
        missing_values: Iterable[str] = MISSING_VALUES,
        missing_label: Literal["error", "drop"] = "error",
        min_class_size: int = 1,
        letters: LetterPolicy | Mapping[str, str] | None = None,
    ) -> None:
        named = {"group": group, "year": year, "split": split, "position": position}
        clash = sorted(set(fields or {}) & set(named))
        if clash:
            raise ConfigError("fields", clash, "other names: these are options of their own")
        if missing_label not in ("error", "drop"):
            raise ConfigError("missing_label", missing_label, "error or drop")
        if type(min_class_size) is not int or min_class_size < 1:
            raise ConfigError("min_class_size", min_class_size, "a whole number from 1 on")

        self._label = as_rule("label", label)
        self._key = as_rule("record_key", record_key)
        self._required = {name: as_rule(name, rule) for name, rule in named.items()}
        self._required = {name: rule for name, rule in self._required.items() if rule.given}
        self._optional = {name: as_rule(name, rule) for name, rule in (fields or {}).items()}
        self._missing_values = frozenset(text.casefold() for text in missing_values)
        self._missing_label, self._min_class_size = missing_label, min_class_size
        self._metadata = None if metadata is None else str(metadata)
        self._metadata_key, self._delimiter = metadata_key, delimiter
        self._synonyms = None if synonyms is None else str(synonyms)
        self._letters = as_policy(letters)

        rules = {"label": self._label, **self._required, **self._optional}
        self._columns = tuple(rule.column for rule in rules.values() if rule.column is not None)
        paths = [path] if isinstance(path, str | os.PathLike) else path
        self._files = RecordFiles(
            tuple(map(str, paths)), as_rule("id", id), sequence_column, delimiter, self._columns
        )
        self._check(rules)

    def _check(self, rules: Mapping[str, Rule]) -> None:
        tables, metadata = self._files.are_tables, self._metadata
        if metadata is not None and tables:
            raise ConfigError("metadata", metadata, "none: a table brings its own columns")
        if (metadata is None) != (self._metadata_key is None):
            raise ConfigError(
                "metadata_key", self._metadata_key, "metadata and metadata_key together"
            )
        if metadata is not None and not self._columns:
            raise ConfigError("metadata", metadata, "a rule that names a column of it")
        if metadata is None and self._key.given:
            raise ConfigError("record_key", str(self._key), "a metadata table to join with")
        self._key.check("record_key", headers=True, columns=False)
        for name, rule in rules.items():
            if not rule.given:
                raise ConfigError(name, None, "a rule: field, key, regex or column")
            rule.check(name, headers=not tables, columns=tables or metadata is not None)

    def load(self, cache_dir: PathLike | None = None) -> LabelledSet:
        """Read the files, or map what an earlier call left in `cache_dir`.

        The cache is named by the content of the files and by the options. Without `cache_dir`
        the arrays are mapped from temporary files that go with the set.

        Raises:
            InputError: A file cannot be used as the options say.
        """
        if cache_dir is None:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
                return self.load(temporary)
        folder = Path(cache_dir) / "datasets" / self._content_key()
        return cached_folder(folder, self._fill, LabelledSet.open)

    def _content_key(self) -> str:
        rules = {"label": self._label, "id": self._files.id, "record_key": self._key}
        files = [*self._files.paths, *filter(None, (self._metadata, self._synonyms))]
        return content_key(
            {
                "version": [__version__, FORMAT, AA21.fingerprint],
                "files": [_hash(path) for path in files],
                "tables": [self._files.are_tables, self._files.sequence_column, self._delimiter],
                "rules": {name: asdict(rule) for name, rule in rules.items()},
                "required": {name: asdict(rule) for name, rule in self._required.items()},
                "optional": {name: asdict(rule) for name, rule in self._optional.items()},
                "metadata_key": self._metadata_key,
                "missing": [sorted(self._missing_values), self._missing_label],
                "min_class_size": self._min_class_size,
                "letters": asdict(self._letters),
            }
        )

    def _fill(self, folder: Path) -> None:
        """Read everything and write the set to `folder`."""
        labeller, labels = self._labeller(), TextColumn()
        fields = Fields(self._required, self._optional, self._missing_values)
        with Recorder(folder / "tokens", AA21, self._letters) as recorder:
            for entry in self._files:
                found = labeller.find(entry)
                if found is None:
                    continue
                entry, label = found
                if residues := recorder.add(entry):
                    labels.append(label)
                    fields.append(entry, residues)
            if not len(recorder):
                raise InputError(self._files.paths[0], "no record has a label and known letters")
            store, kept_A = recorder.finish()

        names, labels_A = labels.codes()
        columns = fields.arrays()
        if not kept_A.all():
            labels_and_fields = {"label": np.array(names)[labels_A], **columns}
            _check_repeats(labels_and_fields, kept_A, recorder, store)
        columns = {name: column_A[kept_A] for name, column_A in columns.items()}
        data = LabelledSet(store, labels_A[kept_A], names, columns)
        sizes = data.class_sizes
        small = {name: size for name, size in sizes.items() if size < self._min_class_size}
        self._check_classes(data, small, recorder, np.flatnonzero(kept_A))
        if small:
            data = without_classes(data, small, folder / "kept")
            shutil.rmtree(folder / "tokens")
            (folder / "kept").rename(folder / "tokens")
        counts = recorder.counts()
        counts["records_read"] += labeller.dropped.total()
        report = {
            **counts,
            "no_label": dict(labeller.dropped),
            "merged_labels": dict(labeller.merged),
            "no_field": dict(fields.missing),
            "small_classes": small,
            "classes": data.class_sizes,
            "records_kept": len(data),
            "distinct_sequences": data.store.n_sequences,
        }
        replace(data, report=report).write_columns(folder)

    def _labeller(self) -> Labeller:
        join = None
        if self._metadata is not None and self._metadata_key is not None:
            columns = tuple(sorted(set(self._columns)))
            lookup = read_lookup(self._metadata, self._metadata_key, columns, self._delimiter)
            join = Join(self._metadata, self._key, columns, lookup)
        synonyms = {} if self._synonyms is None else read_synonyms(self._synonyms)
        drop = self._missing_label == "drop"
        return Labeller(self._label, join, synonyms, self._missing_values, drop)

    def _check_classes(
        self,
        data: LabelledSet,
        small: Mapping[str, int],
        recorder: Recorder,
        added_N: np.ndarray,
    ) -> None:
        """Raise unless two classes are left that have two records each.

        Args:
            data: All records, small classes too.
            small: Classes to be left out.
            recorder: Knows the places of records.
            added_N: The number of each record there.
        """
        sizes, least = data.class_sizes, self._min_class_size
        left = [name for name in sizes if name not in small]
        if len(left) < 2:
            largest = max(sizes, key=lambda name: sizes[name])
            problem = f"every record has the label {largest!r}"
            if small:
                problem = f"{len(left)} of {len(sizes)} classes have min_class_size={least} records"
                problem += f" (the largest is {largest!r} with {sizes[largest]})"
            raise InputError(self._files.paths[0], f"{problem}, expected at least two classes")
        for name in left:
            if sizes[name] == 1:
                record = int(np.argmax(data.labels_N == data.label_names.index(name)))
                source, line = recorder.place(int(added_N[record]))
                problem = f"class {name!r} has only this record; min_class_size=2 leaves it out"
                raise InputError(source, problem, line, data.store.id(record))


def _check_repeats(
    columns: Mapping[str, np.ndarray], kept_A: np.ndarray, recorder: Recorder, store: TokenStore
) -> None:
    """Raise when a record that is given again has another label or field than before."""
    first_A = recorder.first_same()
    for name, column_A in columns.items():
        differ = np.flatnonzero(column_A != column_A[first_A])
        if len(differ):
            later, first = int(differ[0]), int(first_A[differ[0]])
            (source, line), (earlier, number) = recorder.place(later), recorder.place(first)
            problem = f"the {name} differs from the one in {earlier}:{number} under the same id"
            raise InputError(source, problem, line, store.id(int(kept_A[:first].sum())))


def _hash(path: str) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
