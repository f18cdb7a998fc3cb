"""Residue labels from files: counts of the real sets, round trips, refusals with their places."""

import gzip
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protemb.errors import ConfigError, InputError
from protemb.sequences.folds import FoldSplit
from protemb.sequences.holdouts import PredefinedSplit
from protemb.sequences.residue_labels import PairedFastaSource, ThreeLineSource
from protemb.sequences.residue_set import ResidueSet
from protemb.sequences.segments import NOT_COUNTED

TMBED = {
    "known": "12BHS",
    "merge": {"b": "B", "h": "H"},
    "unknown": "U",
    "segments": "BH",
    "marks": {"alpha": "H", "beta": "B", "SP": "S"},
    "unmarked": "globular",
    "id": {"field": 1},
}
FLIP = {"known": "CEH", "split": {"key": "SET"}, "validation": {"key": "VALIDATION"}}
RESIDUES = "ARNDCQEGHILKMFPSTWYV"


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def three(path, *records):
    return write(path, *(line for i, s, y in records for line in (f">{i}", s, y)))


def fasta(path, *records):
    return write(path, *(line for i, s in records for line in (f">{i}", s)))


def texts(data):
    return {data.labelled.store.id(n): data.text(data.codes(n)) for n in range(len(data))}


@pytest.fixture(scope="module")
def tmbed(real_data):
    files = [real_data / "tmbed_topology" / f"cv_0{i}_a.fasta.gz" for i in range(5)]
    return ThreeLineSource(files, **TMBED).load_residues()


def test_the_counts_of_tmbed(tmbed):
    labelled = tmbed.labelled
    assert len(tmbed) == labelled.store.n_sequences == 6517
    _, sizes = np.unique(labelled.fields["fold"], return_counts=True)
    assert sizes.tolist() == [1307, 1304, 1304, 1302, 1300]
    # b and h are read as B and H: 7,748 + 32 and 65,626 + 861.
    assert tmbed.letter_counts() == {
        "1": 3_309_227,
        "2": 335_936,
        "B": 7_780,
        "H": 66_487,
        "S": 18_224,
    }
    assert (tmbed.codes_T == NOT_COUNTED).sum() == 94_599
    kinds = labelled.class_sizes
    marked = {mark: sum(n for k, n in kinds.items() if mark in k) for mark in ("alpha", "beta")}
    assert marked == {"alpha": 593, "beta": 65} and kinds["globular"] == 5161
    assert (labelled.store.lengths_N.min(), labelled.store.lengths_N.max()) == (50, 8081)


def test_tmbed_residue_by_residue(tmbed, real_data):
    """Read again by hand: header, sequence, labels."""
    where = tmbed.labelled.store.positions()
    with gzip.open(real_data / "tmbed_topology" / "cv_03_a.fasta.gz", "rt") as file:
        lines = [line.strip() for line in file if line.strip()]
    for header, sequence, labels in random.Random(0).sample(
        list(zip(lines[::3], lines[1::3], lines[2::3], strict=True)), 200
    ):
        record = where[header[1:].split("|")[0]]
        expected = labels.translate(str.maketrans("bhU", "BH?"))
        assert tmbed.text(tmbed.codes(record)) == expected
        assert tmbed.labelled.store.sequence(record) == sequence.replace("U", "C")
        assert tmbed.labelled.fields["fold"][record] == "3"
        assert tmbed.counted_N[record] == len(labels) - labels.count("U")


def test_folds_of_tmbed_hold_every_protein_once(tmbed):
    tested = []
    for fold in range(5):
        split = FoldSplit(fold=fold, folds=5).split(tmbed.labelled)
        own = tmbed.labelled.fields["fold"]
        assert set(own[split.test]) == {str(fold)}
        assert set(own[split.validation]) == {str((fold + 1) % 5)}
        assert len(split.train) + len(split.validation) + len(split.test) == 6517
        tested.append(split.test)
    assert sorted(np.concatenate(tested)) == list(range(6517))


