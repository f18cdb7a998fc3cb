"""`protemb similarity`, `contacts` and `search` as people type them, on the reference models."""

import csv
import json
from urllib.parse import unquote

import h5py
import numpy as np
import pytest

from protemb import cli
from protemb.models.pretrained.library import convert
from protemb.vectors.table import VectorTable


@pytest.fixture(scope="module")
def manifest(reference):
    return json.loads((reference / "manifest.json").read_text())


@pytest.fixture(scope="module")
def models(reference, manifest, tmp_path_factory):
    """Converted folders by name."""
    root, found = tmp_path_factory.mktemp("models"), {}
    for name in ("ssa", "me", "scopcm", "prose_mt", "bilm_tied"):
        source = next(p for p in manifest["models"][name]["checkpoints"] if ".zip." in p)
        found[name] = convert(reference / source, root / name)
    return found


@pytest.fixture(scope="module")
def proteins(reference, tmp_path_factory):
    """The reference sequences that are text as a FASTA may hold it, under ids with a slash."""
    path = tmp_path_factory.mktemp("fasta") / "proteins.fasta"
    lines = []
    for each in json.loads((reference / "sequences.json").read_text()):
        if each["id"] != "len31odd" and len(each["seq"]) < 100:
            lines += [f">A/{each['id']}", each["seq"]]
    path.write_text("\n".join(lines) + "\n")
    return path


def call(*arguments):
    cli.main([str(argument) for argument in arguments])


@pytest.fixture
def refuses(capsys):
    """Run a command; check that it gives one line and exit code 2, and return the line."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            call(*arguments)
        out, err = capsys.readouterr()
        last = err.rstrip("\n").splitlines()[-1]
        assert (stopped.value.code, out) == (2, "") and last.startswith("protemb: ")
        return last.removeprefix("protemb: ")

    return run


def rows_of(text):
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


@pytest.mark.parametrize("name", ["ssa", "me", "scopcm", "prose_mt"])
def test_similarity_of_listed_pairs(reference, manifest, models, proteins, tmp_path, name):
    """Scores, levels and probabilities are those of the authors' own code."""
    kept, lines = [], ["one,other"]
    for number, pair in enumerate(manifest["pairs"]):
        if all(f">A/{each}\n" in proteins.read_text() for each in pair):
            kept.append(number)
            lines.append(",".join(f"A/{each}" for each in pair))
    assert len(kept) >= 5
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "scores.tsv"
    listed = ("--pairs", tmp_path / "pairs.csv", "--unknown", "x", "-o", out)
    call("similarity", models[name], proteins, *listed)
    rows = rows_of(out.read_text())
    assert [f"{row['id_a']},{row['id_b']}" for row in rows] == lines[1:]
    with np.load(reference / manifest["models"][name]["expected"]) as expected:
        for row, number in zip(rows, kept, strict=True):
            score, level = expected["pairs/c"][number], expected["pairs/level"][number]
            np.testing.assert_allclose(float(row["score"]), score, rtol=1e-5, atol=2e-6)
            np.testing.assert_allclose(float(row["level"]), level, rtol=1e-5, atol=3e-6)
            shares = [float(row[f"p{k}"]) for k in range(5)]
            np.testing.assert_allclose(
                shares, expected["pairs/level_probs"][number], rtol=1e-4, atol=2e-6
            )


def test_all_pairs_once_and_two_files(models, proteins, tmp_path, capsys):
    two = tmp_path / "two.fasta"
    two.write_text(">x\nMKTAYIAKQR\n>y y\nGAVLW\n")
    call("similarity", models["ssa"], proteins, "--unknown", "x")
    ids = [line[1:] for line in proteins.read_text().splitlines() if line.startswith(">")]
    rows = rows_of(capsys.readouterr().out)
    expected = [(one, other) for i, one in enumerate(ids) for other in ids[i + 1 :]]
    assert [(row["id_a"], row["id_b"]) for row in rows] == expected
    call("similarity", models["ssa"], proteins, two, "--unknown", "x")
    across = rows_of(capsys.readouterr().out)
    assert [(row["id_a"], row["id_b"]) for row in across] == [
        (one, other) for one in ids for other in ("x", "y y")
    ]
    call("similarity", models["ssa"], two, proteins, "--unknown", "x")
    back = {(row["id_b"], row["id_a"]): row for row in rows_of(capsys.readouterr().out)}
    for row in across:
        other = back[row["id_a"], row["id_b"]]
        np.testing.assert_allclose(float(row["score"]), float(other["score"]), rtol=1e-6)


