"""Regions: what a file may say, and alignments against a plain loop and against known edits."""

import sys
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from Bio.Align import substitution_matrices
from hypothesis import given
from hypothesis import strategies as st

from protemb.errors import InputError, MissingExtra
from protemb.sequences.fasta import read_fasta
from protemb.sequences.regions import Regions, read_regions, reference_columns, regions_path
from protemb.sequences.tokens import TokenStore

LETTERS = "ARNDCQEGHILKMFPSTWYV"
HEADER = "reference,region,first,last"
REFERENCE = "MKTIIALSYIFCLALGQDLP"


@pytest.fixture(scope="module")
def store() -> TokenStore:
    return TokenStore.from_sequences([("short", "MK"), ("ref 1|H3", REFERENCE), ("other", "MKV")])


# ---- the file --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "beside"),
    [
        ("data/hosts.fasta", "data/hosts.regions.csv"),
        ("data/hosts.fasta.gz", "data/hosts.regions.csv"),
        ("data/hosts.fa.zst", "data/hosts.regions.csv"),
        ("data/hosts.csv", "data/hosts.regions.csv"),
        ("data/hosts", "data/hosts.regions.csv"),
        ("data.v2/hosts.2024.fasta", "data.v2/hosts.2024.regions.csv"),
    ],
)
def test_regions_lie_beside_the_sequences(source, beside):
    assert regions_path(source) == regions_path(Path(source)) == Path(beside)


def write(folder: Path, *lines: str) -> Path:
    path = folder / "hosts.regions.csv"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)).map(sorted), min_size=1, max_size=5)
)
def test_positions_count_from_one_and_include_the_last(tmp_path_factory, store, ends):
    rows = [f"ref 1|H3,part {i},{first},{last}" for i, (first, last) in enumerate(ends)]
    regions = read_regions(write(tmp_path_factory.getbasetemp(), HEADER, *rows), store)
    assert regions.reference == "ref 1|H3"
    assert list(regions.spans) == [f"part {i}" for i in range(len(ends))]
    for (first, last), (start, stop) in zip(ends, regions.spans.values(), strict=True):
        counted = "".join(x for i, x in enumerate(REFERENCE, start=1) if first <= i <= last)
        assert REFERENCE[start:stop] == counted and stop - start == last - first + 1


def test_columns_may_stand_in_any_order_beside_others(tmp_path: Path, store):
    path = write(
        tmp_path,
        "note,last,region,first,reference",
        "",
        '"signal, cut off", 16 ,signal peptide,1,ref 1|H3',
        ",20,HA1,17,ref 1|H3",
    )
    expected = Regions("ref 1|H3", {"signal peptide": (0, 16), "HA1": (16, 20)})
    assert read_regions(path, store) == expected


GOOD = "ref 1|H3,head,1,16"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER], ": no rows below the column names"),
        ([], ": the file is empty"),
        (["reference,region,first", "ref 1|H3,head,1"], ":1: no column 'last'; the columns are: "),
        (["reference;region", "a;b"], ":1: wrong delimiter"),
        ([HEADER, "AB1,head,1,16"], ":2: the records have no 'AB1'"),
        ([HEADER, ",head,1,16"], ":2: the records have no ''"),
        (
            [HEADER, GOOD, "", "other,tail,1,2"],
            ":4: got reference 'other', expected 'ref 1|H3' in every row",
        ),
        ([HEADER, GOOD, "ref 1|H3,,17,18"], ":3: a region has no name"),
        ([HEADER, GOOD, "ref 1|H3, head,17,18"], ":3: the region 'head' is there twice"),
        ([HEADER, GOOD, "ref 1|H3,tail,17"], ":3: got 3 fields, expected 4"),
        ([HEADER, GOOD, "ref 1|H3,tail,17,21"], ":3: got last 21, but 'ref 1|H3' has 20 residues"),
        *(
            (
                [HEADER, GOOD, f"ref 1|H3,tail,{first},{last}"],
                f":3: got positions {first!r} to {last!r}, expected two numbers from 1",
            )
            for first, last in [
                ("", "4"),
                ("1", ""),
                ("0", "4"),
                ("-1", "4"),
                ("1.0", "4"),
                ("1", "4aa"),
                ("1", "²"),
                ("1_0", "12"),
                ("5", "4"),
            ]
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_with_its_number(
    tmp_path: Path, store, lines, message
):
    path = write(tmp_path, *lines)
    with pytest.raises(InputError) as caught:
        read_regions(path, store)
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)


