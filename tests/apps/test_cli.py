"""The `protemb` command as people type it: predict, embed, inspect, audit, fetch, collect."""

import gzip
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from protemb import cli
from protemb.models.checkpoint import RECIPE_KEY, load_classifier
from protemb.sequences.demo import demo_records, write_demo_fasta
from protemb.vectors.table import VectorTable, check_same

PER_HOST = 20
HOSTS = ["avian", "equine", "human", "swine"]


@pytest.fixture(scope="module")
def run(composed, tmp_path_factory):
    """Folder of a finished run: a small BiLSTM on the demo data."""
    from protemb.apps.train import run as train

    root = tmp_path_factory.mktemp("cli")
    options = [
        f"data.source.sequences_per_host={PER_HOST}",
        "trainer=cpu",
        "trainer.max_epochs=3",
        "trainer.enable_progress_bar=false",
        "~callbacks.progress",
        "encoder.hidden_dim=8",
        "baselines=false",
        "figures=false",
        "replicates=20",
        f"paths.root={root}",
    ]
    train(composed(*options, out_dir=root / "sweep" / "run"))
    return root / "sweep" / "run"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The records that the run was trained on, as a user would hand them over."""
    path = tmp_path_factory.mktemp("demo") / "demo.fasta"
    write_demo_fasta(path, 0, PER_HOST)
    return path


@pytest.fixture
def says(capsys):
    """Run the command; return what stands on stdout and stderr."""

    def call(*arguments):
        cli.main([str(argument) for argument in arguments])
        return capsys.readouterr()

    return call


@pytest.fixture
def refuses(capsys):
    """Run the command; check that it gives one line and exit code 2, and return the line."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert stopped.value.code == 2
        assert out == ""
        assert err.startswith("protemb: ") and err.endswith("\n") and err.count("\n") == 1
        return err.removeprefix("protemb: ").rstrip("\n")

    return call


@pytest.fixture
def fasta(tmp_path):
    """Write records as FASTA."""

    def write(*records, name="new.fasta"):
        path = tmp_path / name
        path.write_text("".join(f">{header}\n{sequence}\n" for header, sequence in records))
        return path

    return write


def _table(text):
    """Header and rows of tab-separated text."""
    header, *rows = [line.split("\t") for line in text.splitlines()]
    assert {len(row) for row in rows} == {len(header)}
    return header, rows


def _stored(run):
    """Probabilities of the run's own predictions.parquet, by record id."""
    table = pq.read_table(run / "predictions.parquet")
    columns = [table[f"p({host})"].to_pylist() for host in HOSTS]
    return dict(zip(table["id"].to_pylist(), zip(*columns, strict=True), strict=True))


# predict


def test_predictions_are_those_of_the_run(run, demo, says):
    out, err = says("predict", run, demo, "--id-field", 1)
    header, rows = _table(out)
    assert header == ["id", "predicted", "probability", *(f"p({host})" for host in HOSTS)]
    assert [row[0] for row in rows] == [h.split("|")[0] for h, _ in demo_records(0, PER_HOST)]
    stored = _stored(run)
    assert set(stored) < {row[0] for row in rows}
    for record, predicted, probability, *cells in rows:
        shown = [float(cell) for cell in cells]
        assert sum(shown) == pytest.approx(1, abs=3e-6)
        assert float(probability) == max(shown) and predicted == HOSTS[int(np.argmax(shown))]
        if record in stored:
            assert shown == pytest.approx(stored[record], abs=2e-6)
    assert err == ""


def test_json_lines_hold_the_same_predictions(run, demo, says):
    _, rows = _table(says("predict", run / "checkpoints" / "best.ckpt", demo).out)
    lines = says("predict", run, demo, "--format", "jsonl").out.splitlines()
    for row, payload in zip(rows, map(json.loads, lines), strict=True):
        assert payload["id"] == row[0] and payload["predicted"] == row[1]
        found = payload["probabilities"]
        assert {name: f"{p:.6f}" for name, p in found.items()} == dict(
            zip(HOSTS, row[3:], strict=True)
        )
        assert list(found.values()) == sorted(found.values(), reverse=True)


