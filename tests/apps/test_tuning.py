"""`train.py sweep=lstm_tpe`: trials without a test score, the best anew, kills, two processes."""

import json
import signal
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from started import Started

from protemb.apps.report.gather import _extras, gather
from protemb.apps.runs import read_result
from protemb.apps.sweep import average_cells, label_extras
from protemb.intervals import bootstrap_weights

slow = pytest.mark.slow

QUICK = [
    *("sweep=lstm_tpe", "hydra.sweeper.trials=5", "hydra.sweeper.seeds=[3,4]"),
    *("hydra.sweeper.startup=1", "hydra.sweeper.warmup=0"),
    *("trainer=cpu", "trainer.max_epochs=4", "trainer.enable_progress_bar=false"),
    *("baselines=false", "figures=false", "vectors=[]", "replicates=20", "task.residues=2000"),
    *("encoder.layers=1", "hydra.sweeper.space.encoder.hidden_dim.high=24"),
    "data.source.sequences_per_host=20",
]
OUTER = "encoder=lstm,gru"


def _start(root, *options):
    return Started("train.py", *QUICK, *options, f"paths.root={root}")


def _finish(process):
    out, err = process.communicate(timeout=170)
    assert process.returncode == 0, (out, err)
    return out


def _sweep(root):
    (folder,) = root.glob("runs/*/sweep-*")
    return folder


def _studies(root):
    found = json.loads((_sweep(root) / "best.json").read_text())["studies"]
    return {", ".join(item for item in each["outer"] if "encoder=" in item): each for each in found}


def _trials(root):
    """Run folders of the trials, by study and number."""
    return sorted(path.parent for path in _sweep(root).glob("trials/*/*/result.json"))


def _points(root):
    return sorted(path.parent for path in _sweep(root).glob("*/result.json"))


def _files(root):
    """Which files there are, and when they were written; those that say how it went aside."""
    left_out = (".lock", ".claim", "summary.parquet", "heatmap.png", "best.json", "points.json")
    return {
        path.relative_to(root): path.stat().st_mtime_ns
        for path in root.glob("runs/**/*")
        if path.is_file()
        and not path.name.endswith(left_out)
        and path.parent.name != "claims"
        and ".hydra" not in path.parts
    }