def test_no_file_at_all(tmp_path: Path, store):
    with pytest.raises(InputError, match="hosts.regions.csv: cannot be read: No such file"):
        read_regions(tmp_path / "hosts.regions.csv", store)


# ---- alignments ------------------------------------------------------------------------------

MATRIX = substitution_matrices.load("BLOSUM62")


def gap(length: int) -> float:
    """What a gap costs: 11 + 1 per residue, as blastp's; nothing for none."""
    return 11 + length if length else 0


def score(first: str, second: str) -> float:
    """A pair of residues; BLOSUM62 has no U, O and J, which count as X."""
    known = str.maketrans("UOJ", "XXX")
    return float(MATRIX[first.translate(known), second.translate(known)])


def best_score(target: str, query: str) -> float:
    """Needleman and Wunsch (1970), any gap tried at every cell; gaps at the ends are free."""
    T, Q = len(target), len(query)
    best = np.zeros((T + 1, Q + 1))  # row 0 and column 0: a gap at the beginning
    for t in range(1, T + 1):
        for q in range(1, Q + 1):
            ways = [best[t - 1, q - 1] + score(target[t - 1], query[q - 1])]
            ways += [best[t - k, q] - (gap(k) if q < Q else 0) for k in range(1, t + 1)]
            ways += [best[t, q - k] - (gap(k) if t < T else 0) for k in range(1, q + 1)]
            best[t, q] = max(ways)
    return float(best[T, Q])


def score_of(columns_L, target: str, query: str) -> float:
    """Score of the alignment that the columns tell of."""
    pairs = [(int(column), i) for i, column in enumerate(columns_L) if column >= 0]
    if not pairs:
        return 0.0  # one after the other: both gaps are at an end
    total = sum(score(target[column], query[i]) for column, i in pairs)
    for (column, i), (next_column, next_i) in zip(pairs[:-1], pairs[1:], strict=True):
        total -= gap(next_column - column - 1) + gap(next_i - i - 1)
    # Where both stick out at an end, one of them is opposite a gap that is not at its end.
    total -= min(gap(pairs[0][0]), gap(pairs[0][1]))
    total -= min(gap(len(target) - 1 - pairs[-1][0]), gap(len(query) - 1 - pairs[-1][1]))
    return total


TEXT = st.text("ACWHKX", min_size=1, max_size=9)


@given(TEXT, TEXT)
def test_no_alignment_is_better(target, query):
    (columns_L,) = reference_columns(target, [query])
    assert score_of(columns_L, target, query) == best_score(target, query)


@given(st.text(LETTERS, min_size=8, max_size=14), st.data())
def test_no_alignment_of_relatives_is_better(target, data):
    """Pieces left out and put in: gaps inside pay off."""
    start = data.draw(st.integers(1, len(target) - 2))
    stop = data.draw(st.integers(start, len(target) - 1))
    query = target[:start] + data.draw(st.text(LETTERS, max_size=3)) + target[stop:]
    (columns_L,) = reference_columns(target, [query])
    assert score_of(columns_L, target, query) == best_score(target, query)


@given(st.text(LETTERS + "XUOJ", min_size=1, max_size=30), st.lists(TEXT, min_size=1, max_size=4))
def test_columns_ascend_within_the_reference(target, queries):
    found = reference_columns(target, iter(queries))
    assert [len(columns_L) for columns_L in found] == [len(query) for query in queries]
    for query, columns_L in zip(queries, found, strict=True):
        placed = columns_L[columns_L >= 0]
        assert (np.diff(placed) > 0).all() and placed.max(initial=0) < len(target)
        assert set(columns_L[columns_L < 0].tolist()) <= {-1}
        np.testing.assert_array_equal(reference_columns(target, [query])[0], columns_L)


