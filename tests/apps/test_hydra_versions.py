"""What must work with Hydra 1.3 and with the next one: `make next` runs this file with that."""

import json
import subprocess
import sys

import pytest
from started import ROOT

from protemb.apps import hydra_versions
from protemb.apps.hydra_versions import say_when_sweeping

slow = pytest.mark.slow

# Warnings are errors, but for those of Lightning itself.
STRICT = ["-W", "error", "-W", "ignore::DeprecationWarning:pytorch_lightning"]
QUICK = [
    *("data.source.sequences_per_host=20", "trainer=cpu", "trainer.max_epochs=1", "vectors=[]"),
    *("trainer.enable_progress_bar=false", "baselines=false", "figures=false", "replicates=20"),
]


def _said(*options):
    command = [sys.executable, *STRICT, "train.py", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@slow
@pytest.mark.parametrize(
    ("options", "runs"),
    [
        (["encoder=embedding,lstm", "-m"], 2),
        (["launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1"], 2),
        (["sweep=lstm_tpe", "hydra.sweeper.trials=2", "hydra.sweeper.seeds=[0]"], 1),
    ],
)
def test_sweeps_run_without_a_warning(tmp_path, options, runs):
    out = _said(f"paths.root={tmp_path}", *QUICK, *options)
    assert f"{runs} runs done, 0 not." in out
    # Written by a callback, whose errors Hydra takes for warnings and then passes over.
    (points,) = tmp_path.glob("runs/demo/*/points.json")
    assert len(json.loads(points.read_text())["points"]) == runs


@slow
@pytest.mark.parametrize("options", [["--help"], ["--cfg", "job", "sweep=lstm_tpe"]])
def test_questions_are_answered_without_a_warning(options):
    assert "replicates: 1000" in _said(*options)


@pytest.mark.parametrize(
    ("arguments", "sweeps"),
    [
        (["sweep=folds"], True),
        (["seed=0", "experiment=question"], True),
        (["launcher=joblib"], True),
        (["launcher=local"], False),
        (["experiment=question_training"], False),
        (["sweep=nowhere"], False),
        (["encoder=lstm"], False),
        (["sweep=folds", "--cfg", "job"], False),
    ],
)
def test_a_command_is_a_sweep_where_its_files_say_so(monkeypatch, arguments, sweeps):
    monkeypatch.setattr(hydra_versions, "NEW", True)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    say_when_sweeping(ROOT / "conf", ROOT / "conf" / "shared")
    assert sys.argv == ["train.py", *arguments, *(["--multirun"] if sweeps else [])]
