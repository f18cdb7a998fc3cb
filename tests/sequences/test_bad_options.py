"""Options that cannot work are refused before any file is opened."""

import pytest

from protemb.errors import ConfigError
from protemb.sequences.labels import Rule
from protemb.sequences.source import FileSource

COLUMN = {"label": {"column": "host"}}
JOINED = COLUMN | {"metadata": "meta.csv", "metadata_key": "id"}

OPTIONS = [
    ("field 0", {"label": {"field": 0}}, "label: rule.field", "a whole number from 1 on"),
    ("field as text", {"label": {"field": "4"}}, "label: rule.field", "a whole number"),
    ("two ways", {"label": {"field": 1, "key": "k"}}, "label: rule", "only one of field, key"),
    ("empty key", {"label": {"key": ""}}, "label: rule.key", "a text"),
    ("empty delimiter", {"label": {"field": 1, "delimiter": ""}}, "label: rule.delimiter",
        "one char"),
    ("broken regex", {"label": {"regex": "(?P<label>"}}, "label: rule.regex", "a pattern ("),
    ("regex without a group", {"label": {"regex": "(x)"}}, "label.regex", "(?P<label>...) or"),
    ("regex with another's group", {"year": {"regex": "(?P<label>x)"}}, "year.regex", "(?P<year>"),
    ("unknown rule option", {"label": {"filed": 1}}, "label", "a rule: column, delimiter"),
    ("unknown letter option", {"letters": {"unknwon": "x"}}, "letters", "unknown, lower, stop"),
    ("letter policy", {"letters": {"unknown": "skip"}}, "letters.unknown", "error or x or drop"),
    ("no label", {"label": None}, "label", "a rule: field, key, regex or column"),
    ("no field rule", {"fields": {"subtype": None}}, "subtype", "a rule: field, key"),
    ("a field's own name", {"fields": {"year": {"field": 1}}}, "fields", "other names"),
    ("missing_label", {"missing_label": "skip"}, "missing_label", "error or drop"),
    ("min_class_size 0", {"min_class_size": 0}, "min_class_size", "a whole number from 1 on"),
    ("column without a table", COLUMN, "label.column", "a table, or a metadata table"),
    ("id column without a table", {"id": {"column": "acc"}}, "id.column", "a table"),
    ("header rule for a table", {"path": "hosts.csv"}, "label", "a column: a table has no headers"),
    ("no path", {"path": []}, "path", "FASTA files, or tables, not both"),
    ("fasta and table", {"path": ["a.fasta", "b.csv"]}, "path", "not both"),
    ("metadata for a table", JOINED | {"path": "hosts.csv"}, "metadata", "a table brings its own"),
    ("metadata without a key", JOINED | {"metadata_key": None}, "metadata_key", "together"),
    ("key without metadata", {"metadata_key": "acc"}, "metadata_key", "together"),
    ("metadata unused", JOINED | {"label": {"field": 2}}, "metadata", "a rule that names a column"),
    ("record_key alone", {"record_key": {"field": 1}}, "record_key", "a metadata table"),
    ("record_key by column", JOINED | {"record_key": {"column": "id"}}, "record_key.column",
        "a table"),
]  # fmt: skip


@pytest.mark.parametrize("bad", OPTIONS, ids=lambda bad: bad[0])
def test_bad_options_are_refused_before_any_file_is_opened(bad):
    _, options, option, expected = bad
    options = {"label": Rule(field=2)} | options
    with pytest.raises(ConfigError) as caught:
        FileSource(options.pop("path", "no such file.fasta"), **options)
    assert type(caught.value) is ConfigError and caught.value.option == option
    assert expected in caught.value.expected
    assert len(str(caught.value).splitlines()) == 1