def _facts(root):
    """What was tried, chosen and predicted."""
    trials = {
        str(folder.relative_to(_sweep(root))): [
            read_result(folder)[name] for name in ("status", "objective", "epochs", "overrides")
        ]
        for folder in _trials(root)
    }
    for _, _, _, overrides in trials.values():
        overrides[:] = [item for item in overrides if "paths.root" not in item]
    points = {
        folder.name[-30:]: (folder / "predictions.parquet").read_bytes() for folder in _points(root)
    }
    best = {name: (each["best"], each["trials"]) for name, each in _studies(root).items()}
    return trials, best, sorted(points.values())


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Root of a search that nothing disturbed, and what it said."""
    root = tmp_path_factory.mktemp("straight")
    return root, _finish(_start(root, OUTER))


@slow
def test_trials_are_not_scored_and_the_best_of_each_study_is(straight):
    root, out = straight
    records = [read_result(folder) for folder in _trials(root)]
    assert len(records) == 2 * 5 and {r["status"] for r in records} == {"done", "pruned"}
    for folder, record in zip(_trials(root), records, strict=True):
        assert "scores" not in record and not (folder / "predictions.parquet").exists()
        assert (record["epochs"] < 4) >= (record["status"] == "pruned")
    studies = _studies(root)
    assert list(studies) == ["encoder=lstm", "encoder=gru"]
    points = [read_result(folder) for folder in _points(root)]
    assert len(points) == 4 and all(point["scores"] for point in points)
    for encoder, study in studies.items():
        best = study["best"]
        chosen = [p for p in points if p["choices"]["encoder"] == encoder.partition("=")[2]]
        assert {p["config"]["seed"] for p in chosen} == {3, 4}
        # Fixed on the command line, so not tuned.
        assert "encoder.layers" not in best["chosen"] and len(best["chosen"]) == 4
        for point in chosen:
            for key, value in best["chosen"].items():
                group, _, name = key.partition(".")
                assert point["config"][group][name] == value
        mine = [r for r in records if r["choices"]["encoder"] == encoder.partition("=")[2]]
        assert best["value"] == max(r["objective"] for r in mine if r["status"] == "done")
        assert f"{encoder}: 5 trials, {study['trials']['pruned']} pruned" in out
        assert f"chosen by val/balanced_accuracy {best['value']:.4g} (trial {best['trial']})" in out
    assert "4 runs done, 0 not." in out


def _balanced_accuracy(table, weights_N):
    """Mean of the recalls of the classes that are there."""
    labels, predicted = np.array(table["label"]), np.array(table["predicted"])
    there = [name for name in np.unique(labels) if weights_N[labels == name].sum()]
    return np.mean(
        [
            weights_N[(labels == name) & (predicted == name)].sum()
            / weights_N[labels == name].sum()
            for name in there
        ]
    )


@slow
def test_the_interval_of_the_tuned_is_that_of_their_mean(straight):
    root, _ = straight
    folder = _sweep(root)
    records = [read_result(path) | {"folder": path.name} for path in _points(root)]
    # What was tuned differs between the two encoders, and is not a part of their names.
    assert set(label_extras(records)) == {""}
    cells = average_cells(records, folder)
    assert len(cells) == 2
    for (encoder, _), interval in cells.items():
        scores = []
        for record in records:
            if record["choices"]["encoder"] == encoder:
                path = folder / record["folder"] / "predictions.parquet"
                table = pq.read_table(path, filters=[("part", "==", "test")]).to_pydict()
                group_of_N, weights_RG = bootstrap_weights(
                    np.array(table["unit"]), replicates=1000, seed=0
                )
                draws = [np.ones(len(group_of_N)), *weights_RG[:, group_of_N].astype(float)]
                scores.append([_balanced_accuracy(table, weights_N) for weights_N in draws])
        mean_R = np.mean(scores, axis=0)
        assert len(scores) == 2 and interval.value == pytest.approx(mean_R[0])
        expected = np.quantile(mean_R[1:], [0.025, 0.975])
        np.testing.assert_allclose([interval.low, interval.high], expected, atol=1e-9)


@slow
def test_the_report_compares_the_tuned_and_knows_no_trial(straight):
    root, _ = straight
    found = gather([_sweep(root)])
    assert len(found.runs) == 4 and not found.unfinished
    assert {run.model for run in found.runs} == {"lstm/mean", "gru/mean"}


def test_what_was_tuned_is_no_part_of_a_name():
    """Folds choose their own values; a network that nobody tuned is told apart from them."""

    def record(fold, width, rate, tuned):
        chosen = {"encoder.hidden_dim": width, "optimizer.lr": rate, "split.fold": fold}
        return {
            "label": "lstm/mean",
            "overrides": [*(f"{key}={x}" for key, x in chosen.items()), f"tuned=[{fold}]"],
            "config": {
                "encoder": {"hidden_dim": width, "layers": 1},
                "optimizer": {"lr": rate},
                "tuned": tuned,
            },
        }

    tuned = ["encoder.hidden_dim", "optimizer.lr"]
    folds = [record(0, 16, 0.1, tuned), record(1, 64, 0.2, tuned)]
    assert label_extras(folds) == ["", ""] == _extras(folds)
    plain = record(0, 16, 0.1, None)
    told = "encoder.hidden_dim=16, optimizer.lr=0.1"
    assert _extras([*folds, plain]) == ["tuned=True", "tuned=True", told]


@slow
def test_the_same_command_adds_nothing_and_more_trials_go_on(straight):
    root, _ = straight
    before = _files(root)
    assert _finish(_start(root, OUTER)).count("Done already") == 4
    assert _files(root) == before
    out = _finish(_start(root, OUTER, "hydra.sweeper.trials=6"))
    assert out.count("trial 5: ") == 2 and "trial 4: " not in out
    after = _files(root)
    old = {path for path in before if path.parts[-2].isdecimal()}
    assert old and all(after[path] == before[path] for path in old)
    assert len(_points(root)) == 4


@slow
def test_a_killed_search_chooses_as_if_it_had_not_been(tmp_path):
    _finish(_start(tmp_path / "straight", "encoder=lstm"))
    root = tmp_path / "killed"
    kills = 0
    for trial in (0, 2, 3):
        process = _start(root, "encoder=lstm")
        deadline = time.monotonic() + 120
        while not list(root.glob(f"runs/*/sweep-*/trials/*/{trial}/checkpoints/last.ckpt")):
            assert time.monotonic() < deadline
            if process.poll() is not None:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 2
    _finish(_start(root, "encoder=lstm"))
    assert _facts(root) == _facts(tmp_path / "straight")


@slow
def test_two_processes_share_the_trials(tmp_path):
    first, second = (_start(tmp_path, "encoder=lstm") for _ in range(2))
    said = _finish(first) + _finish(second)
    assert len(_trials(tmp_path)) == 5 and len(_points(tmp_path)) == 2
    assert [said.count(f"study, trial {number}: ") for number in range(5)] == [1] * 5
    (study,) = _studies(tmp_path).values()
    assert study["trials"]["left"] == study["trials"]["failed"] == 0


@slow
def test_labels_of_the_test_part_choose_nothing(tmp_path):
    """Another truth in the test part of a fold: the same trials, the same choice."""
    found = []
    for name in ("true", "corrupt"):
        rng = np.random.default_rng(0)
        lines = []
        for number in range(60):
            host, part = (
                ("duck", "human")[number % 2],
                ("train", "train", "val", "test")[number // 2 % 4],
            )
            letters = "ACDEFGHIKL" if host == "duck" else "IKLMNPQRST"
            sequence = "".join(rng.choice(list(letters), 30))
            if name == "corrupt" and part == "test":
                host = {"duck": "human", "human": "duck"}[host]
            lines += [f">P{number}|{host}|{part}", sequence]
        path = tmp_path / f"{name}.fasta"
        path.write_text("\n".join(lines) + "\n")
        source = ["id.field=1", "label.field=2", "split.field=3", f"path={path}"]
        options = ["data=fasta", *(f"data.source.{item}" for item in source), "split=predefined"]
        options += ["encoder=lstm", "hydra.sweeper.trials=4", "hydra.sweeper.seeds=[0]"]
        root = tmp_path / name
        command = [item for item in QUICK if not item.startswith(("data.", "hydra.sweeper.tr"))]
        command = [item for item in command if not item.startswith("hydra.sweeper.seeds")]
        _finish(Started("train.py", *command, *options, f"paths.root={root}"))
        (study,) = _studies(root).values()
        (point,) = [read_result(folder) for folder in _points(root)]
        score = point["scores"][point["label"]]["balanced_accuracy"]["value"]
        found.append((study["best"], study["trials"], score))
    (best, trials, score), (best_of_corrupt, trials_of_corrupt, corrupt_score) = found
    assert best == best_of_corrupt and trials == trials_of_corrupt
    assert corrupt_score == pytest.approx(1 - score) and score != corrupt_score


@slow
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("hydra.sweeper.trials=0", "hydra.sweeper.trials: got 0, expected a whole number from 1"),
        ("hydra.sweeper.seeds=[1,1]", "hydra.sweeper.seeds: got [1, 1], expected different"),
        ("seed=0,1", "seed: got '0,1', expected one value, and seeds in hydra.sweeper.seeds"),
        ("hydra.sweeper.space.task.dropout.high=1.0", "task.dropout: got 1.0, expected a share"),
        ("encoder=cnn,embedding", "Could not override 'encoder.layers'"),
    ],
)
def test_a_search_that_cannot_work_is_one_line(tmp_path, option, message):
    process = _start(tmp_path, option)
    out, err = process.communicate()
    assert process.returncode != 0 and message in err and not out
    assert not list(tmp_path.glob("**/result.json"))
