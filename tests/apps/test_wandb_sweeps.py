"""W&B at the size of a sweep: one run per point whatever happens to it, and sent in one command."""

import csv
import json
import math
import runpy
import shutil
import socket
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from offline_wandb import Dashboard, parts_of
from started import Started

from protemb import cli
from protemb.apps.syncing import offline_runs
from protemb.claims import CLAIM, claim

ROOT = Path(__file__).parents[2]
OFFLINE = ["logger=wandb", "logger.offline=true"]


pytestmark = pytest.mark.usefixtures("wandb_stages")


def stop_while_scoring(train, monkeypatch, *options, **where):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("protemb.training.baselines.fit_baselines", stop)
        with pytest.raises(KeyboardInterrupt):
            train(*OFFLINE, *options, **where)


def test_a_continued_run_is_the_same_one_and_a_new_one_is_not(train, monkeypatch, tmp_path):
    stop_while_scoring(train, monkeypatch, name="sweep/a")
    folder = train(*OFFLINE, name="sweep/a")
    parts = [Dashboard(part) for part in parts_of(folder)]
    assert [part.exits for part in parts] == [[1], [0]]
    assert len({part.run.run_id for part in parts}) == 1
    assert {part.run.run_group for part in parts} == {"sweep"}
    # Nothing was trained again; the results are in the second part.
    assert sum("train/loss" in row for part in parts for row in part.history) == 3
    assert "test/balanced_accuracy" in parts[1].summary
    # From the beginning: another run; and so is the same point in another sweep.
    stop_while_scoring(train, monkeypatch, "resume=never", name="sweep/a")
    train(*OFFLINE, name="sweep/a")
    again = [Dashboard(part) for part in parts_of(folder)]
    other = Dashboard(train(*OFFLINE, name="other/a"))
    ids = [part.run.run_id for part in (parts[0], *again, other)]
    assert ids[1] == ids[2] and len(set(ids)) == 3
    # The same point of the same sweep elsewhere is the same.
    shutil.move(folder, tmp_path / "moved")
    assert Dashboard(train(*OFFLINE, name="sweep/a")).run.run_id == ids[0]


@pytest.mark.slow
def test_a_killed_run_goes_on_in_the_same_one(tmp_path, monkeypatch):
    # wandb's own process serves those that find its address here, and it must be another one.
    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    command = [*OFFLINE, "trainer=cpu", "trainer.enable_progress_bar=false", "baselines=false"]
    command += ["figures=false", "replicates=20", "data.source.sequences_per_host=100"]
    command += ["encoder.hidden_dim=24", "task.residues=1500", "trainer.max_epochs=4"]
    command += [f"paths.root={tmp_path}"]
    process = Started("train.py", *command)
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("runs/demo/*/checkpoints/last.ckpt")):
        assert process.poll() is None and time.monotonic() < deadline, process.said()
        time.sleep(0.01)
    process.kill()
    process.wait()
    process = Started("train.py", *command)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "Continuing from" in out, err
    (folder,) = [path.parent for path in tmp_path.glob("runs/demo/*/result.json")]
    first, second = parts_of(folder)
    parts = Dashboard(first, ended=False), Dashboard(second)
    ids = {part.parent.name.rpartition("-")[2] for part in (first, second)}
    assert ids == {parts[1].run.run_id}
    with open(folder / "history.csv", newline="") as handle:
        expected = {int(row["epoch"]) - 1: float(row["val/loss"]) for row in csv.DictReader(handle)}
    assert len(expected) == 4
    shown = [
        {row["epoch"]: row["val/loss"] for row in part.history if "val/loss" in row}
        for part in parts
    ]
    # What the killed process had not written is sent again. Epochs that are there twice are one
    # point of each curve: the numbers and the step are the same.
    assert shown[1] == expected
    assert all(shown[0][epoch] == expected[epoch] for epoch in shown[0])
    steps = {}
    for row in (row for part in parts for row in part.history if "val/loss" in row):
        steps.setdefault(row["epoch"], set()).add(row["trainer/global_step"])
    first = min(steps[0])
    assert steps == {epoch: {(first + 1) * (epoch + 1) - 1} for epoch in range(4)}
    rates = {row["epoch"] for row in parts[1].history if "residues_per_second" in row}
    assert rates == expected.keys()


@pytest.mark.parametrize("which", ["true", "all"])
def test_checkpoints_are_artifacts_when_asked(train, wandb_stages, which):
    folder = train(*OFFLINE, f"logger.log_model={which}")
    board = Dashboard(folder)
    models = [artifact for artifact in board.artifacts if artifact.type == "model"]
    assert {artifact.name for artifact in models} == {f"model-{board.run.run_id}"}
    best = [artifact for artifact in models if "best" in artifact.aliases]
    assert best and all("latest" in artifact.aliases for artifact in models)
    assert len(models) >= (2 if which == "true" else 3)
    # They are sent from the run's folder.
    places = {entry.local_path for artifact in models for entry in artifact.manifest.contents}
    assert str(folder / "checkpoints" / "best.ckpt") in places
    assert all(str(folder / "checkpoints") in place for place in places)
    assert not [path for path in wandb_stages.rglob("*") if path.suffix == ".ckpt"]