def test_top_shows_only_the_most_probable(run, demo, says):
    _, whole = _table(says("predict", run, demo).out)
    _, rows = _table(says("predict", run, demo, "--top", 2).out)
    lines = says("predict", run, demo, "--top", 2, "--format", "jsonl").out.splitlines()
    for full, row, line in zip(whole, rows, lines, strict=True):
        best = sorted(full[3:], key=float, reverse=True)[:2]
        assert row[:3] == full[:3]
        assert sorted((cell for cell in row[3:] if cell), key=float, reverse=True) == best
        assert [f"{p:.6f}" for p in json.loads(line)["probabilities"].values()] == best


def test_output_goes_to_a_file_instead(run, demo, says, tmp_path):
    shown = says("predict", run, demo).out
    said = says("predict", run, demo, "-o", tmp_path / "deep" / "hosts.tsv")
    assert said.out == ""
    assert (tmp_path / "deep" / "hosts.tsv").read_text() == shown


ODD_IDS = [
    "A/duck/Alberta/35/1976|HA host=Anas platyrhynchos",
    "sp|P69905|HBA_HUMAN Hämoglobin, subunit 'alpha' \"1\"",
    "../../etc/passwd",
]


def test_ids_come_back_as_they_were_written(run, fasta, says):
    path = fasta(*((name, "MNTQILVFIACVLIEAKGDKICL") for name in ODD_IDS))
    _, rows = _table(says("predict", run, path).out)
    assert [row[0] for row in rows] == ODD_IDS
    lines = says("predict", run, path, "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ODD_IDS
    # One sequence, one answer.
    assert len({tuple(row[1:]) for row in rows}) == 1


def test_a_part_of_the_header_can_be_the_id(run, fasta, says):
    path = fasta(("one;a duck;1976", "MNTQ"), ("two;a horse;1980", "AKGD"))
    out = says("predict", run, path, "--id-field", 2, "--id-delimiter", ";").out
    assert [row[0] for row in _table(out)[1]] == ["a duck", "a horse"]


def test_what_was_done_to_letters_is_counted(run, fasta, says, tmp_path):
    plain = fasta(("a", "MNTQILVFIACVLIE"), ("b", "AKGDKICL"))
    marked = tmp_path / "marked.fasta.gz"
    marked.write_bytes(gzip.compress(b">a\r\nmntqilv\r\n\r\nfiacvlie*\r\n>b\r\nAKGDKICL\r\n"))
    assert says("predict", run, plain).err == ""
    expected = says("predict", run, plain).out
    out, err = says("predict", run, marked)
    assert out == expected
    assert "lower case records: 1\n" in err and "terminal stops: 1\n" in err


def test_unknown_residues_by_policy(run, fasta, says, refuses):
    path = fasta(("good", "MNTQ"), ("bad one", "MNJQ"))
    line = refuses("predict", run, path)
    assert line == f"{path}:3: record 'bad one': residue 3 is 'J', not a letter of aa21"
    replaced = fasta(("good", "MNTQ"), ("bad one", "MNXQ"), name="x.fasta")
    out, err = says("predict", run, path, "--unknown", "x")
    assert out == says("predict", run, replaced).out
    assert "unknown residues: 1\n" in err
    out, err = says("predict", run, path, "--unknown", "drop")
    assert [row[0] for row in _table(out)[1]] == ["good"]
    assert err == "unknown letters dropped: 1\n"
    bad = fasta(("bad", "MJ"), name="bad.fasta")
    assert "no record has known letters only" in refuses("predict", run, bad, "--unknown", "drop")
    # A digit is no residue, known or unknown.
    bad = fasta(("bad", "M1"), name="digit.fasta")
    for policy in ("error", "x", "drop"):
        assert "residue 2 is '1'" in refuses("predict", run, bad, "--unknown", policy)


# embed


@pytest.mark.parametrize("suffix", ["h5", "parquet", "npz"])
def test_vectors_are_those_of_the_run(run, demo, says, tmp_path, suffix):
    path = tmp_path / f"vectors.{suffix}"
    out, err = says("embed", run, demo, "--id-field", 1, "-o", path)
    assert out.strip() == f"{4 * PER_HOST} vectors of 16 features: {path}"
    assert err == ""
    table, stored = VectorTable.read(path), VectorTable.read(run / "vectors" / "states-mean.h5")
    assert table.ids == stored.ids
    np.testing.assert_allclose(table.vectors_ND, stored.vectors_ND, rtol=0, atol=1e-6)
    check_same([table, stored])
    shared = {name: table.attributes[name] for name in stored.attributes if name != "data"}
    assert shared.items() <= stored.attributes.items()


def test_another_level_and_pooling(run, demo, says, tmp_path):
    path = tmp_path / "table.h5"
    says("embed", run, demo, "-o", path, "--level", "table", "--pooling", "mean")
    table, stored = VectorTable.read(path), VectorTable.read(run / "vectors" / "table-mean.h5")
    np.testing.assert_allclose(table.vectors_ND, stored.vectors_ND, rtol=0, atol=1e-6)
    # The ends of a chain, computed without the pooling's code.
    says("embed", run, demo, "-o", path, "--pooling", "ends")
    ends = VectorTable.read(path)
    assert (ends.attributes["level"], ends.attributes["pooling"]) == ("states", "ends")
    model = load_classifier(run).model
    symbols = "ARNDCQEGHILKMFPSTWYVX"
    for (_, sequence), vector_D in list(
        zip(demo_records(0, PER_HOST), ends.vectors_ND, strict=True)
    )[::13]:
        tokens_BL = torch.tensor([[symbols.index(letter) for letter in sequence]])
        with torch.no_grad():
            states_LD = model.embedder.encoder(
                tokens_BL, torch.tensor([len(sequence)]), ("states",)
            )["states"][0]
        expected = torch.cat([states_LD[-1, :8], states_LD[0, 8:]]).numpy()
        np.testing.assert_allclose(vector_D, expected, rtol=0, atol=1e-6)


def test_odd_ids_are_kept_in_vector_tables(run, fasta, says, tmp_path):
    path = fasta(*((name, "MNTQILVFIAC"[i:]) for i, name in enumerate(ODD_IDS)))
    for suffix in ("h5", "parquet", "npz"):
        says("embed", run, path, "-o", tmp_path / f"odd.{suffix}")
        assert list(VectorTable.read(tmp_path / f"odd.{suffix}").ids) == ODD_IDS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--level", "hidden"], "level: got 'hidden', expected one of table, states"),
        (["--pooling", "median"], "pooling: got 'median', expected one of mean, max,"),
        (["--pooling", "attention"], "pooling: got 'attention', expected one that needs no train"),
        (["--pooling", "position"], "pooling: got 'position', expected data with a position"),
        (["--residues", "0"], "residues: got 0"),
    ],
)
def test_embeddings_that_cannot_be_made(run, demo, refuses, tmp_path, options, message):
    path = tmp_path / "vectors.h5"
    assert refuses("embed", run, demo, "-o", path, *options).startswith(message)
    assert not path.exists()


