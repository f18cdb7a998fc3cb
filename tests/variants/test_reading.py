import csv
import gzip
import json
import math
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from protemb.errors import ConfigError, DownloadError, InputError
from protemb.variants.mutations import Mutation
from protemb.variants.reading import TableSource

BASIC = """protein,mutation,ddG,sequence,struc,pH,w,fam
P,M1A,0.5,MKLV,H,7,1,f1
P,A:K2G,-1,MKLV,,,3,f1
Q,p.Ala1Cys,2,ACX,E,nan,2,f2
"""


@pytest.fixture
def write(tmp_path):
    """Write a table and return the source that reads it."""

    def write_table(text, name="t.csv", **options):
        path = tmp_path / name
        path.write_text(text)
        return TableSource(path=str(path), **({"value": "ddG", "sequence": "sequence"} | options))

    return write_table


def test_a_table_is_read(write):
    covariates = {"struc": {"kind": "categorical"}, "acid": {"column": "pH", "kind": "numeric"}}
    table = write(BASIC, covariates=covariates, weight="w", group="fam").load()
    assert table.proteins_N.tolist() == ["P", "P", "Q"]
    assert list(map(str, table.mutations)) == ["M1A", "K2G", "A1C"]
    assert table.mutations[1].chain == "A" and table.variant(1) == "MGLV"
    assert table.values_N.tolist() == [0.5, -1, 2] and table.labels_N is None
    assert table.groups_N.tolist() == ["f1", "f1", "f2"]
    assert table.weights_N.tolist() == [1, 3, 2]
    assert table.covariates["struc"].tolist() == ["H", "", "E"]
    assert table.covariates["acid"].dtype == np.float64
    assert np.array_equal(table.covariates["acid"], [7, math.nan, math.nan], equal_nan=True)
    report = json.loads(json.dumps(table.report, allow_nan=False))
    assert report["rows_read"] == report["rows_kept"] == 3 and report["proteins"] == 2
    assert report["sequences"] == {
        "from": {"table": 2, "fasta": 0, "lookup": 0},
        "other_letters": {"X": {"proteins": 1, "residues": 1}},
    }
    assert report["covariates"] == {
        "struc": {"categories": {"": 1, "E": 1, "H": 1}},
        "acid": {"missing": 2},
    }
    assert report["dropped"] == {} and report["duplicates"]["variants"] == 0


