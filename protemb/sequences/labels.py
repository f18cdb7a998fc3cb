"""Rules that find a value (a label, a year, ...) in a header or a table row; label synonyms."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from protemb.errors import ConfigError, InputError
from protemb.sequences.streams import open_text


@dataclass(frozen=True)
class Rule:
    """Where a value stands: one of `field`, `key`, `regex`, `column`; none means not given.

    Args:
        field: Number of a field of the header, the first is 1.
        delimiter: Separates fields, and ends the value of a key; " " means any white space.
        key: `key=value` in the header. The value goes to the next `key=`, to the delimiter or
            to the end; or stands in double quotes; or in `[key=value]`.
        regex: Python pattern, searched in the header; the group with the name of what is
            wanted (such as `label` or `year`), or else the group `value`, is the value.
        column: Column of the table, or of the metadata table that is joined to the record.

    >>> Rule(field=2).extract("P1|human|2004")
    'human'
    >>> Rule(key="host").extract("P1 host=Homo sapiens year=2004")
    'Homo sapiens'
    >>> Rule(regex=r"_(?P<value>[a-z]+)$").extract("P1_human")
    'human'
    >>> Rule(column="host").extract("P1", {"host": "human"})
    'human'
    """

    field: int | None = None
    delimiter: str = "|"
    key: str | None = None
    regex: str | None = None
    column: str | None = None

    def __post_init__(self) -> None:
        ways = {"field": self.field, "key": self.key, "regex": self.regex, "column": self.column}
        given = {name: value for name, value in ways.items() if value is not None}
        if len(given) > 1:
            raise ConfigError("rule", given, "only one of field, key, regex, column")
        for name, value in given.items():
            if name == "field" and (type(value) is not int or value < 1):
                raise ConfigError("rule.field", value, "a whole number from 1 on")
            if name != "field" and (not isinstance(value, str) or not value):
                raise ConfigError(f"rule.{name}", value, "a text")
        if not self.delimiter:
            raise ConfigError("rule.delimiter", self.delimiter, "at least one character")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except re.error as error:
                raise ConfigError("rule.regex", self.regex, f"a pattern ({error})") from None

    @property
    def given(self) -> bool:
        """False for a rule that says nothing."""
        return not (self.field is self.key is self.regex is self.column is None)

    def __str__(self) -> str:
        if self.field is not None:
            return f"field {self.field} (delimiter {self.delimiter!r})"
        if self.key is not None:
            return f"key {self.key!r}"
        return f"column {self.column!r}" if self.regex is None else f"pattern {self.regex!r}"

    def check(self, wanted: str, *, headers: bool, columns: bool) -> None:
        """Raise unless there is what the rule looks at, and a group for what is wanted."""
        if self.column is not None and not columns:
            raise ConfigError(f"{wanted}.column", self.column, "a table, or a metadata table")
        if self.given and self.column is None and not headers:
            raise ConfigError(f"{wanted}", str(self), "a column: a table has no headers")
        if self.regex is not None and not {wanted, "value"} & set(_groups(self.regex)):
            expected = f"a pattern with a group (?P<{wanted}>...) or (?P<value>...)"
            raise ConfigError(f"{wanted}.regex", self.regex, expected)

    def extract(
        self, header: str, row: Mapping[str, str] | None = None, wanted: str = "value"
    ) -> str | None:
        """Return the value with no white space around it, or None where there is none."""
        value: str | None = None
        if self.field is not None:
            parts = header.split(None if self.delimiter == " " else self.delimiter)
            value = parts[self.field - 1] if self.field <= len(parts) else None
        elif self.key is not None:
            match = _key_pattern(self.key, self.delimiter).search(header)
            value = match and next((text for text in match.groups() if text is not None), None)
        elif self.regex is not None:
            match = re.search(self.regex, header)
            value = match and match[wanted if wanted in _groups(self.regex) else "value"]
        elif self.column is not None and row is not None:
            value = row.get(self.column)
        return value if value is None else value.strip()


RuleLike = Rule | Mapping[str, object] | None


def as_rule(option: str, value: RuleLike) -> Rule:
    """Read a rule as people write it in a config: a rule, a mapping of its options, or nothing."""
    if isinstance(value, Rule):
        return value
    known = {field.name for field in fields(Rule)}
    if value is not None and not (isinstance(value, Mapping) and known >= set(value)):
        raise ConfigError(option, value, f"a rule: {', '.join(sorted(known))}")
    try:
        return Rule(**dict(value or {}))  # type: ignore[arg-type]
    except ConfigError as error:
        raise ConfigError(f"{option}: {error.option}", error.got, error.expected) from None


@lru_cache
def _groups(regex: str) -> tuple[str, ...]:
    return tuple(re.compile(regex).groupindex)


@lru_cache
def _key_pattern(key: str, delimiter: str) -> re.Pattern[str]:
    name, end = re.escape(key), re.escape(delimiter)
    next_key = rf"(?:[\s;,\[]|{end})+[\w.:-]+="
    return re.compile(
        rf"\[{name}=([^\]]*)\]"
        rf'|(?:^|[\s;,]|{end}){name}=(?:"([^"]*)"|(.*?)(?={next_key}|{end}|$))'
    )


def read_synonyms(path: str | Path) -> dict[str, str]:
    """Read a YAML map {label: [other names]}; return the label of every other name.

    Names are compared as they are written (case counts), without white space around them.

    Raises:
        InputError: With the line: no map of lists of names, or a name that has two labels.
    """
    import yaml

    source = str(path)
    with open_text(path) as handle:
        data = handle.read()
    try:
        # The node tree keeps line numbers and leaves every name a text ("NO" is no boolean).
        root = yaml.compose(data, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "characters that YAML does not allow"
        raise InputError(source, f"no YAML: {problem}", mark and mark.line + 1) from None
    if not isinstance(root, yaml.MappingNode):
        raise InputError(source, "expected a map of labels to lists of other names", 1)

    labels: dict[str, str] = {}
    for label_node, names_node in root.value:
        label = str(label_node.value).strip()
        if not isinstance(names_node, yaml.SequenceNode):
            line = names_node.start_mark.line + 1
            raise InputError(source, f"label {label!r}: expected a list of other names", line)
        for node in (label_node, *names_node.value):
            line = node.start_mark.line + 1
            name = node.value.strip() if isinstance(node, yaml.ScalarNode) else ""
            if not name:
                raise InputError(source, f"label {label!r}: expected a name", line)
            other = labels.setdefault(name, label)
            if other != label:
                raise InputError(source, f"{name!r} belongs to {other!r} and to {label!r}", line)
    return labels
