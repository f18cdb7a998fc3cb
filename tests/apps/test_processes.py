"""train.py as a process: exit codes, Ctrl-C, kill and continue, sweeps, DDP, quick help."""

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from histories import history_of
from started import Started

from protemb.models.checkpoint import load_classifier
from protemb.sequences.alphabet import AA21
from protemb.vectors.table import VectorTable

ROOT = Path(__file__).parents[2]
# Every process costs seconds to start, so that tests share what they can.
slow = pytest.mark.slow

EPOCHS = 10
BRIEF = ["trainer.enable_progress_bar=false", "baselines=false", "figures=false", "replicates=20"]
# Epochs of some tenths of a second: long enough to be hit by a signal.
STEADY = [
    *BRIEF,
    "data.source.sequences_per_host=100",
    "encoder.hidden_dim=24",
    "task.residues=1500",
    f"trainer.max_epochs={EPOCHS}",
]


def _start(root, *options):
    return Started("train.py", *options, f"paths.root={root}")


def _finish(process):
    """Exit code, stdout and stderr of a process that ends by itself."""
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def _when(happens, process):
    """Wait until something happens while the process runs."""
    deadline = time.monotonic() + 120
    while not happens():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _runs(root):
    """Run folders below a root: those with a result."""
    return sorted(path.parent for path in root.glob("runs/**/result.json"))


def _result(folder):
    return json.loads((folder / "result.json").read_text())


def _last(folder):
    """The last checkpoint of a run."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def _predictions(folder):
    table = pq.read_table(folder / "predictions.parquet")
    names = [name for name in table.column_names if name.startswith("p(")]
    return table["id"].to_pylist(), np.column_stack([table[name].to_numpy() for name in names])


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Folder of a run that nothing disturbed."""
    root = tmp_path_factory.mktemp("straight")
    code, out, err = _finish(_start(root, *STEADY, "trainer=cpu"))
    assert code == 0, err
    (folder,) = _runs(root)
    assert f"Results: {folder}" in out
    return folder


# What cannot work


@slow
@pytest.mark.parametrize(
    ("option", "code", "message"),
    [
        ("trainr.max_epochs=3", 1, "Key 'trainr' not in 'TrainConfig'"),
        ("task.dropoutt=1,2", 2, "protemb: Could not override 'task.dropoutt'"),
        ("trial=0", 2, "protemb: trial: got 0, expected null"),
        ("encoder=transformer", 1, "Could not find 'encoder/transformer'"),
        (
            "split.fractions=[0.5,0.5]",
            2,
            "protemb: split.fractions: got [0.5, 0.5], expected three",
        ),
    ],
)
def test_an_option_that_cannot_work_is_named(tmp_path, option, code, message):
    sweep = ["-m"] if "," in option and "[" not in option else []
    found, out, err = _finish(_start(tmp_path, *sweep, *BRIEF, "trainer=cpu", option))
    assert found == code and message in err
    if code == 2:
        assert err.count("\n") == 1
    assert "Best epoch" not in out
    assert not [folder for folder in _runs(tmp_path) if _result(folder)["status"] == "done"]