def test_what_the_saved_dashboard_shows_is_sent(train):
    """Names in the dashboard are names in a run's history, summary and config."""
    board = Dashboard(train(*OFFLINE))
    script = runpy.run_path(str(ROOT / "scripts" / "wandb_dashboard.py"))
    sent = {name for row in board.history for name in row}
    assert {"val/balanced_accuracy", "val/macro_f1", "val/loss"} <= sent & set(script["OBJECTIVES"])
    assert {script["STEP"], "train/loss", *script["RATES"]} <= sent
    assert len(set(script["SCORES"]) & board.summary.keys()) >= 4
    for key in (script["ENCODER"], script["POOLING"]):
        group, word = key.split(".")
        assert word in board.config[group]
    # Nor is anything sent that was not asked for.
    assert not [artifact for artifact in board.artifacts if artifact.type == "model"]


def test_a_grid_is_one_run(run_grid, tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "canary-host")
    folder = run_grid(tmp_path, *OFFLINE, name="sweep/grid")
    board = Dashboard(folder)
    assert board.exits == [0]
    assert (board.run.run_group, board.run.job_type) == ("sweep", "variants")
    record = json.loads((folder / "result.json").read_text())
    assert board.summary["verdict"] == "\n".join(record["verdict"])
    assert board.config["pooling"] == ["mean", "position"] and "paths" not in board.config
    shown = json.loads((board.files / board.summary["scores/path"]).read_text())
    cells = pq.read_table(folder / "cells.parquet")
    assert shown["columns"] == cells.column_names
    names = cells["cell"].to_pylist()
    assert [row[shown["columns"].index("cell")] for row in shown["data"]] == names
    for column in ("spearman", "spearman/value"):
        if column in cells.column_names:
            values = [row[shown["columns"].index(column)] for row in shown["data"]]
            expected = cells[column].to_pylist()
            assert all(a == b or math.isclose(a, b) for a, b in zip(values, expected, strict=True))
    pictures = sorted((folder / "report").glob("*.png"))
    assert pictures
    for picture in pictures:
        (sent,) = board.summary[f"report/{picture.stem}/filenames"]
        assert (board.files / sent).read_bytes() == picture.read_bytes()
    raw = board.path.read_bytes()
    assert [text for text in ("canary-host", str(folder)) if text.encode() in raw] == []


# protemb sync


@pytest.fixture
def sweep(tmp_path):
    """Folders like those that W&B leaves: a continued run, a sent one, a report."""
    for name in (
        "sweep/a/wandb/offline-run-20260102_000000-a",
        "sweep/a/wandb/offline-run-20260101_000000-a",
        "sweep/b/wandb/offline-run-20260101_000000-b",
        "sweep/wandb/offline-run-20260103_000000-report",
        "sweep/trials/study/0/wandb/offline-run-20260101_000000-t",
    ):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / f"run-{name.rpartition('-')[2]}.wandb").write_bytes(b":W&B" + bytes(99))
    (tmp_path / "sweep/b/wandb/offline-run-20260101_000000-b/run-b.wandb.synced").touch()
    # Killed before wandb had written anything.
    nothing = tmp_path / "sweep/a/wandb/offline-run-20251231_000000-a"
    nothing.mkdir()
    (nothing / "run-a.wandb").write_bytes(b":W&B" + bytes(3))
    (tmp_path / "sweep/b/wandb/run-20260101_000000-online").mkdir()
    return tmp_path / "sweep"


def test_parts_are_sent_in_their_order_and_once(sweep, capsys):
    runs, busy = offline_runs(sweep)
    assert busy == []
    assert [[part.name for part in parts] for parts in runs] == [
        ["offline-run-20260103_000000-report"],
        ["offline-run-20260101_000000-a", "offline-run-20260102_000000-a"],
        ["offline-run-20260101_000000-t"],
    ]
    with claim(sweep / "a" / CLAIM):
        cli.main(["sync", str(sweep), "--dry-run"])
    out = capsys.readouterr().out
    assert f"Left out, still running: {sweep / 'a'}" in out and "2 runs to send." in out
    cli.main(["sync", str(sweep / "b")])
    assert capsys.readouterr().out == "0 runs sent.\n"


def test_a_server_that_does_not_answer_is_one_line(sweep, monkeypatch, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("WANDB_BASE_URL", url)
        with pytest.raises(SystemExit) as stopped:
            cli.main(["sync", str(sweep)])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"protemb: W&B: no answer from {url} (") and said.count("\n") == 1
