"""What a dashboard shows is what the run folder holds: read back from the files it wrote."""

import csv
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from offline_wandb import Dashboard

from protemb.apps.report.write import make_report
from protemb.errors import ConfigError
from protemb.vectors.table import VectorTable

ROOT = Path(__file__).parents[2]
FIGURES = {"confusion", "learning", "scores", "tsne"}
WANDB = ["logger=wandb", "logger.offline=true"]


pytestmark = pytest.mark.usefixtures("wandb_stages")


def _result(folder):
    return json.loads((folder / "result.json").read_text())


def _scores(folder):
    """The network's scores as dashboards name them."""
    record = _result(folder)
    return {
        f"test/{metric}" + ("" if end == "value" else f"/{end}"): value
        for metric, interval in record["scores"][record["label"]].items()
        for end, value in interval.items()
        if value is not None
    }


def _epochs(folder):
    """history.csv as {epoch from 1: {metric: value}}."""
    with open(folder / "history.csv", newline="") as handle:
        rows = [
            {name: float(value) for name, value in row.items()} for row in csv.DictReader(handle)
        ]
    return {int(row.pop("epoch")): row for row in rows}


def test_wandb_shows_the_run_folder(train, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "canary-host")
    monkeypatch.setenv("USER", "canary-user")
    monkeypatch.setattr(sys, "argv", ["train.py", "canary-argument"])
    folder = train(*WANDB, "figures=true", name="run")
    board = Dashboard(folder)
    assert board.exits == [0]
    assert board.run.run_group == folder.parent.name
    assert (board.run.project, board.run.job_type) == ("protemb", "train")

    stored = _result(folder)["config"]
    for name in ("paths", "logger", "out_dir"):
        del stored[name]
    for node in stored["callbacks"].values():
        node.pop("dirpath", None)
    assert board.config == stored

    shown = {}
    for row in board.history:
        # Lightning counts epochs from 0.
        metrics = {k: v for k, v in row.items() if k.startswith(("train/", "val/"))}
        shown.setdefault(row.get("epoch", -1) + 1, {}).update(metrics)
    stored = _epochs(folder)
    assert len(stored) == 3
    for epoch, metrics in stored.items():
        del metrics["residues_per_second"]
        assert shown[epoch] == metrics

    assert {k: v for k, v in board.summary.items() if k.startswith("test/")} == _scores(folder)
    for name in FIGURES:
        (picture,) = board.summary[f"{name}/filenames"]
        original = (folder / "figures" / f"{name}.png").read_bytes()
        assert (board.files / picture).read_bytes() == original
    for name in ("states-mean", "table-mean"):
        table = VectorTable.read(folder / "vectors" / f"{name}.h5")
        shown = json.loads((board.files / board.summary[f"vectors/{name}/path"]).read_text())
        assert shown["columns"][:3] == ["id", "label", "d0"]
        assert [row[0] for row in shown["data"]] == list(table.ids)
        assert [row[1] for row in shown["data"]] == table.labels.tolist()
        np.testing.assert_array_equal([row[2:] for row in shown["data"]], table.vectors_ND)

    # Nothing about this machine: who, where, which command, which code.
    raw = board.path.read_bytes()
    private = ["canary-host", "canary-user", "canary-argument", str(Path.cwd()), str(folder.parent)]
    assert [text for text in private if text.encode() in raw] == []
    assert not any(record.HasField("environment") for record in board.records)
    assert not board.run.host and not board.run.HasField("git")
    assert {path.name for path in board.files.iterdir()} == {"media"}


def test_a_report_is_one_run_of_its_sweep(train, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "canary-host")
    network = ["encoder=embedding", "pooling=mean"]
    for seed in (0, 1):
        folder = train(*WANDB, *network, f"seed={seed}", name=f"sweep/run-{seed}")
    sweep = folder.parent
    page, said = make_report([sweep], replicates=100, jobs=1)
    board = Dashboard(sweep)
    assert board.exits == [0]
    assert (board.run.run_group, board.run.job_type) == ("sweep", "report")
    assert board.summary["verdict"] == "\n".join(said)
    shown = json.loads((board.files / board.summary["scores/path"]).read_text())
    numbers = json.loads((sweep / "report.json").read_text())["comparisons"]["group"]["scores"]
    assert shown["columns"] == ["split", "model", "balanced accuracy", "low", "high"]
    assert sorted(shown["data"]) == sorted(
        ["group", model, *(score[end] for end in ("value", "low", "high"))]
        for model, score in numbers.items()
    )
    pictures = sorted((sweep / "report").glob("*.png"))
    assert pictures
    for picture in pictures:
        (sent,) = board.summary[f"report/{picture.stem}/filenames"]
        assert (board.files / sent).read_bytes() == picture.read_bytes()
    raw = board.path.read_bytes()
    assert [text for text in ("canary-host", str(sweep)) if text.encode() in raw] == []