def test_the_counts_of_flip(real_data):
    stem = str(real_data / "flip_splits" / "secondary_structure_")
    files = [f"{stem}{name}.fasta.gz" for name in ("sequences", "sampled", "mask")]
    data = PairedFastaSource(*files, **FLIP).load_residues()
    assert len(data) == data.labelled.store.n_sequences == 11_156
    split = PredefinedSplit().split(data.labelled)
    assert {name: len(part) for name, part in split.parts.items()} == {
        "train": 9712,
        "validation": 1080,
        "test": 364,
    }
    assert (data.codes_T == NOT_COUNTED).sum() == 186_876
    bare = PairedFastaSource(*files[:2], **FLIP).load_residues()
    assert bare.letter_counts() == {"C": 1_211_931, "E": 602_963, "H": 1_030_200}
    kept = data.codes_T != NOT_COUNTED
    assert (data.codes_T[kept] == bare.codes_T[kept]).all()
    assert sum(data.letter_counts().values()) == kept.sum()


@st.composite
def labelled_proteins(draw):
    sequences = draw(
        st.lists(st.text(RESIDUES, min_size=1, max_size=30), min_size=2, max_size=8, unique=True)
    )
    return [(s, draw(st.text("HEC?", min_size=len(s), max_size=len(s)))) for s in sequences]


@settings(max_examples=25)
@given(labelled_proteins(), st.booleans())
def test_both_formats_give_back_what_was_written(tmp_path_factory, proteins, blank):
    if len(set("".join(y for _, y in proteins)) - {"?"}) < 2:
        return
    folder = tmp_path_factory.mktemp("round")
    records = [(f"p{n}", s, y) for n, (s, y) in enumerate(proteins)]
    path = three(folder / "three.txt", *records)
    if blank:
        path.write_text(path.read_text().replace("\n>", "\n\n>").replace("\n", "\r\n"))
    first = ThreeLineSource(path, unknown="?").load_residues(folder / "cache")
    second = PairedFastaSource(
        fasta(folder / "s.fasta", *((i, s) for i, s, _ in records)),
        fasta(folder / "y.fasta", *((f"{i} SET=x", y) for i, _, y in reversed(records))),
        fasta(
            folder / "m.fasta",
            *((i, "".join("01"[c != "?"] for c in y)) for i, _, y in records),
        ),
        unknown="?",
    ).load_residues()
    assert texts(first) == texts(second) == {i: y for i, _, y in records}
    assert (first.codes_T == second.codes_T).all() and first.letters == second.letters
    assert list(first.letters) == sorted(set("".join(y for _, y in proteins)) - {"?"})
    again = ThreeLineSource(path, unknown="?").load_residues(folder / "cache")
    assert again.fingerprint == first.fingerprint


def test_the_cache_is_by_content_and_options(tmp_path):
    path, cache = three(tmp_path / "a", ("p", "MKV", "HEC")), tmp_path / "cache"
    first = ThreeLineSource(path).load_residues(cache)
    three(path, ("p", "MKV", "HEE"))
    second = ThreeLineSource(path).load_residues(cache)
    merged = ThreeLineSource(path, merge={"E": "C"}).load_residues(cache)
    assert [texts(d)["p"] for d in (first, second, merged)] == ["HEC", "HEE", "HCC"]
    assert len({first.fingerprint, second.fingerprint, merged.fingerprint}) == 3
    assert len(list((cache / "datasets").iterdir())) == 3


def test_equal_sequences_share_their_labels(tmp_path):
    path = three(tmp_path / "a", ("p", "MKV", "HEC"), ("q", "MKV", "HEC"), ("r", "MK", "EE"))
    data = ThreeLineSource(path).load_residues()
    assert len(data) == 3 and len(data.codes_T) == 5
    codes_T, offsets = data.flat(np.array([2, 1]))
    assert data.text(codes_T) == "EEHEC" and offsets.tolist() == [0, 2, 5]