def test_a_wrong_suffix_is_refused_before_any_work(refuses, tmp_path):
    # Neither checkpoint nor FASTA exist: nobody has looked for them yet.
    line = refuses("embed", tmp_path / "no.ckpt", tmp_path / "no.fasta", "-o", "vectors.csv")
    assert "got 'vectors.csv', expected a name that ends in .h5" in line


# inspect


def test_inspect_a_checkpoint(run, says):
    out = says("inspect", run / "checkpoints" / "best.ckpt").out
    facts = dict(line.split(": ", 1) for line in out.splitlines())
    trained = load_classifier(run)
    assert facts["sha256"] == trained.sha256
    assert int(facts["parameters"]) == sum(p.numel() for p in trained.model.parameters())
    assert facts["labels"] == str(HOSTS) and facts["label"] == "bilstm/mean"
    assert facts["alphabet"] == "aa21"


def test_inspect_a_run(run, says):
    facts = dict(line.split(": ", 1) for line in says("inspect", run).out.splitlines())
    record = json.loads((run / "result.json").read_text())
    assert facts["status"] == "done" and facts["label"] == "bilstm/mean"
    assert int(facts["best_epoch"]) == record["best_epoch"]
    score = record["scores"]["bilstm/mean"]["balanced_accuracy"]
    assert facts["balanced_accuracy"] == "{value:.3f} [{low:.3f}, {high:.3f}]".format(**score)


