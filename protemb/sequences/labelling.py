"""What a record's rules find: its metadata row, its label, or that it has none."""

from collections import Counter
from collections.abc import Mapping, Set

from protemb.sequences.labels import Rule
from protemb.sequences.records import BREAKS, Entry


class Join:
    """Finds the row of a metadata table that has a record's key.

    Args:
        source: The metadata file, for messages.
        key: Where a record's key stands; the id when not given.
        columns: Names of the values in `lookup`.
        lookup: Values of a row by its key.
    """

    def __init__(
        self,
        source: str,
        key: Rule,
        columns: tuple[str, ...],
        lookup: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._source, self._key, self._columns, self._lookup = source, key, columns, lookup

    def row(self, entry: Entry) -> Mapping[str, str]:
        """Return the row of an entry.

        Raises:
            KeyError: There is none; the argument says why.
        """
        given = self._key.given
        key = self._key.extract(entry.header, wanted="record_key") if given else entry.id
        values = self._lookup.get(key or "")
        if values is None:
            missing = f"{self._key} not found"
            raise KeyError(f"no row for the key {key!r} in {self._source}" if key else missing)
        return dict(zip(self._columns, values, strict=True))


class Labeller:
    """Finds labels by a rule, merges synonyms, and drops or refuses records without a label.

    Args:
        rule: Where the label stands.
        join: The metadata table, if there is one.
        synonyms: Label of every name that is to be replaced.
        missing_values: Texts that count as no value, case-folded.
        drop: Whether records without a label are dropped and counted instead of an error.

    Attributes:
        dropped: Records dropped, by the text that stood there or by the reason in parentheses.
        merged: Records whose label was replaced, by "name -> label".
    """

    def __init__(
        self,
        rule: Rule,
        join: Join | None,
        synonyms: Mapping[str, str],
        missing_values: Set[str],
        drop: bool,
    ) -> None:
        self._rule, self._join, self._synonyms = rule, join, synonyms
        self._missing_values, self._drop = missing_values, drop
        self.dropped: Counter[str] = Counter()
        self.merged: Counter[str] = Counter()

    def find(self, entry: Entry) -> tuple[Entry, str] | None:
        """Return the entry with its metadata row, and its label; None when it is dropped."""
        if self._join is not None:
            try:
                entry = entry._replace(row=self._join.row(entry))
            except KeyError as error:
                self._drop_or_raise(entry, "(no metadata row)", error.args[0])
                return None
        text = self._rule.extract(entry.header, entry.row, "label")
        if text is None:
            self._drop_or_raise(entry, "(not found)", f"{self._rule} not found")
            return None
        if text in self._synonyms:
            label = self._synonyms[text]
            if label != text:
                self.merged[f"{text} -> {label}"] += 1
            return entry, label
        if text.casefold() in self._missing_values:
            self._drop_or_raise(entry, text or "(empty)", f"{self._rule} is {text!r}")
            return None
        if not text.isprintable() and BREAKS.search(text):
            raise entry.error(f"the label {text!r} holds a tab or a line break")
        return entry, text

    def _drop_or_raise(self, entry: Entry, reason: str, problem: str) -> None:
        if not self._drop:
            raise entry.error(f"no label: {problem}; missing_label=drop leaves such records out")
        self.dropped[reason] += 1
