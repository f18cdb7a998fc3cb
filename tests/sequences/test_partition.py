from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protemb.errors import InputError
from protemb.sequences.partition import Split
from protemb.sequences.tokens import TokenStore

IDS = ["A/duck/1|H5 N1", "tab\tin it", "# no comment", "ä", "e"]


@pytest.fixture(scope="module")
def store() -> TokenStore:
    return TokenStore.from_sequences([(name, "MKV"[: i % 3 + 1]) for i, name in enumerate(IDS)])


@given(st.lists(st.integers(-1, 2), min_size=1, max_size=30))
def test_codes_and_parts_are_two_ways_to_say_the_same(codes):
    split = Split.from_codes(np.array(codes), "unique", {"seed": 1})
    assert split.part_of_N(len(codes)).tolist() == codes
    assert split.part_of_N(len(codes)).dtype == np.int8
    for code, records in enumerate((split.train, split.validation, split.test)):
        assert records.tolist() == [i for i, part in enumerate(codes) if part == code]
        assert records.dtype == np.int64


def test_a_record_cannot_be_in_two_parts():
    with pytest.raises(AssertionError, match="two parts"):
        Split(np.array([0, 1]), np.array([2]), np.array([1]), "unique", {})


def test_a_written_split_reads_back_as_it_was(tmp_path: Path, store):
    parameters = {"seed": 3, "fractions": [0.7, 0.1, 0.2], "absent_classes": {"test": ["ä"]}}
    split = Split.from_codes(np.array([0, 1, 2, -1, 0]), "unique", parameters)
    split.write(tmp_path / "split.tsv", store)
    again = Split.read(tmp_path / "split.tsv", store)
    assert again.part_of_N(5).tolist() == [0, 1, 2, -1, 0]
    assert (again.method, again.parameters) == ("unique", parameters)
    assert again.fingerprint == split.fingerprint
    text = (tmp_path / "split.tsv").read_text(encoding="utf-8")
    assert store.fingerprint in text and "A/duck/1|H5 N1\ttrain\n" in text


def test_the_fingerprint_sees_parts_method_and_parameters():
    prints = {
        Split.from_codes(np.array(codes), method, parameters).fingerprint
        for codes, method, parameters in (
            ([0, 1, 2], "unique", {}),
            ([0, 2, 1], "unique", {}),
            ([0, 1, 1], "unique", {}),
            ([0, 1, 2], "random", {}),
            ([0, 1, 2], "unique", {"seed": 1}),
        )
    }
    assert len(prints) == 5


def test_a_table_by_hand_needs_no_comments(tmp_path: Path, store):
    path = tmp_path / "split.tsv"
    words = ["train", "val", "valid", "validation", "none"]
    rows = [f"{name}\t{word}" for name, word in zip(reversed(IDS), words, strict=True)]
    path.write_bytes("\r\n".join(["id\tpart", *rows, "", ""]).encode())
    split = Split.read(path, store)
    assert split.part_of_N(5).tolist() == [-1, 1, 1, 1, 0]
    assert (split.method, split.parameters) == ("predefined", {})


WHOLE = [f"{name}\ttrain" for name in IDS]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["id\tpart", *WHOLE, "x\ttrain"], ":7: record 'x': the data has no such id"),
        (["id\tpart", *WHOLE, WHOLE[0]], ":7: record 'A/duck/1|H5 N1': the id is there twice"),
        (
            ["id\tpart", *WHOLE[:3]],
            ": 2 of 5 records of the data are missing, the first is 'ä'",
        ),
        (
            ["id\tpart", "e\ttraining"],
            ":2: got part 'training', expected train, validation, valid, val, test, none",
        ),
        (["id\tpart", "e train"], ":2: got part 'e train', expected train, "),
        (WHOLE, ":1: got 'A/duck/1|H5 N1\\ttrain', expected the header 'id<TAB>part'"),
        (["# method: unique"], ": the header 'id<TAB>part' is missing"),
        (
            ["# parameters: {", "id\tpart", *WHOLE],
            ": '# parameters:' got '{', expected a JSON object",
        ),
        (
            ["# parameters: [1]", "id\tpart", *WHOLE],
            ": '# parameters:' got '[1]', expected a JSON object",
        ),
        ([], ": the file is empty"),
    ],
)
def test_a_file_that_does_not_fit_is_one_clear_line(tmp_path: Path, store, lines, message):
    path = tmp_path / "split.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Split.read(path, store)
    assert str(caught.value).startswith(f"{path}{message}")


def test_bytes_that_are_no_text_and_no_file_at_all(tmp_path: Path, store):
    path = tmp_path / "split.tsv"
    path.write_bytes(b"id\tpart\n\xff\ttrain\n")
    with pytest.raises(InputError, match=":2: not UTF-8 text"):
        Split.read(path, store)
    with pytest.raises(InputError, match="cannot be read"):
        Split.read(tmp_path / "missing.tsv", store)
