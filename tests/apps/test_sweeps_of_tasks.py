"""The summary of a sweep speaks of the score that its task is about."""

import json

import pyarrow.parquet as pq
import pytest

from protemb.apps.report.gather import gather
from protemb.apps.sweep import METRICS, summarise
from protemb.apps.tasks import KINDS
from protemb.errors import InputError

QUICK = ["task=masked_lm", "task.residues=2000", "optimizer.lr=0.01", "replicates=50"]


def test_every_task_has_a_score():
    assert METRICS.keys() == KINDS.keys()


@pytest.fixture
def sweep(train, tmp_path):
    for encoder, seed in (("embedding", 0), ("cnn", 0), ("cnn", 1)):
        chosen = [f"encoder={encoder}", f"seed={seed}"]
        train(*QUICK, *chosen, f"overrides={json.dumps(chosen)}", name=f"sweep/{encoder}{seed}")
    return tmp_path / "sweep"


def test_lower_nats_come_first(sweep, capsys):
    capsys.readouterr()
    records = {record["folder"]: record for record in summarise(sweep)}
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if "│" in line]
    names = [line.split("│")[1].strip() for line in lines]
    values = [float(line.split("│")[2].split("[")[0]) for line in lines]
    assert values == sorted(values) and "cross entropy" in said
    # Two seeds are one row, their mean.
    of = {
        name: record["scores"][record["label"]]["cross_entropy"] for name, record in records.items()
    }
    mean = (of["cnn0"]["value"] + of["cnn1"]["value"]) / 2
    assert names.count("cnn") == 1
    assert values[names.index("cnn")] == pytest.approx(mean, abs=6e-4)
    assert values[names.index("embedding")] == pytest.approx(of["embedding0"]["value"], abs=6e-4)
    assert {"uniform", "unigram", "bigram", "neighbours"} <= set(names)
    table = pq.read_table(sweep / "summary.parquet")
    assert table.num_rows == 3 and "cross_entropy/value" in table.column_names
    assert (sweep / "heatmap.png").stat().st_size > 1000


def test_a_point_that_was_refused_before_it_began_does_not_hide_the_others(sweep, capsys):
    refused = sweep / "aaa"
    refused.mkdir()
    record = {"status": "failed", "key": "", "error": "ConfigError: x", "seconds": 0.0}
    (refused / "result.json").write_text(json.dumps(record))
    capsys.readouterr()
    summarise(sweep)
    said = capsys.readouterr().out
    assert "cross entropy" in said and "3 runs done, 1 not." in said


def test_a_report_says_for_which_task_it_is(sweep):
    with pytest.raises(InputError, match="runs of task=masked_lm; a report compares those of"):
        gather([sweep])