def test_the_form_of_the_file_does_not_matter(write, tmp_path):
    options = {"covariates": ["struc"], "weight": "w", "value": "ddG", "sequence": "sequence"}
    plain = write(BASIC, **options).load()
    rows = list(csv.DictReader(BASIC.splitlines()))
    columns = list(reversed(rows[0]))
    text = "\n".join("\t".join(row[name] for name in columns) for row in rows)
    text = "\t".join(columns) + "\n" + text + "\n"
    (tmp_path / "u.tsv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "u.tsv.zst").write_bytes(zstandard.ZstdCompressor().compress(text.encode()))
    numbers = [{**row, "ddG": float(row["ddG"]), "w": int(row["w"])} for row in rows]
    pq.write_table(pa.Table.from_pylist(numbers), tmp_path / "u.parquet")
    half = BASIC.splitlines(keepends=True)
    (tmp_path / "1.csv").write_text("".join(half[:2]))
    (tmp_path / "2.csv").write_text("".join([half[0], *half[2:]]))
    for path in ("u.tsv.gz", "u.tsv.zst", "u.parquet", ["1.csv", "2.csv"]):
        names = [path] if isinstance(path, str) else path
        paths = [str(tmp_path / name) for name in names]
        table = TableSource(path=paths if len(paths) > 1 else paths[0], **options).load()
        assert table.fingerprint == plain.fingerprint


def test_labels_and_whole_proteins(write):
    text = "id,chain,where,seq\nP,A,out,MKLV\nQ,B,in,ACD\nR,A,out,MMM\n"
    table = write(
        text, protein=["id", "chain"], mutation=None, value=None, label="where", sequence="seq"
    ).load()
    assert table.proteins_N.tolist() == ["P_A", "Q_B", "R_A"] and not table.has_mutations
    assert table.label_names == ("in", "out") and table.labels_N.tolist() == [1, 0, 1]
    assert table.labels_N.dtype == np.int64 and table.values_N is None
    assert table.variant(1) == "ACD" and table.report["classes"] == {"in": 1, "out": 2}
    assert table.groups_N.tolist() == table.proteins_N.tolist()


def test_positions_may_count_from_zero(write):
    text = "protein,mutation,ddG,sequence\nP,M0A,1,MKLV\nP,V3A,1,MKLV\n"
    table = write(text, mutation_base=0).load()
    assert [mutation.positions for mutation in table.mutations] == [(0,), (3,)]
    with pytest.raises(InputError, match=r"t.csv:2: record 'P M0A': position 0 is outside"):
        write(text).load()


class Known:
    """A lookup of what the test knows."""

    def __init__(self, known):
        self.known, self.asked = known, []

    def get(self, protein_id):
        self.asked.append(protein_id)
        if protein_id == "down":
            raise DownloadError("http://host/down", "cannot be reached")
        return self.known.get(protein_id)


def test_sequences_come_from_table_then_fasta_then_lookup(write, tmp_path):
    (tmp_path / "wild.fa").write_text(
        ">P from the FASTA\nMWWW\n>Q two\nAC\nD\n>sp|P12345|NAME_X x\nGGG\n>Z other\nac-\n"
    )
    text = (
        "protein,mutation,ddG,sequence\nP,M1A,1,\nQ,A1C,2,\nP,K2A,3,MKLV\n"
        "R,W1A,4,\nP12345,G3A,5,\nR,W2A,6,\n"
    )
    lookup = Known({"R": "WW", "P": "wrong"})
    table = write(text, fasta=str(tmp_path / "wild.fa"), lookup=lookup).load()
    assert dict(table.wild_types) == {"P": "MKLV", "Q": "ACD", "R": "WW", "P12345": "GGG"}
    assert lookup.asked == ["R"]
    assert table.report["sequences"]["from"] == {"table": 1, "fasta": 2, "lookup": 1}

    with pytest.raises(InputError, match=r"t.csv:5: record 'R W1A': the protein has no sequence"):
        write(text, fasta=str(tmp_path / "wild.fa")).load()
    table = write(text, fasta=str(tmp_path / "wild.fa"), missing="drop").load()
    assert len(table) == 4 and table.report["dropped"]["no sequence"] == {
        "rows": 2,
        "examples": [
            f"t.csv:{line} R W{number}A: the protein has no sequence"
            for line, number in ((5, 1), (7, 2))
        ],
    }
    with pytest.raises(DownloadError):
        write("protein,mutation,ddG\ndown,M1A,1\n", sequence=None, lookup=Known({})).load()
    with pytest.raises(InputError, match="'k', expected upper case, as it was looked up"):
        write("protein,mutation,ddG\nL,M1A,1\n", sequence=None, lookup=Known({"L": "Mk"})).load()
    (tmp_path / "twice.fa").write_text(">P\nMK\n>Q\nA\n>P\nML\n")
    with pytest.raises(InputError, match="twice.fa:5: record 'P': an earlier record has another"):
        write("protein,mutation,ddG\nP,M1A,1\n", sequence=None, fasta=f"{tmp_path}/twice.fa").load()
    (tmp_path / "odd.fa").write_text(">P\nMk\n")
    with pytest.raises(InputError, match="odd.fa:1: record 'P': residue 2 of the sequence is 'k'"):
        write("protein,mutation,ddG\nP,M1A,1\n", sequence=None, fasta=f"{tmp_path}/odd.fa").load()


BAD_ROWS = {
    "two sequences": ("P,K2A,1,MKLA,,,1,f", r"the sequence differs from the one in .*t\.csv:2"),
    "lower case": ("S,M1A,1,Mkl,,,1,f", "residue 2 of the sequence is 'k', expected upper case"),
    "gap": ("S,M1A,1,M-L,,,1,f", "residue 2 of the sequence is '-', no letter of a residue"),
    "J": ("S,M1A,1,MJL,,,1,f", "'J', no letter of a residue"),
    "no number": ("P,K2A,high,MKLV,,,1,f", "column 'ddG' is 'high', expected a number"),
    "infinite": ("P,K2A,inf,MKLV,,,1,f", "column 'ddG' is 'inf', expected a finite number"),
    "bad covariate": ("P,K2A,1,MKLV,,acid,1,f", "column 'pH' is 'acid', expected a number"),
    "no weight": ("P,K2A,1,MKLV,,,0,f", "the weight is 0, expected a number above 0"),
    "not a mutation": ("P,del2,1,MKLV,,,1,f", "got 'del2', expected a substitution"),
    "wrong residue": ("P,W2A,1,MKLV,,,1,f", "residue 2 is K, not W"),
    "outside": ("P,W9A,1,MKLV,,,1,f", "position 9 is outside the 4 residues"),
    "before": ("P,V0A,1,MKLV,,,1,f", "position 0 is outside the 4 residues"),
    "twice": ("P,M1A,1,MKLV,,,1,f1", r"the same variant as in .*t\.csv:2"),
    "value": ("P,K2A,,MKLV,,,1,f", "the row has no value"),
    "value NaN": ("P,K2A,NaN,MKLV,,,1,f", "the row has no value"),
    "mutation": ("P,,1,MKLV,,,1,f", "the row has no mutation"),
    "group": ("P,K2A,1,MKLV,,,1,", "the row has no group"),
    "weight": ("P,K2A,1,MKLV,,,,f", "the row has no weight"),
    "protein": (",K2A,1,MKLV,,,1,f", "the row has no protein"),
    "chain": ("P,B:L3A,1,MKLV,,,1,f", r"chain 'B', but chain 'A' in .*t\.csv:3"),
}


@pytest.mark.parametrize(("line", "problem"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_bad_row_is_one_clear_line(write, line, problem):
    source = write(
        BASIC + line + "\n", covariates={"pH": {"kind": "numeric"}}, weight="w", group="fam"
    )
    with pytest.raises(InputError, match=problem) as caught:
        source.load()
    assert caught.value.line == 5 and "\n" not in str(caught.value)
    protein, mutation = line.split(",")[:2]
    assert caught.value.record == f"{protein} {mutation}".strip()


def test_policies_drop_and_count(write):
    text = BASIC + (
        "P,,1,MKLV,,,1,f\nP,K2A,,MKLV,,,1,f\nP,del2,1,MKLV,,,1,f\nP,W2A,1,MKLV,,,1,f\n"
        "P,V4A,1,MKLV,,,1,f\n"
    )
    table = write(text, missing="drop", unfitted="drop").load()
    assert list(map(str, table.mutations)) == ["M1A", "K2G", "A1C", "V4A"]
    dropped = table.report["dropped"]
    assert {reason: facts["rows"] for reason, facts in dropped.items()} == {
        "no mutation": 1,
        "no value": 1,
        "unfitted": 2,
    }
    assert dropped["unfitted"]["examples"] == table.report["offsets"]["listed"]
    assert dropped["unfitted"]["examples"][1] == "t.csv:8 P W2A: residue 2 is K, not W"
    assert table.report["rows_read"] == 8 and table.report["rows_kept"] == 4
    many = "protein,mutation,ddG,sequence\nP,M1A,1,MK\n" + "P,W2A,1,MK\n" * 50
    facts = write(many, unfitted="drop").load().report
    assert facts["dropped"]["unfitted"]["rows"] == len(facts["offsets"]["listed"]) == 50
    assert len(facts["dropped"]["unfitted"]["examples"]) == 20
    with pytest.raises(InputError, match=r"none of 1 rows can be used \(left out: unfitted 1\)"):
        write("protein,mutation,ddG,sequence\nP,W1A,1,MK\n", unfitted="drop").load()


def test_duplicates_are_those_after_the_offset(write):
    text = "protein,mutation,ddG,sequence\nP,K12A,1,MKLV\nP,L13A,2,MKLV\n"
    moved = write(text, max_offset=20).load()
    assert list(map(str, moved.mutations)) == ["K2A", "L3A"]
    assert moved.report["offsets"]["chosen"] == {"P": -10}
    there = write("protein,mutation,ddG,sequence\nP,K2A,1,MKLV\nP,L3A,2,MKLV\n").load()
    assert moved.fingerprint == there.fingerprint


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"label": "x"}, "table"),
        ({"value": None}, "table"),
        ({"sequence": None}, "table.sequence"),
        ({"unfitted": "keep"}, "table.unfitted"),
        ({"ambiguous": "mean"}, "table.ambiguous"),
        ({"duplicates": "drop"}, "table.duplicates"),
        ({"missing": "keep"}, "table.missing"),
        ({"mutation_base": 2}, "table.mutation_base"),
        ({"max_offset": -1}, "table.max_offset"),
        ({"max_offset": 3, "mutation": None}, "table.max_offset"),
        ({"protein": []}, "table.protein"),
        ({"covariates": "struc"}, "table.covariates"),
        ({"covariates": {"pH": {"column": "pH"}}}, "table.covariates.pH"),
        ({"covariates": {"pH": "numeric"}}, "table.covariates.pH"),
        ({"covariates": {"pH": {"kind": "numeric", "unit": "1"}}}, "table.covariates.pH"),
        ({"covariates": {"pH": {"kind": "guess"}}}, "table.covariates.pH"),
    ],
)
def test_options_that_cannot_work(write, options, option):
    with pytest.raises(ConfigError) as caught:
        write(BASIC, **options)
    assert caught.value.option == option


