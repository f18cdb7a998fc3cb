"""`protemb scan` as people type it, on models that a small grid fitted.

Shape letters: N = variants, L = residues, D = features of a vector.
"""

import csv
import gzip
import xml.etree.ElementTree as ElementTree
from functools import cache

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from protemb import cli
from protemb.apps.variants.fitted import load_fitted
from protemb.models.encoders import RecurrentEncoder
from protemb.sequences.alphabet import AA21
from protemb.sequences.amino_acids import RESIDUES
from protemb.variants.mutations import Mutation

SEQUENCE = "MKVLAGIWTYRED"
TINY = ["~encoders.physchem", "table.source.proteins=4", "table.source.mutations=6"]
TINY += ["folds.count=3", "nested=null"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("scan")


@pytest.fixture(scope="module")
def run(root, run_grid):
    """A model on the states of a BiLSTM at the mutated residue, beside struc."""
    return run_grid(root, *TINY, "pooling=position", "features=concatenated", name="position")


@pytest.fixture(scope="module")
def of_means(root, run_grid):
    """One on differences of means."""
    return run_grid(root, *TINY, "pooling=mean", "features=difference", name="mean")


@pytest.fixture
def fasta(tmp_path):
    def write(*records, name="one.fasta"):
        path = tmp_path / name
        path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in records))
        return path

    return write


def call(*arguments):
    cli.main([str(argument) for argument in arguments])