def random_text(rng, length: int) -> str:
    return "".join(rng.choice(list(LETTERS), size=length))


@pytest.mark.parametrize("seed", range(5))
def test_known_edits_are_found(seed):
    """One residue in 20 is another, pieces are missing, and others were put in."""
    rng = np.random.default_rng(seed)
    target = random_text(rng, 300)
    letters, columns = [], []
    for column, letter in enumerate(target):
        if column in (60, 140):
            letters += random_text(rng, int(rng.integers(1, 8)))
            columns += [-1] * (len(letters) - len(columns))
        if 100 <= column < 100 + seed + 1 or 200 <= column < 212:
            continue
        letters.append(str(rng.choice(list(LETTERS))) if rng.random() < 0.05 else letter)
        columns.append(column)
    (found_L,) = reference_columns(target, ["".join(letters)])
    assert (found_L < 0).sum() == columns.count(-1)
    # Where exactly a gap stands, its neighbours decide: they may look like what is missing.
    near = [i for i, column in enumerate(columns) if column < 0]
    near += [columns.index(column) for column in (99, 100 + seed + 1, 199, 212)]
    far = [i for i in range(len(columns)) if min(abs(i - place) for place in near) > 6]
    assert len(far) > 200
    assert found_L[far].tolist() == [columns[i] for i in far]


@pytest.mark.parametrize("seed", range(3))
def test_ends_may_be_missing_or_stick_out(seed):
    rng = np.random.default_rng(seed)
    target, before, after = (random_text(rng, size) for size in (80, 7, 9))
    cut, longer, shifted = reference_columns(
        target, [target[13:60], before + target + after, target[30:] + after]
    )
    assert cut.tolist() == list(range(13, 60))
    assert longer.tolist() == [-1] * 7 + list(range(80)) + [-1] * 9
    assert shifted.tolist() == list(range(30, 80)) + [-1] * 9


@pytest.mark.parametrize("letter", "UOJX")
def test_letters_that_the_matrix_lacks_stay_in_their_columns(letter):
    target = random_text(np.random.default_rng(0), 40)
    place = 17
    changed = target[:place] + letter + target[place + 1 :]
    twice = target[:place] + letter * 3 + target[place + 1 :]
    for reference, query in ((target, changed), (changed, target), (changed, changed)):
        assert reference_columns(reference, [query])[0].tolist() == list(range(40))
    (columns_L,) = reference_columns(target, [twice])
    assert (columns_L < 0).sum() == 2
    assert columns_L[:place].tolist() == list(range(place))
    assert columns_L[-22:].tolist() == list(range(18, 40))


def test_nothing_in_common():
    assert reference_columns("AAAA", ["WWW"])[0].tolist() == [-1, -1, -1]
    assert reference_columns("WWWWW", ["P", "W"])[0].tolist() == [-1]
    assert reference_columns("MKV", []) == []


def test_many_equally_good_alignments_are_no_trouble():
    (columns_L,) = reference_columns("A" * 400, ["A" * 250])
    np.testing.assert_array_equal(np.diff(columns_L), 1)


def test_biopython_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "Bio.Align", None)
    with pytest.raises(MissingExtra, match=r"needs biopython: pip install 'protemb\[explain\]'"):
        reference_columns("MK", ["MK"])


# ---- influenza -------------------------------------------------------------------------------

AICHI = "AB847411.1"  # the strain whose protein was crystallised first, in H3 numbering itself
BEFORE_HA1, BEFORE_HA2 = 16, 16 + 329
# Skehel and Wiley (2000): residues of the receptor-binding site of this strain, by HA1 position.
SITE = {98: "Y", 153: "W", 183: "H", 190: "E", 194: "L", 195: "Y", 226: "L", 228: "S"}
# Wilson, Skehel and Wiley (1981): the disulfide bridges, which every hemagglutinin has.
BRIDGED_HA1, BRIDGED_HA2 = (14, 52, 64, 76, 97, 139, 277, 281, 305), (137, 144, 148)