def test_every_run_of_a_process_is_a_run_of_its_own(train):
    boards = [Dashboard(train(*WANDB, f"seed={seed}", name=f"run-{seed}")) for seed in (0, 1)]
    assert boards[0].run.run_id != boards[1].run.run_id
    for seed, board in enumerate(boards):
        assert board.exits == [0]
        assert board.config["seed"] == seed
        assert sum("train/loss" in row for row in board.history) == 3
    assert boards[0].run.run_group == boards[1].run.run_group


def test_a_failed_run_is_closed_as_failed(train, tmp_path, monkeypatch):
    def fail(*_):
        raise ConfigError("a", "b", "c")

    monkeypatch.setattr("protemb.apps.classification.save_outcome", fail)
    with pytest.raises(ConfigError):
        train(*WANDB, name="failed")
    assert Dashboard(tmp_path / "failed").exits == [1]
    # Refused before anything was sent: nothing to show.
    with pytest.raises(ConfigError):
        train(*WANDB, "level=hidden", name="refused")
    assert not (tmp_path / "refused" / "wandb").exists()


def test_without_a_login_one_line_says_what_to_do(train, monkeypatch, tmp_path):
    import wandb

    def refuse(**_):
        raise wandb.errors.UsageError("No API key configured")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(ConfigError, match=r"No API key configured.*logger\.offline=true"):
        train("logger=wandb")
    assert _result(tmp_path / "run")["status"] == "failed"


def test_wandb_is_not_imported_unless_chosen():
    code = (
        "import sys; from hydra import compose, initialize_config_dir\n"
        "from protemb.apps import config, naming, train\n"
        "naming.register_resolvers(); config.register_schema()\n"
        "for choice in ('logger=csv', 'logger=wandb'):\n"
        f"    with initialize_config_dir({str(ROOT / 'conf')!r}, version_base='1.3'):\n"
        "        own = ['out_dir=x', 'choices={}', 'overrides=[]']\n"
        "        cfg = compose('train', overrides=[*own, choice])\n"
        "    config.check(config.plain(cfg))\n"
        "    print(choice, 'wandb' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    # The second line shows that the first could have been another.
    assert out.splitlines() == ["logger=csv False", "logger=wandb True"]


def test_csv_holds_the_run_folders_numbers(train):
    folder = train()
    with open(folder / "logs" / "version_0" / "metrics.csv", newline="") as handle:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(handle)]
    shown = {}
    for row in rows:
        if "epoch" in row:
            metrics = {k: v for k, v in row.items() if k not in ("epoch", "step")}
            shown.setdefault(int(row["epoch"]) + 1, {}).update(metrics)
    for epoch, metrics in _epochs(folder).items():
        del metrics["residues_per_second"]
        assert shown[epoch] == metrics
    final = {k: v for row in rows for k, v in row.items() if k.startswith("test/")}
    assert final == _scores(folder)


def test_tensorboard_holds_scalars_and_figures(train):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = train("logger=tensorboard", "figures=true")
    board = EventAccumulator(str(folder / "logs" / "version_0"), size_guidance={"images": 0})
    board.Reload()
    for name, expected in _scores(folder).items():
        (event,) = board.Scalars(name)
        assert event.value == np.float32(expected)
    for name in ("train/loss", "val/loss", "val/balanced_accuracy", "val/macro_f1"):
        shown = [event.value for event in board.Scalars(name)]
        assert shown == [np.float32(row[name]) for row in _epochs(folder).values()]
    assert set(board.Tags()["images"]) == FIGURES
    for name in FIGURES:
        from matplotlib.image import imread

        (event,) = board.Images(name)
        height, width, _ = imread(folder / "figures" / f"{name}.png").shape
        assert (event.height, event.width) == (height, width)