def test_inspect_vectors(run, says):
    out = says("inspect", run / "vectors" / "table-mean.h5").out
    facts = dict(line.split(": ", 1) for line in out.splitlines())
    assert (facts["records"], facts["features"]) == (str(4 * PER_HOST), "10")
    assert (facts["level"], facts["pooling"], facts["model"]) == ("table", "mean", "bilstm/mean")
    assert [facts[host] for host in HOSTS] == [str(PER_HOST)] * 4


# audit


LABELLED = [
    ("P1|duck|H1", "MNTQ"),
    ("P2|duck|H1", "AKGD"),
    ("P3|homo sapiens|H3", "MNTQ"),
    ("P4|homo sapiens|H3", "ICLV"),
]
AS_KEYS = [
    (f"{i} host={host} year=2001" if '"' not in host else f"{i} host={host}", sequence)
    for i, host, sequence in (
        ("P1", "duck", "MNTQ"),
        ("P2", '"duck"', "AKGD"),
        ("P3", "homo sapiens", "MNTQ"),
        ("P4", "homo sapiens", "ICLV"),
    )
]


def _has_the_facts(text):
    facts = json.loads(text)
    assert facts["records"] == 4 and facts["sequences"] == 3
    assert {name: row["records"] for name, row in facts["classes"].items()} == {
        "duck": 2,
        "homo sapiens": 2,
    }
    # MNTQ is under both labels: three of four records can be right.
    assert facts["conflicts"] == {"sequences": 1, "records": 2, "accuracy_ceiling": 0.75}
    return facts


@pytest.mark.parametrize(
    ("records", "options"),
    [
        (LABELLED, ["--label-field", 2]),
        ([(h.replace("|", ";"), s) for h, s in LABELLED], ["--label-field", 2, "--delimiter", ";"]),
        (AS_KEYS, ["--label-key", "host"]),
        (LABELLED, ["--label-regex", r"^P\d\|(?P<label>[^|]+)"]),
    ],
)
def test_audit_finds_labels_in_headers(fasta, says, records, options):
    path = fasta(*records)
    _has_the_facts(says("audit", path, *options, "--json").out)
    out = says("audit", path, *options).out
    assert "records: 4, distinct sequences: 3, repeats: 1" in out
    assert "than 75.00% of the records" in out
    assert "  duck: 2 records (50.0%), 2 sequences" in out


def test_audit_joins_a_table_and_reads_tables(fasta, says, tmp_path):
    path = fasta(*LABELLED)
    rows = ["accession,host", "P1,duck", "P2,duck", "P3,homo sapiens", "P4,homo sapiens"]
    (tmp_path / "hosts.csv").write_text("\n".join(rows) + "\n")
    join = ["--metadata", tmp_path / "hosts.csv", "--metadata-key", "accession"]
    out = says("audit", path, "--label-column", "host", *join, "--record-key-field", 1, "--json")
    _has_the_facts(out.out)
    rows = [f"{h.split('|')[0]}\t{h.split('|')[1]}\t{s}" for h, s in LABELLED]
    table = tmp_path / "hosts.tsv"
    table.write_text("\n".join(["id\thost\tsequence", *rows]) + "\n")
    _has_the_facts(says("audit", table, "--label-column", "host", "--json").out)