@pytest.fixture(scope="module")
def proteins(real_data: Path) -> dict[str, tuple[str, str]]:
    """Subtype and sequence by accession."""
    records = read_fasta(real_data / "influenza_ha_host" / "ha_host.fasta.gz")
    rows = ((record.header.split("|"), record.sequence.decode()) for record in records)
    return {names[0]: (names[2], sequence) for names, sequence in rows}


@pytest.fixture(scope="module")
def aichi(proteins) -> str:
    return proteins[AICHI][1]


@pytest.fixture(scope="module")
def spans(aichi) -> dict[str, tuple[int, int]]:
    path = resources.files("protemb.sequences").joinpath("ha_regions.csv")
    store = TokenStore.from_sequences([("first", "MK"), (AICHI, aichi)])
    regions = read_regions(str(path), store)
    assert regions.reference == AICHI
    return regions.spans


def test_the_reference_has_the_residues_of_the_literature(aichi):
    assert {place: aichi[BEFORE_HA1 + place - 1] for place in SITE} == SITE
    bridged = [BEFORE_HA1 + place - 1 for place in BRIDGED_HA1]
    assert bridged == [i for i in range(BEFORE_HA1, BEFORE_HA2) if aichi[i] == "C"]
    assert all(aichi[BEFORE_HA2 + place - 1] == "C" for place in BRIDGED_HA2)


def test_regions_of_hemagglutinin(aichi, spans):
    parts = {name: aichi[start:stop] for name, (start, stop) in spans.items()}
    # The chains follow each other: signal peptide, HA1 of 329, HA2 of 221 residues.
    chains = [spans[name] for name in ("signal peptide", "HA1", "HA2")]
    assert chains == [(0, 16), (16, 345), (345, 566)] and len(aichi) == 566
    assert parts["HA1"].startswith("QDLPG") and parts["HA1"].endswith("PEKQTR")
    assert parts["HA2"].startswith("GLFGAIAGF") and parts["HA2"].endswith("RCNICI")
    assert parts["fusion peptide"] == "GLFGAIAGFIENGWEGMIDGWYG"
    sites = {"130-loop": (135, 138), "190-helix": (190, 198), "220-loop": (221, 228)}
    for name, (first, last) in sites.items():
        assert spans[name] == (BEFORE_HA1 + first - 1, BEFORE_HA1 + last)
    assert (parts["190-helix"][0], parts["190-helix"][5]) == ("E", "Y")  # 190 and 195
    assert (parts["220-loop"][5], parts["220-loop"][7]) == ("L", "S")  # 226 and 228
    # The anchor is the one long piece without charges, and the tail is all that follows.
    assert len(parts["membrane anchor"]) == 27
    assert not set("DER") & set(parts["membrane anchor"][2:])
    assert spans["membrane anchor"][1] == spans["inner tail"][0]
    assert spans["inner tail"][1] == spans["HA2"][1] == len(aichi)


@pytest.mark.parametrize("subtype", ["H1", "H2", "H3", "H5", "H7"])
def test_all_subtypes_are_numbered_alike(proteins, aichi, subtype):
    """What binds the receptor, what bridges and what fuses is nearly the same in all of them."""
    own = [sequence for name, sequence in proteins.values() if name.startswith(f"{subtype}N")]
    chosen = np.random.default_rng(0).choice(own, 40, replace=False).tolist()
    found: dict[int, Counter[str]] = {column: Counter() for column in range(len(aichi))}
    for sequence, columns_L in zip(chosen, reference_columns(aichi, chosen), strict=True):
        for letter, column in zip(sequence, columns_L.tolist(), strict=True):
            found.get(column, Counter())[letter] += 1

    for place in (98, 153, 183, 195):
        assert found[BEFORE_HA1 + place - 1][SITE[place]] >= 35
    for before, places in ((BEFORE_HA1, BRIDGED_HA1), (BEFORE_HA2, BRIDGED_HA2)):
        assert all(found[before + place - 1]["C"] >= 39 for place in places)
    fusion = [found[BEFORE_HA2 + i].most_common(1)[0] for i in range(9)]
    most = "".join(letter for letter, _ in fusion)
    assert most in ("GLFGAIAGF", "GIFGAIAGF") and all(count >= 20 for _, count in fusion)
