"""A study on a toy: what is drawn, what is stopped, and that processes may come and go."""

import json
import math
import signal
import time

import pytest
from started import Started

from protemb.apps.runs import RunFolder
from protemb.apps.tuning.journal import JOURNAL
from protemb.apps.tuning.outcome import BEST, facts, told, unfinished
from protemb.apps.tuning.pruning import _Trial
from protemb.apps.tuning.space import Categories, Range
from protemb.apps.tuning.study import Study
from protemb.errors import InputError
from protemb.files import write_json

SPACE = {
    "x": Range(0.0, 4.0),
    "n": Range(1, 64, log=True),
    "k": Range(3, 9, step=2),
    "word": Categories(("a", None, True)),
}
SAME = {"mode": "max", "seed": 0, "prune": {"startup": 2, "warmup": 1}, "trials": 14}
EPOCHS = 5


def _open(folder, **options):
    return Study(folder, SPACE, **{**SAME, **options})


def _curve(values):
    """Objectives by epoch: best at x = 2."""
    return [-((values["x"] - 2) ** 2) - 1 / epoch for epoch in range(1, EPOCHS + 1)]


def _run(study, trial, **facts):
    """What training does: report, stop where it is hopeless, leave a record."""
    told = _Trial(study.folder, trial.number)
    run, seen = RunFolder(trial.folder, "key"), []
    for epoch, value in enumerate(_curve(trial.values), 1):
        told.report(epoch, value)
        seen.append(value)
        if epoch < EPOCHS and told.hopeless():
            return run.write("pruned", objective=max(seen), epochs=epoch, **facts)
    run.write("done", objective=max(seen), epochs=EPOCHS, **facts)


def _search(study, limit=1):
    while taken := study.take(limit):
        for trial in taken:
            _run(study, trial)
            study.tell(trial)


def _told(study):
    return [
        (t.number, t.params, t.state.name, t.value, t.intermediate_values, t.user_attrs)
        for t in study._all()
    ]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    study = _open(tmp_path_factory.mktemp("study"))
    _search(study)
    return study


def test_all_trials_are_drawn_from_the_space_and_end(straight):
    trials = straight._all()
    assert [t.number for t in trials] == list(range(14))
    for trial in trials:
        x, n, k, word = (trial.params[key] for key in SPACE)
        assert 0 <= x <= 4 and n in range(1, 65) and k in (3, 5, 7, 9)
        assert word in ("a", None, True) and type(n) is type(k) is int
    # Half of all draws of a logarithmic range are below its geometric mean, 8, not 32.
    assert sum(t.params["n"] <= 16 for t in trials) > 5
    assert len({t.params["x"] for t in trials}) == 14
    assert not straight.take(3) and not straight.busy()


def test_the_best_is_the_best_of_those_that_were_not_stopped(straight):
    complete = [t for t in straight._all() if t.state.name == "COMPLETE"]
    best = straight.best()
    assert best.objective == max(max(_curve(t.params)) for t in complete)
    assert max(_curve(best.values)) == best.objective
    counts = straight.counts()
    assert counts["complete"] == len(complete) and counts["pruned"] == 14 - len(complete) > 0
    # With `min` it would have been another.
    assert _open(straight.folder, mode="min").best().objective == min(t.value for t in complete)


def test_a_trial_is_stopped_by_the_median_of_the_others_at_its_epoch(straight):
    """The rule by a loop: best so far below the median of the complete ones, after the warm-up."""
    complete = []
    for trial in straight._all():
        curve, stop = _curve(trial.params), None
        for epoch in range(SAME["prune"]["warmup"] + 1, EPOCHS):
            others = sorted(c[epoch - 1] for c in complete)
            if len(others) < SAME["prune"]["startup"]:
                continue
            half = len(others) // 2
            middle = (others[half] + others[~half]) / 2
            if max(curve[:epoch]) < middle:
                stop = epoch
                break
        assert (trial.state.name == "PRUNED") == (stop is not None), trial.number
        assert len(trial.intermediate_values) == (stop or EPOCHS)
        if stop is None:
            complete.append(curve)


def test_nothing_is_stopped_without_pruning(tmp_path):
    study = _open(tmp_path, prune=None)
    _search(study)
    assert study.counts()["complete"] == 14


def test_draws_are_those_of_the_number_in_whatever_process(straight, tmp_path):
    for trials in range(1, 15):
        _search(_open(tmp_path, trials=trials))
    assert _told(_open(tmp_path)) == _told(straight)
    _search(other := _open(tmp_path / "other", seed=1))
    assert [t.params for t in other._all()] != [t.params for t in straight._all()]


def test_a_trial_that_died_goes_on_with_its_number_and_values(straight, tmp_path):
    for epochs in range(EPOCHS):
        study = _open(tmp_path)
        (trial,) = study.take(1)
        for epoch, value in enumerate(_curve(trial.values)[:epochs], 1):
            _Trial(tmp_path, trial.number).report(epoch, value)
        if epochs == 3:
            # Killed while the next trial was being drawn, in the middle of a line.
            lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
            torn = b'{"op_code":5,"trial_id":0,"param_na'
            (tmp_path / JOURNAL).write_bytes(b"".join(lines) + torn)
        study._held.pop(trial.number).close()  # as the system does for a process that is gone
        assert _open(tmp_path).busy()
    _search(_open(tmp_path))
    assert _told(_open(tmp_path)) == _told(straight)