def test_kinds_can_be_classified_and_one_kind_cannot(tmp_path):
    path = three(tmp_path / "a", ("p", "M" * 9, "HHHHHiiii"), ("q", "K" * 9, "iiiHHHHii"))
    labelled = ThreeLineSource(path, marks={"alpha": "H"}, unmarked="none").load()
    assert labelled.class_sizes == {"alpha": 1, "none": 1}
    with pytest.raises(InputError, match="every protein is of the kind 'protein'"):
        ThreeLineSource(path).load()


GOOD = ("p", "MKV", "HEC")


@pytest.mark.parametrize(
    ("lines", "options", "place", "problem"),
    [
        ([">p", "MKV", "HE"], {}, ":3: record 'p'", "got 2 labels, expected 3"),
        ([">p", "MKV", "HECC"], {}, ":3: record 'p'", "got 4 labels, expected 3"),
        ([">p", "MKV", ">q", "MKV", "HEC"], {}, ":1: record 'p'", "no labels"),
        ([">p", ">q", "MKV", "HEC"], {}, ":1: record 'p'", "no sequence"),
        ([">p", "MKV"], {}, ":1: record 'p'", "no labels"),
        (["MKV", "HEC"], {}, ":1:", "expected a '>' header"),
        ([">p", "MKV", "HEC", "HEC"], {}, ":4:", "got 'HEC', expected a '>' header"),
        ([">p", RESIDUES, RESIDUES[::-1]], {}, ":3: record 'p'", "look like a sequence"),
        ([">p", RESIDUES, RESIDUES], {"known": "HEC"}, ":3: record 'p'", "look like a sequence"),
        ([">p", "MKV", "HEX"], {"known": "HEC"}, ":3: record 'p'", "label 3 is 'X', expected one"),
        ([">p", "MKV", "H C"], {}, ":3: record 'p'", "label 2 is ' ', expected a letter"),
        ([">p", "MJV", "HEC"], {}, ":1: record 'p'", "residue 2 is 'J'"),
        ([">p", "MKV", "HEC", ">p", "MKV", "HEC"], {}, ":4: record 'p'", "the id came before"),
        ([">p", "MKV", "HEC", ">p", "MK", "HE"], {}, ":4: record 'p'", "differs"),
        ([">p", "MKV", "HEC", ">q", "MKV", "HEE"], {}, ":4: record 'q'", "'p' in .*:1, which has"),
        ([">p", "MKV", "HHH"], {}, "", "only the label 'H'"),
        ([">p", "MKV", "UUU"], {"unknown": "U"}, "", "no residue that counts"),
        ([">", "MKV", "HEC"], {}, ":1:", "nothing after '>'"),
        ([">p|q", "MKV", "HEC"], {"id": {"field": 3}}, ":1: record 'p|q'", "no id in field 3"),
        (["", ""], {}, "", "no record"),
    ],
)
def test_three_line_refusals(tmp_path, lines, options, place, problem):
    path, cache = write(tmp_path / "bad.txt", *lines), tmp_path / "cache"
    with pytest.raises(InputError, match=problem) as caught:
        ThreeLineSource(path, **options).load_residues(cache)
    assert f"{path}{place}" in str(caught.value) and "\n" not in str(caught.value)
    assert not cache.exists() or not list((cache / "datasets").iterdir())


@pytest.mark.parametrize(
    ("sequences", "labels", "mask", "file", "problem"),
    [
        ([("p", "MKV")], [("q", "HEC")], None, "s", "no labels of this record in .*/y"),
        ([("p", "MKV")], [("p", "HEC"), ("q", "H")], None, "y", "labels of a record that .*/s"),
        ([("p", "MKV")], [("p", "HEC"), ("p", "HEC")], None, "y", "there twice, first on line 1"),
        ([("p", "MKV"), ("p", "MKV")], [("p", "HEC")], None, "s", "or its id is there twice"),
        ([("p", "MKV")], [("p", "HE")], None, "y", "got 2 labels, expected 3"),
        ([("p", "MKV")], [("p", "HEC")], [("p", "11")], "m", "got a mask of 2, expected 3"),
        ([("p", "MKV")], [("p", "HEC")], [("p", "1x1")], "m", "mask 2 is 'x', expected 0 or 1"),
        ([("p", "MKV")], [("p", "HEC")], [("q", "111")], "s", "no mask of this record"),
    ],
)
def test_paired_refusals(tmp_path, sequences, labels, mask, file, problem):
    paths = [fasta(tmp_path / "s", *sequences), fasta(tmp_path / "y", *labels)]
    if mask is not None:
        paths.append(fasta(tmp_path / "m", *mask))
    with pytest.raises(InputError, match=problem) as caught:
        PairedFastaSource(*paths).load_residues()
    assert str(caught.value).startswith(f"{tmp_path / file}:")