def test_a_missing_column_is_named(write):
    with pytest.raises(InputError, match=r"t.csv:1: no column 'fold'; the columns are: protein, m"):
        write(BASIC, covariates=["fold"]).load()


@pytest.mark.slow
def test_a_large_table_takes_seconds(tmp_path):
    random, letters = np.random.default_rng(0), np.array(list("ARNDCQEGHILKMFPSTWYV"))
    lines = ["protein,mutation,score,sequence"]
    for protein in range(20):
        sequence = "".join(random.choice(letters, 270))
        for place, wild in enumerate(sequence):
            for new in set("ARNDCQEGHILKMFPSTWYV") - {wild}:
                lines.append(f"p{protein},{wild}{place + 31}{new},0.5,{sequence}")
    (tmp_path / "scan.csv").write_text("\n".join(lines))
    start = time.process_time()
    table = TableSource(
        path=str(tmp_path / "scan.csv"), value="score", sequence="sequence", max_offset=50
    ).load()
    assert len(table) == len(lines) - 1 == 102_600
    assert set(table.report["offsets"]["chosen"].values()) == {-30}
    assert table.mutations[0].positions == (0,) and isinstance(table.mutations[0], Mutation)
    assert time.process_time() - start < 60  # it takes about 5 where nothing else runs