def test_a_half_drawn_trial_is_drawn_as_if_nothing_had_happened(straight, tmp_path):
    journal = (straight.folder / JOURNAL).read_bytes().splitlines(keepends=True)
    drawn = [i for i, line in enumerate(journal) if json.loads(line)["op_code"] == 5]
    assert len(drawn) == 14 * len(SPACE)
    for place in (0, 2, 5, -1):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / JOURNAL).write_bytes(b"".join(journal[: drawn[place]]))
        _search(study := _open(folder))
        assert _told(study) == _told(straight)


def test_failed_trials_are_replaced_by_the_next_command(tmp_path):
    study = _open(tmp_path, trials=6)
    while taken := study.take(2):
        for trial in taken:
            if trial.number in (1, 2):
                error = "Diverged: in epoch 1" if trial.number == 1 else "OSError: disk"
                RunFolder(trial.folder, "key").write("failed", error=error)
            else:
                _run(study, trial)
            study.tell(trial)
    # A diverged trial says something of its values; a disk does not.
    assert len(study._all()) == 6 and study.errors() == ["OSError: disk"]
    assert {k: study.counts()[k] for k in ("diverged", "failed")} == {"diverged": 1, "failed": 1}
    write_json(tmp_path / BEST, {"studies": [facts(study)]})
    assert unfinished(tmp_path) and "OSError: disk" in told("study", "val/loss", study)[-1]
    again = _open(tmp_path, trials=6)
    _search(again)
    assert len(again._all()) == 7 and again.counts()["failed"] == 1
    write_json(tmp_path / BEST, {"studies": [facts(again)]})
    assert not unfinished(tmp_path) and "disk" not in told("study", "val/loss", again)[-1]
    assert not _open(tmp_path, trials=6).take(1)


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_search_in_which_everything_fails_ends_early(tmp_path, at_once):
    study = _open(tmp_path, trials=20)
    while taken := study.take(at_once):
        for trial in taken:
            RunFolder(trial.folder, "key").write("failed", error="InputError: no such file")
            study.tell(trial)
    assert 3 <= study.counts()["failed"] <= 2 + at_once and study.missing() == 20
    # The next command tries again, now with success.
    _search(again := _open(tmp_path, trials=20))
    assert again.missing() == 0


@pytest.mark.parametrize("line", [b"garbage\n", bytes(50) + b"\n"])
def test_a_damaged_journal_is_named(tmp_path, line):
    _search(_open(tmp_path, trials=2))
    first, *others = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    (tmp_path / JOURNAL).write_bytes(b"".join([first, line, *others]))
    with pytest.raises(InputError, match=f"{JOURNAL}: damaged"):
        _open(tmp_path, trials=2)


def test_a_trial_without_an_outcome_is_left_and_the_command_ends(tmp_path):
    study = _open(tmp_path, trials=2)
    (trial,) = study.take(1)
    RunFolder(trial.folder, "key").write("interrupted")
    assert study.tell(trial) == "left" and not study.busy()
    _search(study)
    assert study.counts()["left"] == 1
    (again,) = _open(tmp_path, trials=2).take(1)
    assert again == trial


def test_a_trial_that_ends_while_one_looks_is_not_run_again(tmp_path):
    study = _open(tmp_path)
    (trial,) = study.take(1)
    _run(study, trial)
    other = _open(tmp_path)
    assert other.busy() and not other._adopt(trial.number)
    study.tell(trial)
    # Its claim is free now, as that of a dead process would be.
    assert not other._adopt(trial.number)
    assert [taken.number for taken in other.take(1)] == [1]


def test_other_data_are_not_mixed_with_those_of_the_first_trial(tmp_path):
    study = _open(tmp_path)
    for data in ("one", "two"):
        (trial,) = study.take(1)
        _run(study, trial, fingerprints=[data, "split"])
        if data == "one":
            study.tell(trial)
    with pytest.raises(InputError, match="have changed since the first trial"):
        study.tell(trial)


# Several processes

CODE = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(__file__.rpartition("/")[0])!r})
import test_tuning_study as toy
study = toy._open(Path(sys.argv[1]), trials=30)
while True:
    taken = study.take(2)
    for trial in taken:
        with open(trial.folder.parent / f"ran-{{trial.number}}", "a") as ran:
            ran.write("x")
        time.sleep(0.05)
        toy._run(study, trial)
        study.tell(trial)
    if not taken and not study.busy():
        break
    time.sleep(0 if taken else 0.05)
"""


def test_processes_share_a_study_and_may_be_killed(tmp_path):
    first = [Started("-c", CODE, tmp_path) for _ in range(3)]
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("ran-*"))) < 8:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first[0].send_signal(signal.SIGKILL)
    late = Started("-c", CODE, tmp_path)
    for process in (*first[1:], late):
        out, err = process.communicate(90)
        assert process.returncode == 0, err
    study = _open(tmp_path, trials=30)
    trials = study._all()
    assert [t.number for t in trials] == list(range(30))
    assert study.counts()["left"] == 0
    runs = [(tmp_path / f"ran-{t.number}").read_text() for t in trials]
    # Each was run once, but for the two that the killed process had taken.
    assert sum(len(run) > 1 for run in runs) <= 2 and max(map(len, runs)) <= 2
    assert all(
        math.isclose(t.value, max(_curve(t.params))) for t in trials if t.state.name == "COMPLETE"
    )