def test_the_header_of_the_labels_says_the_part(tmp_path):
    names = ("train", "train", "test", "")
    sequences = fasta(tmp_path / "s", *((f"p{n}", "MKV" + "A" * n) for n in range(3)))
    labels = fasta(
        tmp_path / "y",
        *((f"p{n} SET={names[n]} VALIDATION={n == 1}", "HEC" + "C" * n) for n in range(3)),
    )
    source = PairedFastaSource(sequences, labels, **FLIP)
    fields = source.load_residues().labelled.fields
    assert fields["split"].tolist() == ["train", "validation", "test"]
    fasta(tmp_path / "y", *((f"p{n}", "HEC" + "C" * n) for n in range(3)))
    with pytest.raises(InputError, match=r"y:1: record 'p0': no split: key 'SET' not found"):
        source.load_residues()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"merge": {"bb": "B"}}, "single printable"),
        ({"known": "HE", "merge": {"b": "B"}}, "merge: .*labels among 'HE'"),
        ({"known": "HEU", "unknown": "U"}, "unknown: .*not labels as well"),
        ({"fields": {"fold": {"field": 1}}}, "number of the file"),
        ({"id": {"column": "id"}}, "a table"),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        ThreeLineSource("unread", **options)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="gone.txt: cannot be read"):
        ThreeLineSource(tmp_path / "gone.txt").load_residues()


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no residues\.json"):
        ResidueSet.open(tmp_path)


def folded(tmp_path, *files):
    paths = [three(tmp_path / f"f{n}", *records) for n, records in enumerate(files)]
    return ThreeLineSource(paths).load_residues().labelled


def test_repeats_of_held_out_sequences_do_not_train(tmp_path):
    data = folded(
        tmp_path,
        [("a", "MKV", "HEC"), ("b", "MKVV", "HECC")],
        [("c", "MKV", "HEC"), ("d", "AAA", "HHH")],
        [("e", "AAA", "HHH"), ("f", "CCC", "EEE"), ("g", "MKV", "HEC")],
    )
    split = FoldSplit(fold=0).split(data)
    named = {part: [data.store.id(n) for n in rows] for part, rows in split.parts.items()}
    assert named == {"train": ["f"], "validation": ["d"], "test": ["a", "b"]}
    assert split.parameters["repeats_left_out"] == 3
    shared = FoldSplit(fold=2, validation=0.4).split(data)
    assert [data.store.id(n) for n in shared.test] == ["e", "f", "g"]
    assert not set(data.sequences_N[shared.train]) & set(data.sequences_N[shared.validation])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fold": 3}, r"split\.fold: got 3, expected 0 to 2"),
        ({"folds": 5}, r"split\.folds: got 5, expected the 3 folds"),
        ({"field": "gone"}, r"split\.field"),
        ({"validation": 1.0}, r"split\.validation"),
    ],
)
def test_folds_that_are_not_there(tmp_path, options, message):
    data = folded(tmp_path, [("a", "M", "H")], [("b", "K", "E")], [("c", "V", "E")])
    with pytest.raises(ConfigError, match=message):
        FoldSplit(**options).split(data)


def test_folds_are_in_the_order_of_numbers(tmp_path):
    data = folded(tmp_path, *([(f"p{n}", "M" * (n + 1), "HE"[n % 2] * (n + 1))] for n in range(12)))
    assert data.store.id(FoldSplit(fold=10).split(data).test[0]) == "p10"
