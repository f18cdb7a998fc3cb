"""Training, sweeps and their report, killed at random moments."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from kills import Job, run_facts, torment
from started import Started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = [
    *("trainer=cpu", "trainer.enable_progress_bar=false", "trainer.max_epochs=3"),
    *("data.source.sequences_per_host=20", "encoder.embed_dim=4", "task.residues=4000"),
    *("replicates=20", "figures=false"),
]


def runs(root):
    """Facts of every run below a root folder, by the name of its folder."""
    return {path.parent.name: run_facts(path.parent) for path in root.glob("runs/**/result.json")}


def test_a_run(tmp_path):
    def start(root):
        options = [*SMALL, "encoder.hidden_dim=8", f"paths.root={root}"]
        return Started("train.py", *options, session=True)

    torment(Job(start, runs), tmp_path, kills=45)


SWEEP = ["-m", *SMALL, "encoder=embedding,cnn", "seed=0,1", "trainer.max_epochs=2"]


def sweep_facts(root):
    (folder,) = root.glob("runs/demo/*")
    summary = pq.read_table(folder / "summary.parquet").drop_columns(
        ["seconds", "choice/paths.root"]
    )
    return runs(root), summary.to_pydict(), (folder / "heatmap.png").is_file()


def test_a_sweep(tmp_path):
    def start(root):
        return Started("train.py", *SWEEP, f"paths.root={root}", session=True)

    torment(Job(start, sweep_facts), tmp_path, kills=40)


def test_a_report(tmp_path):
    made = Started("train.py", *SWEEP, f"paths.root={tmp_path / 'made'}")
    assert made.wait() == 0, made.said()
    (sweep,) = tmp_path.glob("made/runs/demo/*")

    def start(root):
        if not root.exists():
            shutil.copytree(sweep, root / "sweep")
        command = ["report", root / "sweep", "--replicates", 200, "--jobs", 1]
        return Started("protemb.cli", *command, session=True)

    def facts(root):
        report = json.loads((root / "sweep" / "report.json").read_text())
        figures = sorted(path.name for path in (root / "sweep" / "report").iterdir())
        return report, figures

    torment(Job(start, facts), tmp_path, kills=12)