def test_other_methods_and_levels(reference, manifest, models, proteins, tmp_path, capsys):
    (tmp_path / "pairs.tsv").write_text("a\tb\nA/len23\tA/len60mix\n")
    listed = (proteins, "--unknown", "x", "--pairs", tmp_path / "pairs.tsv")
    call("similarity", models["ssa"], *listed, "--method", "coarse")
    (row,) = rows_of(capsys.readouterr().out)
    assert list(row) == ["id_a", "id_b", "score"]
    number = manifest["pairs"].index(["len23", "len60mix"])
    with np.load(reference / manifest["models"]["ssa"]["expected"]) as expected:
        coarse = expected["pairs/coarse"][number]
    np.testing.assert_allclose(float(row["score"]), coarse, rtol=1e-5)
    # The ordinal levels belong to the trained comparison alone.
    call("similarity", models["ssa"], *listed, "--level", "states")
    assert "level" not in rows_of(capsys.readouterr().out)[0]
    call("similarity", models["ssa"], *listed, "--method", "ssa", "--level", "projection")
    assert "level" in rows_of(capsys.readouterr().out)[0]
    call("similarity", models["bilm_tied"], *listed, "--method", "ua")
    assert float(rows_of(capsys.readouterr().out)[0]["score"]) < 0


def test_identical_sequences_have_identical_rows(models, tmp_path, capsys):
    fasta = tmp_path / "twins.fasta"
    fasta.write_text(">a\nMKTAY\n>b\nGAVLWW\n>c\nMKTAY\n")
    call("similarity", models["ssa"], fasta)
    rows = {(row["id_a"], row["id_b"]): row["score"] for row in rows_of(capsys.readouterr().out)}
    np.testing.assert_allclose(float(rows["a", "b"]), float(rows["b", "c"]), rtol=1e-6)
    assert float(rows["a", "c"]) > float(rows["a", "b"])


def test_what_similarity_refuses(models, proteins, tmp_path, refuses):
    out = tmp_path / "scores.tsv"
    common = ("--unknown", "x", "-o", out)
    line = refuses("similarity", models["bilm_tied"], proteins, *common)
    assert line == (
        "--method: got None, expected ssa, ua, me, coarse: "
        "'bilm_tied.zip.sav' was not trained for similarity"
    )
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("a,b\nA/len23,A/len7\nA/len23,nobody\n")
    line = refuses("similarity", models["ssa"], proteins, *common, "--pairs", pairs)
    assert line == f"{pairs}:3: record 'nobody': no record of {proteins} is called so"
    pairs.write_text("a\nA/len23\n")
    assert "two columns" in refuses(
        "similarity", models["ssa"], proteins, *common, "--pairs", pairs
    )
    line = refuses("similarity", models["ssa"], proteins, *common, "--level", "deep")
    assert line.startswith("level: got 'deep', expected one of onehot")
    one = tmp_path / "one.fasta"
    one.write_text(">a\nMKTAY\n")
    assert "has one record" in refuses("similarity", models["ssa"], one, *common)
    assert not out.exists()


@pytest.mark.parametrize("name", ["scopcm", "prose_mt"])
def test_contact_maps(reference, manifest, models, proteins, tmp_path, name):
    """Probabilities of the authors' logits, the mean of both orders of a pair."""
    out = tmp_path / "contacts.h5"
    fasta = tmp_path / "with_twin.fasta"
    text = proteins.read_text()
    twin = text.split(">A/len23\n")[1].splitlines()[0]
    fasta.write_text(f"{text}>100% twin\n{twin}\n>.\nMK\n")
    call("contacts", models[name], fasta, "--unknown", "x", "--residues", 200, "-o", out)
    ids = [line[1:] for line in fasta.read_text().splitlines() if line.startswith(">")]
    with (
        h5py.File(out) as file,
        np.load(reference / manifest["models"][name]["expected"]) as expected,
    ):
        assert file.attrs["level"] == ("projection" if name == "scopcm" else "all")
        assert {data.attrs["original_id"] for data in file.values()} == set(ids)
        for key, data in file.items():
            assert unquote(key) == data.attrs["original_id"]
            assert data.dtype == np.float32 and data.compression == "gzip"
            map_LL = data[:]
            np.testing.assert_allclose(map_LL, map_LL.T, rtol=1e-6)
        np.testing.assert_array_equal(file["A%2Flen23"], file["100%25 twin"])
        checked = 0
        for record_id in ids:
            found = f"{record_id.removeprefix('A/')}/contacts"
            if found in expected:
                logits_LL = (expected[found] + expected[found].T) / 2
                shares_LL = 1 / (1 + np.exp(-logits_LL))
                map_LL = file[record_id.replace("/", "%2F")][:]
                np.testing.assert_allclose(map_LL, shares_LL, rtol=1e-5, atol=2e-6)
                checked += 1
        assert checked >= 8