def test_audit_reads_several_files_and_counts_what_it_drops(fasta, says, refuses):
    first, second = fasta(*LABELLED[:3]), fasta(LABELLED[3], ("P5", "MNT"), name="second.fasta")
    line = refuses("audit", first, second, "--label-field", 2)
    assert line.startswith(f"{second}:3: record 'P5': no label")
    out = says("audit", first, second, "--label-field", 2, "--missing-label", "drop").out
    assert "records: 4, distinct sequences: 3" in out
    out = says("audit", first, second, "--label-field", 2, "--missing-label", "drop", "--json").out
    reading = _has_the_facts(out)["reading"]
    assert reading["records_read"] == 5 and reading["records_kept"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "label: got None, expected a rule: field, key, regex or column"),
        (["--label-field", 1, "--label-key", "host"], "rule: got "),
        (["--label-field", 0], "rule.field: got 0"),
        (["--label-regex", "("], "rule.regex: got '('"),
        (["--label-column", "host"], "label.column: got 'host', expected a table"),
        (["--label-field", 9], "no label"),
        (["--label-field", 2, "--min-class-size", 3], "expected at least two classes"),
        (["--label-field", 2, "--metadata-key", "x"], "metadata_key: got 'x'"),
    ],
)
def test_audits_that_cannot_be_made(fasta, refuses, options, message):
    assert message in refuses("audit", fasta(*LABELLED), *options)


# fetch, collect