@pytest.fixture
def refuses(capsys, tmp_path):
    """Run a command; check that it gives one line and exit code 2, and return the line."""

    def start(*arguments):
        before = set(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as stopped:
            call("scan", *arguments)
        out, err = capsys.readouterr()
        assert stopped.value.code == 2 and "scores" not in out and "Traceback" not in err
        assert set(tmp_path.rglob("*")) == before
        last = err.rstrip("\n").splitlines()[-1]
        assert last.startswith("protemb")
        return last

    return start


def rows_of(path, delimiter=","):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


@cache
def network():
    """That of the grid's random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return RecurrentEncoder(embed_dim=8, hidden_dim=16, bidirectional=True).eval()


def states(sequence):
    """States_LD of one sequence alone."""
    tokens = torch.tensor([[AA21.symbols.index(letter) for letter in sequence]])
    with torch.no_grad():
        return network()(tokens, torch.tensor([len(sequence)]), ("states",))["states"][0].numpy()


def expected_scores(folder, sequence, struc=None):
    """The fitted model on each variant, embedded alone."""
    model = load_fitted(folder)
    struc = struc or [""] * len(sequence)
    pooled = {
        "mean": lambda sequence, place: states(sequence).mean(0),
        "position": lambda sequence, place: states(sequence)[place],
    }[model.cell.pooling]
    found = {}
    for place, old in enumerate(sequence):
        wild = pooled(sequence, place)
        for new in RESIDUES:
            if new == old:
                continue
            variant = pooled(sequence[:place] + new + sequence[place + 1 :], place)
            both = model.cell.features == "concatenated"
            features = (np.concatenate([wild, variant]) if both else variant - wild)[None]
            name = f"{old}{place + 1}{new}"
            covariates = {"struc": np.array([struc[place]])}
            if old == "X":  # no mutation can be written from X, and its base has no old residue
                other = "C" if new == "A" else "A"
                base, _ = model.base.features([Mutation.parse(f"{other}1{new}")], covariates)
                base[0, model.base.names.index(f"wild {other}")] = 0
                found[name] = model.regressor.predict(np.hstack([base, features]))[0]
            else:
                found[name] = model.predict([Mutation.parse(name)], covariates, features)[0]
    return found


@pytest.mark.parametrize("pooling", ["position", "mean"])
def test_scores_are_those_of_each_variant_alone(run, of_means, fasta, tmp_path, capsys, pooling):
    folder = run if pooling == "position" else of_means
    sequence = SEQUENCE[:6] + "X" + SEQUENCE[6:]
    call("scan", folder, fasta(("p some words", sequence.lower())), "-o", tmp_path / "s.csv")
    rows = rows_of(tmp_path / "s.csv")
    assert list(rows[0]) == ["mutation", "position", "wild_type", "new", "score"]
    assert len(rows) == 19 * len(sequence) + 1  # X can become each of the 20
    expected = expected_scores(folder, sequence)
    assert [row["mutation"] for row in rows] == list(expected)
    for row in rows:
        assert row["mutation"] == row["wild_type"] + row["position"] + row["new"]
        assert sequence[int(row["position"]) - 1] == row["wild_type"] != row["new"]
        assert float(row["score"]) == pytest.approx(expected[row["mutation"]], abs=1e-4)
    said = capsys.readouterr().out
    assert "shared with the wild type: prefix and suffix" in said and f"{len(rows)} scores" in said
    for end in ("svg", "png"):
        assert (tmp_path / f"s.{end}").stat().st_size > 1000


def test_covariates(run, fasta, tmp_path):
    """Given for some residues; the category of the unknown elsewhere."""
    struc = ["helix", "", "loop", *[""] * (len(SEQUENCE) - 3)]
    table = tmp_path / "struc.csv"
    table.write_text("position,struc,other\n3,loop,x\n1,helix,y\n2,,z\n")
    path = fasta(("p", SEQUENCE))
    call("scan", run, path, "-o", tmp_path / "s.csv", "--covariates", table)
    expected = expected_scores(run, SEQUENCE, struc)
    found = {row["mutation"]: float(row["score"]) for row in rows_of(tmp_path / "s.csv")}
    assert found == pytest.approx(expected, abs=1e-4)
    call("scan", run, path, "-o", tmp_path / "u.csv")
    unknown = {row["mutation"]: float(row["score"]) for row in rows_of(tmp_path / "u.csv")}
    differ = {int(name[1:-1]) for name in found if found[name] != unknown[name]}
    assert differ == {1, 3}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("position,struc\n1,coil\n", "c.csv:2: struc: got 'coil', expected one of 'helix', 'loop'"),
        ("position,struc\n0,loop\n", "c.csv:2: position: got '0', expected 1 to 13"),
        ("position,struc\n1,loop\n22,loop\n", "c.csv:3: position: got '22', expected 1 to 13"),
        ("position,struc\nA1,loop\n", "c.csv:2: position: got 'A1', expected 1 to 13"),
        ("position,struc\n²,loop\n", "c.csv:2: position: got '²', expected 1 to 13"),
        ("place,struc\n1,loop\n", "c.csv:1: no column 'position'"),
        ("position,site\n1,loop\n", "no column of the model's covariates (struc)"),
    ],
)
def test_bad_covariates(run, fasta, refuses, tmp_path, content, line):
    path, table = fasta(("p", SEQUENCE)), tmp_path / "c.csv"
    table.write_text(content)
    assert line in refuses(run, path, "-o", tmp_path / "s.csv", "--covariates", table)


def test_formats_and_records(run, fasta, tmp_path):
    path = fasta(("a", SEQUENCE), ("b", SEQUENCE[:8] + "*"), ("c", SEQUENCE[:5]))
    packed = tmp_path / "three.fasta.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for name in ("b.csv", "b.tsv", "b.parquet"):
        call("scan", run, packed, "--record", "b", "-o", tmp_path / name)
    rows = rows_of(tmp_path / "b.csv")
    assert len(rows) == 19 * 8
    assert rows_of(tmp_path / "b.tsv", "\t") == rows
    table = pq.read_table(tmp_path / "b.parquet").to_pylist()
    assert [{name: str(value) for name, value in row.items()} for row in table] == rows
    # A small tolerance changes little, and a small budget nothing.
    call("scan", run, packed, "--record", "b", "-o", tmp_path / "t.csv", "--tolerance", "1e-5")
    call("scan", run, packed, "--record", "b", "-o", tmp_path / "r.csv", "--residues", "9")
    for name in ("t.csv", "r.csv"):
        found = [float(row["score"]) for row in rows_of(tmp_path / name)]
        assert found == pytest.approx([float(row["score"]) for row in rows], abs=1e-3)


@pytest.mark.parametrize(
    ("records", "options", "line"),
    [
        ([("a", SEQUENCE), ("b", SEQUENCE)], [], "got 2 records, expected one; --record ID"),
        ([("a", SEQUENCE), ("a", SEQUENCE)], ["--record", "a"], "got 2 records, expected one"),
        ([("a", SEQUENCE)], ["--record", "z"], "no such record"),
        ([("a", "MKV1A")], [], "1"),
        ([("a", "MK-VA")], [], "-"),
        ([("a", "MK*VA")], [], "*"),
        ([("a", "")], [], ""),
        ([("", SEQUENCE)], [], ""),
        ([("a", SEQUENCE)], ["--tolerance", "1"], "expected a share from 0 to below 1"),
        ([("a", SEQUENCE)], ["--residues", "0"], "residues"),
        ([("a", SEQUENCE)], ["--device", "gpu"], "gpu"),
        ([("a", SEQUENCE)], ["--weights", "models/x"], "random has no weights file"),
    ],
)
def test_one_line(run, fasta, refuses, tmp_path, records, options, line):
    assert line in refuses(run, fasta(*records), "-o", tmp_path / "s.csv", *options)


def test_paths_that_cannot_work(run, fasta, refuses, tmp_path):
    path = fasta(("p", SEQUENCE))
    assert "expected a name in .csv, .tsv or .parquet" in refuses(run, path, "-o", tmp_path / "s")
    assert "holds no fitted model" in refuses(tmp_path, path, "-o", tmp_path / "s.csv")
    assert "none.fasta" in refuses(run, tmp_path / "none.fasta", "-o", tmp_path / "s.csv")


@pytest.mark.parametrize(
    "name", ["../../up", "<script>x</script>", "$\\frac{$", "a&b\"c'", "=1+1", "π", "\x1b[31m"]
)
def test_hostile_ids_are_only_text(run, fasta, tmp_path, name):
    call("scan", run, fasta((name, SEQUENCE[:4])), "-o", tmp_path / "out" / "s.csv")
    made = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {"one.fasta", "s.csv", "s.svg", "s.png"}
    drawing = ElementTree.parse(tmp_path / "out" / "s.svg")
    assert not [node for node in drawing.iter() if node.tag.endswith("script")]
    assert len(rows_of(tmp_path / "out" / "s.csv")) == 76