def test_what_contacts_refuses(models, proteins, tmp_path, refuses):
    out = tmp_path / "contacts.h5"
    line = refuses("contacts", models["ssa"], proteins, "-o", out)
    assert line == "model: got 'ssa.zip.sav', expected one that was trained for contacts"
    line = refuses("contacts", models["scopcm"], proteins, "-o", tmp_path / "contacts.png")
    assert "expected a name that ends in .h5" in line
    assert not out.exists()


FACTS = {"checkpoint": "c" * 64, "level": "states", "pooling": "mean", "alphabet": "aa21"}


@pytest.fixture
def tables(tmp_path):
    dice = np.random.default_rng(0)
    vectors_ND = dice.normal(size=(300, 8)).astype(np.float32)
    ids = [f"A/{n}" for n in range(300)]
    labels = np.array([f"host {n % 3}" for n in range(300)])
    VectorTable(ids, vectors_ND, labels, FACTS).write(tmp_path / "all.h5")
    VectorTable(ids[:40], vectors_ND[:40], None, FACTS).write(tmp_path / "some.parquet")
    return tmp_path / "all.h5", tmp_path / "some.parquet", vectors_ND


@pytest.mark.parametrize("extra", [(), ("--faiss",), ("--approximate",)])
def test_search(tables, tmp_path, capsys, extra):
    table, queries, vectors_ND = tables
    out = tmp_path / "hits.tsv"
    call("search", table, queries, "-k", 4, "--metric", "euclidean", "-o", out, *extra)
    said = capsys.readouterr()
    assert said.out == f"160 hits of 40 queries: {out}\n"
    assert said.err.startswith("recall of the exact hits: ") is ("--approximate" in extra)
    rows = rows_of(out.read_text())
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"] * 40
    apart = np.linalg.norm(vectors_ND[:40, None].astype(float) - vectors_ND, axis=2)
    right = 0
    for query in range(40):
        for rank, row in enumerate(np.argsort(apart[query])[:4]):
            hit = rows[4 * query + rank]
            assert hit["query"] == f"A/{query}" and hit["label"] == f"host {int(hit['id'][2:]) % 3}"
            right += hit["id"] == f"A/{row}"
            if extra != ("--approximate",):
                np.testing.assert_allclose(
                    float(hit["score"]), apart[query, row], rtol=1e-6, atol=1e-9
                )
    assert right == 160 if extra != ("--approximate",) else right > 140


def test_search_without_oneself(tables, capsys):
    table, queries, _ = tables
    call("search", table, queries, "-k", 400, "--exclude-self")
    rows = rows_of(capsys.readouterr().out)
    assert len(rows) == 40 * 299
    assert not any(row["query"] == row["id"] for row in rows)


def test_what_search_refuses(tables, tmp_path, refuses):
    table, queries, vectors_ND = tables
    other = tmp_path / "other.npz"
    ids = [str(n) for n in range(300)]
    VectorTable(ids, vectors_ND, None, {**FACTS, "level": "lm"}).write(other)
    line = refuses("search", table, other)
    assert "level 'lm' does not mix with level 'states'" in line
    VectorTable(["a"] * 300, vectors_ND, None, FACTS).write(other)
    assert "no id repeats" in refuses("search", other, queries, "--exclude-self")
    vectors_ND = vectors_ND.copy()
    vectors_ND[7, 1] = np.inf
    VectorTable(ids, vectors_ND, None, FACTS).write(other)
    assert "record '7': its vector holds numbers" in refuses("search", table, other)