def _refuse(cfg, monkeypatch, capsys):
    """Run a job as a point of a sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from protemb.apps.train import main

    monkeypatch.setattr(HydraConfig, "get", lambda: SimpleNamespace(mode=RunMode.MULTIRUN))
    assert math.isnan(main(cfg))
    return capsys.readouterr().err


def test_a_point_refused_before_it_began_is_in_the_summary(
    composed, train, monkeypatch, capsys, tmp_path
):
    from protemb.apps.sweep import summarise

    good = train(name="good")
    cfg = composed("replicates=1", out_dir=tmp_path / "refused")
    assert "replicates: got 1" in _refuse(cfg, monkeypatch, capsys)
    records = summarise(tmp_path)
    assert {record["folder"]: record["status"] for record in records} == {
        "good": "done",
        "refused": "failed",
    }
    assert "refused: failed ConfigError: replicates: got 1" in capsys.readouterr().out
    # Nor does an older result hide it; without the mistake the training that is there is enough.
    before, weights = _result(good), _last(good)["state_dict"]
    _refuse(composed("replicates=1", out_dir=good), monkeypatch, capsys)
    assert {record["status"] for record in summarise(tmp_path)} == {"failed"}
    train(name="good")
    assert "Continuing from" in capsys.readouterr().out
    assert {n: _result(good)[n] for n in ("status", "scores", "key", "best_epoch")} == {
        n: before[n] for n in ("status", "scores", "key", "best_epoch")
    }
    assert all(torch.equal(value, weights[n]) for n, value in _last(good)["state_dict"].items())


# Stopped and continued


@slow
def test_a_run_that_is_stopped_twice_ends_as_if_it_had_not_been(straight, tmp_path):
    options = [*STEADY, "trainer=cpu"]
    process = _start(tmp_path, *options)
    checkpoints = tmp_path / "runs" / "demo" / straight.name / "checkpoints"
    _when(lambda: (checkpoints / "last.ckpt").exists(), process)
    process.send_signal(signal.SIGINT)
    code, _, err = _finish(process)
    assert code == 130
    assert "Interrupted. The same command continues this run.\n" in err
    (folder,) = _runs(tmp_path)
    assert _result(folder)["status"] == "interrupted"
    first = _last(folder)["epoch"]

    process = _start(tmp_path, *options)
    changed = (checkpoints / "last.ckpt").stat().st_mtime_ns
    _when(lambda: (checkpoints / "last.ckpt").stat().st_mtime_ns > changed, process)
    process.kill()
    process.communicate()
    assert _result(folder)["status"] == "running"
    second = _last(folder)["epoch"]
    # Both signals came in time, and the second process did not start over.
    assert 0 <= first < second < EPOCHS - 1

    code, out, err = _finish(_start(tmp_path, *options))
    assert code == 0, err
    assert f"Continuing from {checkpoints / 'last.ckpt'}" in out
    assert _runs(tmp_path) == [folder] and _result(folder)["status"] == "done"
    expected, found = _last(straight), _last(folder)
    assert expected["epoch"] == found["epoch"] == EPOCHS - 1
    assert expected["state_dict"].keys() == found["state_dict"].keys()
    for name, weights in expected["state_dict"].items():
        assert torch.equal(weights, found["state_dict"][name]), name
    assert history_of(folder) == history_of(straight)
    for name in ("predictions.parquet", "split.tsv"):
        assert (folder / name).read_bytes() == (straight / name).read_bytes()
    assert not list(folder.rglob(".part-*"))


def test_ctrl_c_while_scoring_leaves_a_run_that_resumes(train, monkeypatch, capsys, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("protemb.training.baselines.fit_baselines", stop)
        with pytest.raises(KeyboardInterrupt):
            train()
    folder = tmp_path / "run"
    assert _result(folder)["status"] == "interrupted"
    weights = _last(folder)["state_dict"]
    train()
    assert "Continuing from" in capsys.readouterr().out
    assert _result(folder)["status"] == "done" and _result(folder)["epochs"] == 3
    for name, value in _last(folder)["state_dict"].items():
        assert torch.equal(value, weights[name])


# Sweeps


def _with(points, status):
    return {point: found for point, found in points.items() if found[0] == status}


@slow
def test_a_sweep_goes_past_failures_and_computes_nothing_twice(tmp_path):
    command = [
        *("-m", "encoder=embedding,lstm", "level=states,hidden", "trainer=cpu", *BRIEF),
        *("data.source.sequences_per_host=20", "trainer.max_epochs=2"),
    ]

    def results():
        """Status and time of writing of every point, by encoder and level."""
        found = {}
        for folder in _runs(tmp_path):
            record = dict(item.split("=", 1) for item in _result(folder).get("overrides", []))
            if record:
                written = (folder / "result.json").stat().st_mtime_ns
                status = _result(folder)["status"]
                found[record["encoder"], record["level"]] = (status, written)
        return found

    process = _start(tmp_path, *command)
    _when(lambda: "done" in {status for status, _ in results().values()}, process)
    process.kill()
    process.communicate()
    killed = _with(results(), "done")
    assert killed

    snapshots = []
    for finished in (len(killed), 2):
        code, out, err = _finish(_start(tmp_path, *command))
        assert code == 1
        assert out.count("Done already") == finished
        assert err.count("protemb: level: got 'hidden', expected one of table, states") == 2
        assert "2 runs done, 2 not." in out
        snapshots.append(results())
        assert {point: status for point, (status, _) in snapshots[-1].items()} == {
            ("embedding", "states"): "done",
            ("embedding", "hidden"): "failed",
            ("lstm", "states"): "done",
            ("lstm", "hidden"): "failed",
        }
    # What was finished is as it was; what failed was tried again.
    first, second = snapshots
    assert killed.items() <= first.items()
    assert _with(first, "done") == _with(second, "done")
    failed = _with(first, "failed")
    assert all(second[point][1] > written for point, (_, written) in failed.items())

    (folder,) = tmp_path.glob("runs/demo/sweep-*")
    rows = pq.read_table(folder / "summary.parquet").to_pylist()
    assert len(rows) == len(list(folder.glob("*/result.json"))) == 4
    for row in rows:
        good = row["choice/level"] == "states"
        assert row["status"] == ("done" if good else "failed")
        assert (row["balanced_accuracy/value"] is not None) == good
        if not good:
            assert "level: got 'hidden'" in row["error"]
            assert f"  {row['folder']}: failed ConfigError: level: got 'hidden'" in out
    assert (folder / "heatmap.png").read_bytes().startswith(b"\x89PNG")


# Other ways to compute


@pytest.mark.parametrize("encoder", ["bilstm", "cnn"])
def test_mixed_precision_stays_close(train, encoder):
    options = [f"encoder={encoder}", "baselines=false", "trainer.max_epochs=1"]
    whole = train(*options, name="whole")
    mixed = train(*options, "trainer.precision=bf16-mixed", name="mixed")
    first, second = history_of(whole)[0], history_of(mixed)[0]
    assert first["train/loss"] != second["train/loss"]
    # bfloat16 has 8 bits: two to three digits.
    assert second["train/loss"] == pytest.approx(first["train/loss"], rel=0.02)


# Help


@slow
@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["--info", "defaults"]])
def test_help_answers_without_torch(arguments):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['train.py', *{arguments!r}]\n"
        "try:\n"
        "    runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit as stopped:\n"
        "    assert not stopped.code, stopped.code\n"
        "heavy = {'torch', 'pytorch_lightning', 'numpy', 'wandb', 'matplotlib'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "heavy: []\n"
    assert "encoder" in done.stdout and "pooling" in done.stdout


# Long proteins


@slow
def test_a_protein_beyond_the_budget_is_trained_whole(tmp_path):
    rng = np.random.default_rng(0)
    lines = []
    for number in range(40):
        length = 3000 if number == 0 else int(rng.integers(30, 60))
        host = ("duck", "human")[number % 2]
        part = ("train", "train", "val", "test")[number // 2 % 4]
        sequence = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), length))
        lines += [f">P{number}|{host}|{part}", sequence]
    (tmp_path / "hosts.fasta").write_text("\n".join(lines) + "\n")
    source = ["id.field=1", "label.field=2", "split.field=3", f"path={tmp_path / 'hosts.fasta'}"]
    options = ["data=fasta", *(f"data.source.{item}" for item in source), "split=predefined"]
    options += ["task.residues=1000", "trainer.max_epochs=1", "trainer=cpu", *BRIEF]
    code, out, err = _finish(_start(tmp_path, *options))
    assert code == 0, err
    assert "1 training records exceed task.residues: one batch each" in out
    (folder,) = _runs(tmp_path)
    assert _result(folder)["status"] == "done"
    # Its vector is the mean over all 3,000 residues.
    rows = load_classifier(folder).model.embedder.encoder.table.rows.weight.detach().double()
    table = VectorTable.read(folder / "vectors" / "table-mean.h5")
    expected = rows[[AA21.symbols.index(letter) for letter in lines[1]]].mean(0).numpy()
    np.testing.assert_allclose(
        table.vectors_ND[table.ids.index("P0")], expected, rtol=1e-6, atol=1e-6
    )