def test_fetch_writes_the_demo_data(says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says("fetch", "demo").out == "data/demo/demo.fasta\n"
    expected = "".join(f">{header}\n{sequence}\n" for header, sequence in demo_records())
    assert (tmp_path / "data/demo/demo.fasta").read_text() == expected
    out = says("fetch", "demo", "-o", tmp_path / "else where").out
    assert Path(out.strip()).read_text() == expected


def test_fetch_from_nowhere_leaves_nothing(refuses, tmp_path):
    folder = tmp_path / "ha"
    line = refuses("fetch", "influenza_ha", "-o", folder, "--base-url", "http://127.0.0.1:9/")
    assert line.startswith("http://127.0.0.1:9/")
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_collect_a_folder_of_runs(run, says):
    out = says("collect", run.parent).out
    record = json.loads((run / "result.json").read_text())
    score = record["scores"]["bilstm/mean"]["balanced_accuracy"]
    assert "1 runs done, 0 not." in out and f"{score['value']:.3f}" in out
    table = pq.read_table(run.parent / "summary.parquet").to_pylist()
    assert [row["folder"] for row in table] == ["run"] and table[0]["status"] == "done"
    assert table[0]["balanced_accuracy/value"] == score["value"]
    assert (run.parent / "heatmap.png").read_bytes().startswith(b"\x89PNG")


# what cannot work


class Bomb:
    """Unpickling it runs a command."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def _foreign(path, run, canary):
    """Write what stands at `path` by its name."""
    good = (run / "checkpoints" / "best.ckpt").read_bytes()
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    recipe = content[RECIPE_KEY]
    match path.name:
        case "short.ckpt":
            path.write_bytes(good[: len(good) // 2])
        case "empty.ckpt":
            path.touch()
        case "text.ckpt":
            path.write_text(">P1\nMNTQ\n")
        case "bomb.ckpt":
            torch.save({"state_dict": {}, RECIPE_KEY: Bomb(canary)}, path)
        case "bomb.pkl":
            path.write_bytes(pickle.dumps(Bomb(canary)))
        case "tensor.pt":
            torch.save(torch.zeros(3), path)
        case "foreign.pt":
            torch.save({"state_dict": {"weight": torch.zeros(3)}}, path)
        case "newer.ckpt":
            torch.save(content | {RECIPE_KEY: recipe | {"version": 2}}, path)
        case "bare.ckpt":
            torch.save({RECIPE_KEY: recipe}, path)
        case "wider.ckpt":
            encoder = recipe["encoder"] | {"hidden_dim": 9}
            torch.save(content | {RECIPE_KEY: recipe | {"encoder": encoder}}, path)
        case "system.ckpt":
            encoder = {"_target_": "os.system", "command": f"touch {canary}"}
            torch.save(content | {RECIPE_KEY: recipe | {"encoder": encoder}}, path)
        case "round.ckpt":
            pooling = {"_target_": "protemb.models.pooling.torch.nn.Linear"}
            torch.save(content | {RECIPE_KEY: recipe | {"pooling": pooling}}, path)
        case "writer.ckpt":
            encoder = {"_target_": "protemb.files.write_text", "path": str(canary), "text": "x"}
            torch.save(content | {RECIPE_KEY: recipe | {"encoder": encoder}}, path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.ckpt", "No such file or directory"),
        ("short.ckpt", "damaged, or not a checkpoint"),
        ("empty.ckpt", "damaged, or not a checkpoint"),
        ("text.ckpt", "damaged, or not a checkpoint"),
        ("bomb.ckpt", "damaged, or not a checkpoint"),
        ("bomb.pkl", "damaged, or not a checkpoint"),
        ("tensor.pt", "not a protemb checkpoint"),
        ("foreign.pt", "not a protemb checkpoint"),
        ("newer.ckpt", "recipe version: got 2, expected 1"),
        ("bare.ckpt", "weights and recipe do not fit"),
        ("wider.ckpt", "weights and recipe do not fit"),
        ("system.ckpt", "got 'os.system', not on the list"),
        ("round.ckpt", "got 'protemb.models.pooling.torch.nn.Linear'"),
        ("writer.ckpt", "got 'protemb.files.write_text', not on the list"),
    ],
)
def test_checkpoints_that_are_none(run, demo, refuses, tmp_path, name, message):
    path, canary = tmp_path / name, tmp_path / "canary"
    _foreign(path, run, canary)
    vectors = tmp_path / "vectors.h5"
    for command in (
        ["predict", path, demo],
        ["embed", path, demo, "-o", vectors],
        ["inspect", path],
    ):
        line = refuses(*command)
        assert line.startswith(f"{path}: ") and message in line
    assert not canary.exists() and not vectors.exists()


def test_the_bomb_is_a_bomb(tmp_path):
    # Else the test above could not fail.
    pickle.loads(pickle.dumps(Bomb(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


def test_folders_that_are_no_runs(demo, refuses, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for command in (["predict", folder, demo], ["embed", folder, demo, "-o", tmp_path / "x.npz"]):
        assert refuses(*command).startswith(f"{folder / 'checkpoints' / 'best.ckpt'}: No such file")
    assert refuses("inspect", folder) == f"{folder}: no result.json inside: not a run folder"
    for command in ("status", "collect"):
        assert refuses(command, tmp_path / "none") == f"{tmp_path / 'none'}: no such folder"
        assert refuses(command, folder) == f"{folder}: no runs inside"


def test_a_run_that_lost_its_checkpoint(run, demo, refuses, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "checkpoints" / "best.ckpt").unlink()
    assert "No such file" in refuses("predict", copy, demo)


def test_sequences_that_are_none(run, refuses, tmp_path):
    missing, empty, text = (tmp_path / name for name in ("missing.fasta", "empty.fasta", "a.fasta"))
    empty.touch()
    text.write_text("MNTQ\n>P1\nMNTQ\n")
    for path, message in ((missing, "no such file"), (empty, "empty"), (text, "text before")):
        line = refuses("predict", run, path)
        assert line.startswith(str(path)) and message in line.lower()


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "meta", "hpu"])
def test_devices_that_are_not_there(run, demo, refuses, device):
    line = refuses("predict", run, demo, "--device", device)
    assert line == f"device: got {device!r}, expected a device of this machine"


@pytest.mark.parametrize("name", ["vectors.h5", "vectors.parquet", "vectors.npz"])
def test_vectors_that_are_none(refuses, tmp_path, name):
    path = tmp_path / name
    assert refuses("inspect", path) == f"{path}: no such file"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "canary")))
    assert refuses("inspect", path).startswith(f"{path}: not a readable vector table")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("count", ["0", "-1", "some"])
def test_a_senseless_top_is_refused(capsys, count):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", "run", "new.fasta", "--top", count])
    assert stopped.value.code == 2
    assert f"--top: got {count!r}, expected a whole number from 1" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(run, demo, refuses, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    assert str(folder) in refuses("predict", run, demo, "-o", folder)
    inside_a_file = demo / "vectors.h5"
    assert str(demo) in refuses("embed", run, demo, "-o", inside_a_file)
    assert list(folder.iterdir()) == []


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    for command in ("predict", "embed", "inspect", "audit", "fetch", "collect", "status"):
        assert f"\n    {command} " in out or f"\n    {command}\n" in out
