"""One process per run: who holds a folder, what others do, what 8 processes and kills leave."""

import json
import os
import random
import re
import signal
import socket
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from started import Started

from protemb import cli
from protemb.apps.naming import parent_name
from protemb.apps.points import add_points, expand, read_points
from protemb.apps.runs import RunFolder, record_refusal
from protemb.apps.sweep import finish_sweep
from protemb.claims import CLAIM, HeldElsewhere, claim, holder
from protemb.errors import ConfigError
from protemb.files import cached_file, cached_folder
from protemb.variants.cell_jobs import evaluate_cells

ROOT = Path(__file__).parents[2]


def forked(work, ends=True):
    """Run a function in a fork of this process, which ends after it; its number."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            if not ends:
                time.sleep(60)
        finally:
            os._exit(0)
    return pid


@pytest.fixture
def elsewhere():
    """Let another process hold folders; returns its number. They are killed in the end."""
    pids = []

    def hold(folder, name=CLAIM):
        def work():
            with claim(folder / name):
                (folder / "held").touch()
                time.sleep(60)

        pids.append(forked(work))
        while not (folder / "held").exists():
            time.sleep(0.01)
        (folder / "held").unlink()
        return pids[-1]

    yield hold
    for pid in pids:
        kill(pid)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def content(folder):
    """Every file of a folder but the lock, with its bytes and its time."""
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != CLAIM
    }


# Claims


def test_a_claim_is_held_until_its_process_is_gone(elsewhere, tmp_path):
    lock = tmp_path / CLAIM
    assert holder(lock) is None and not lock.exists()
    pid = elsewhere(tmp_path)
    for _ in range(2):  # the second time: asking has changed nothing
        with pytest.raises(HeldElsewhere, match=f"process {pid} on "):
            with claim(lock):
                raise AssertionError
        held = holder(lock)
        assert (held.host, held.pid) == (socket.gethostname(), pid)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", held.since)
    kill(pid)
    assert holder(lock) is None
    with claim(lock):
        assert holder(lock).pid == os.getpid()
        with pytest.raises(HeldElsewhere), claim(lock):
            raise AssertionError
    assert holder(lock) is None and lock.read_text() == ""


def test_a_child_does_not_keep_its_parents_claim(tmp_path):
    lock, child = tmp_path / CLAIM, tmp_path / "child"

    def parent():
        with claim(lock):
            pid = forked(lambda: None, ends=False)
            child.write_text(str(pid))
            time.sleep(60)

    pid = forked(parent)
    while not (child.exists() and child.read_text()):
        time.sleep(0.01)
    kill(pid)
    os.kill(int(child.read_text()), 0)
    assert holder(lock) is None
    os.kill(int(child.read_text()), signal.SIGKILL)


def test_whoever_only_asks_keeps_nobody_out(tmp_path):
    def ask():
        until = time.monotonic() + 1
        while time.monotonic() < until:
            holder(tmp_path / CLAIM)

    with claim(tmp_path / CLAIM):
        pass
    pids = [forked(ask) for _ in range(2)]
    for _ in range(50):
        with claim(tmp_path / CLAIM):
            pass
    for pid in pids:
        os.waitpid(pid, 0)


@pytest.mark.parametrize("cached", [cached_file, cached_folder])
def test_a_cache_is_filled_once(tmp_path, cached):
    log = tmp_path / "log"

    def fill(part):
        with open(log, "a") as handle:
            handle.write("filled\n")
        time.sleep(0.3)
        (part / "x" if part.is_dir() else part).write_text("whole")

    def read(found):
        return (found / "x" if found.is_dir() else found).read_text()

    path = tmp_path / "cache" / "a.npy"
    pids = [forked(lambda: cached(path, fill, read)) for _ in range(4)]
    assert cached(path, fill, read) == "whole"
    for pid in pids:
        os.waitpid(pid, 0)
    assert log.read_text() == "filled\n"
    # Killed while it was filling, it is filled by the next.
    other = tmp_path / "cache" / "b.npy"
    pid = forked(lambda: cached(other, lambda part: time.sleep(60), read))
    while not (tmp_path / "cache" / ".b.npy.lock").exists():
        time.sleep(0.01)
    time.sleep(0.1)
    kill(pid)
    assert cached(other, fill, read) == "whole"


def test_two_grids_compute_a_cell_once(tmp_path):
    log = tmp_path / "log"

    def job(place):
        with open(log, "a") as handle:
            handle.write(f"{place}\n")
        time.sleep(0.1)
        return {"x": np.full(2, float(place))}

    def grid(places):
        return lambda: evaluate_cells(
            {f"cell-{place}": lambda place=place: job(place) for place in places}, 1, tmp_path / "c"
        )

    pids = [forked(grid(range(6))), forked(grid(range(6)))]
    found = grid(reversed(range(6)))()
    for pid in pids:
        os.waitpid(pid, 0)
    assert sorted(log.read_text().split()) == [str(place) for place in range(6)]
    for place in range(6):
        assert (found[f"cell-{place}"]["x"] == place).all()
    assert sorted(path.suffix for path in (tmp_path / "c").iterdir()) == [".npz"] * 6


# Runs


@pytest.fixture
def in_mode(monkeypatch):
    """Let the entry points think that they were started by Hydra: single or in a sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    def set_mode(sweeping):
        mode = RunMode.MULTIRUN if sweeping else RunMode.RUN
        monkeypatch.setattr(HydraConfig, "get", lambda: SimpleNamespace(mode=mode))

    return set_mode


@pytest.mark.parametrize("program", ["train", "variants"])
def test_a_held_run_is_left_alone(
    program, composed, grid_config, in_mode, elsewhere, tmp_path, capsys
):
    if program == "train":
        from protemb.apps.train import main

        folder = tmp_path / "run"
        cfg = composed(f"paths.root={tmp_path}", "trainer=cpu", out_dir=folder)
    else:
        from protemb.apps.variants.run import main

        folder = tmp_path / "runs" / "run"
        cfg = grid_config(tmp_path)
    folder.mkdir(parents=True)
    RunFolder(folder, "another").write("failed", error="x")
    pid = elsewhere(folder)
    before = content(folder)
    in_mode(sweeping=False)
    with pytest.raises(SystemExit) as stopped:
        main(cfg)
    assert stopped.value.code == 3
    said = capsys.readouterr().err
    assert said.startswith(f"Running elsewhere: {folder}: held by process {pid} on ")
    assert said.count("\n") == 1
    in_mode(sweeping=True)
    assert np.isnan(main(cfg)) and "Running elsewhere" in capsys.readouterr().err
    # Nor does a refusal go over what the other one writes.
    cfg.replicates = 1
    assert np.isnan(main(cfg)) and "replicates: got 1" in capsys.readouterr().err
    record_refusal(folder, [], ConfigError("a", "b", "c"))
    assert content(folder) == before


def test_a_run_that_another_process_has_just_finished_is_not_computed(
    composed, train, monkeypatch, capsys, tmp_path
):
    """It was not done when this process looked, and is when it holds the folder."""
    from protemb.apps.train import run

    before = content(train())
    looks = iter([None])
    finished = RunFolder.finished
    monkeypatch.setattr(RunFolder, "finished", lambda self: next(looks, None) or finished(self))
    capsys.readouterr()
    train()
    assert "Done already" in capsys.readouterr().out
    assert content(tmp_path / "run") == before
    assert run is not None and composed is not None


def test_set_aside_leaves_the_claim_and_removes_halves(tmp_path):
    folder = RunFolder(tmp_path / "run", "new")
    RunFolder(folder.path, "old").write("done", objective=1.0)
    (folder.path / "figures").mkdir()
    (folder.path / "figures" / ".part-x.png").touch()
    (folder.path / ".part-folder").mkdir()
    with folder.held():
        folder.begin(True)
        assert holder(folder.path / CLAIM).pid == os.getpid()
    assert not list(folder.path.rglob(".part-*"))
    (aside,) = (folder.path / "previous").iterdir()
    assert sorted(path.name for path in aside.iterdir()) == ["figures", "result.json"]


def test_two_embeds_of_one_output(elsewhere, train, tmp_path, capsys):
    run = train("baselines=false")
    fasta = tmp_path / "a.fasta"
    fasta.write_text(">a\nMKV\n")
    output = tmp_path / "out" / "vectors.h5"
    output.parent.mkdir()
    pid = elsewhere(output.parent, "vectors.h5.partial.lock")
    command = ["embed", str(run), str(fasta), "-o", str(output)]
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        cli.main(command)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"protemb: {output}: process {pid} on ") and said.count("\n") == 1
    kill(pid)
    cli.main(command)
    assert sorted(path.name for path in output.parent.iterdir()) == ["vectors.h5"]


# Points and their states


def test_points_are_those_that_hydra_runs(tmp_path):
    """With many kinds of lists that the command line knows."""
    (tmp_path / "conf" / "size").mkdir(parents=True)
    for name in ("small", "smaller", "large"):
        (tmp_path / "conf" / "size" / f"{name}.yaml").write_text(f"of: {name}\n")
    (tmp_path / "conf" / "config.yaml").write_text(
        "defaults: [size: small]\na: 0\nb: []\ntext: x\n"
        "hydra:\n"
        f"  sweep: {{dir: {tmp_path / 'sweep'}, "
        "subdir: '${run_name:${hydra.overrides.task}}'}\n"
        "  callbacks: {points: {_target_: protemb.apps.callback.SweepSummary}}\n"
    )
    code = (
        "import hydra\n"
        "from protemb.apps import naming\n"
        "naming.register_resolvers()\n"
        f"@hydra.main(version_base='1.3', config_path={str(tmp_path / 'conf')!r}, "
        "config_name='config')\n"
        "def main(cfg): pass\n"
        "main()\n"
    )
    lists = ["a=range(0,2)", "b=[1,2]", "text='a b',\"c,d\"", "size=glob(la*)", "+more=1.50"]
    process = Started("-c", code, "-m", *lists, "hydra.job.name=x")
    said = process.communicate()
    ran = {path.parent.name: path for path in tmp_path.glob("sweep/*/.hydra")}
    points = read_points(tmp_path / "sweep")
    assert len(ran) == 2 * 2 and points.keys() == ran.keys(), said
    for name, path in ran.items():
        overrides = yaml.safe_load((path / "overrides.yaml").read_text())
        assert overrides == [item for item in points[name] if not item.startswith("hydra.")]


def test_points_of_a_sweeper_that_chooses_are_not_guessed(composed):
    from omegaconf import OmegaConf

    config = OmegaConf.create({"hydra": {"sweeper": {"_target_": "some.Sweeper"}}})
    assert expand(config) == {} and composed is not None


def test_points_are_joined_and_hostile_ones_ignored(tmp_path):
    add_points(tmp_path, {"b": ["seed=1"], "a": ["seed=0"]})
    add_points(tmp_path, {"c": ["seed=2"]})
    assert list(read_points(tmp_path).items()) == [
        ("b", ["seed=1"]),
        ("a", ["seed=0"]),
        ("c", ["seed=2"]),
    ]
    names = ["../x", "/etc", "..", "", ".", "good"]
    rows = [{"folder": name, "overrides": []} for name in names]
    (tmp_path / "points.json").write_text(json.dumps({"points": rows}))
    assert list(read_points(tmp_path)) == ["good"]
    for text in ("{", "[]", '{"points": 1}', '{"points": [1]}'):
        (tmp_path / "points.json").write_text(text)
        assert read_points(tmp_path) == {}


def status_of(folder, capsys):
    """Exit code, lines of the table, and the last line of `protemb status`."""
    code = 0
    try:
        cli.main(["status", str(folder)])
    except SystemExit as stopped:
        code = stopped.code
    *lines, last = capsys.readouterr().out.splitlines()
    return code, lines, last


def test_status_of_every_kind_of_point(elsewhere, tmp_path, capsys):
    for name, status, facts in (
        ("done", "done", {"objective": 0.51239}),
        ("killed", "running", {}),
        ("interrupted", "interrupted", {"error": "KeyboardInterrupt: "}),
        ("refused", "failed", {"error": "ValueError: first\x1b[31m\nsecond"}),
        ("busy", "failed", {"error": "old"}),
    ):
        RunFolder(tmp_path / name, "key").write(status, **facts)
    log = tmp_path / "busy" / "logs" / "version_0" / "metrics.csv"
    log.parent.mkdir(parents=True)
    log.write_text("epoch,step,x\n0,1,2\n3,9,2\n,10,2\n")
    (tmp_path / "busy" / ".hydra").mkdir()
    (tmp_path / "busy" / ".hydra" / "config.yaml").write_text("trainer:\n  max_epochs: 30\n")
    pid = elsewhere(tmp_path / "busy")
    add_points(tmp_path, {"never": [], "done": [], "busy": []})
    code, lines, last = status_of(tmp_path, capsys)
    assert code == 1
    found = {line.split("  ")[1] if "  " in line else "": line for line in map(collapsed, lines)}
    assert list(found) == ["never", "done", "busy", "interrupted", "killed", "refused"]
    assert found["never"] == "missing  never"
    assert found["done"] == "finished  done  0.5124"
    assert found["busy"].startswith(f"running  busy  process {pid} on {socket.gethostname()} since")
    assert found["busy"].endswith(", epoch 4 of 30")
    assert found["interrupted"].startswith("interrupted  interrupted  KeyboardInterrupt:")
    assert found["killed"] == "stopped (killed?)  killed"
    assert found["refused"] == "failed  refused  ValueError: first [31m"
    assert last == (
        "6 points: 1 finished, 1 running, 1 interrupted, 1 stopped (killed?), 1 failed, 1 missing"
    )
    # The summary counts alike; what runs elsewhere is no failure.
    assert not finish_sweep(tmp_path)
    assert "1 runs done, 1 running elsewhere, 4 not." in capsys.readouterr().out
    assert status_of(tmp_path / "done", capsys) == (
        *(0, ["finished  .  0.5124"]),
        "1 points: 1 finished",
    )


def collapsed(line):
    return re.sub(r" {2,}", "  ", line)


def test_status_of_a_sweep_that_tunes(tmp_path, capsys):
    for number, status in enumerate(("done", "pruned")):
        RunFolder(tmp_path / "trials" / "study-1" / str(number), "key").write(status)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["status", str(tmp_path)])
    assert stopped.value.code == 1
    assert capsys.readouterr().out.splitlines() == [
        "study-1: 2 trials: 1 finished, 1 pruned",
        "0 points: none is chosen yet",
    ]


def test_trials_of_different_sweeps_are_different_runs():
    one, other = (
        RunFolder(Path(sweep) / "trials" / "study" / "0", "k").identity() for sweep in "ab"
    )
    assert one != other and parent_name("a/trials/study/0") == parent_name("a/0") == "a"


def test_collect_does_not_touch_a_run(tmp_path, capsys):
    run = RunFolder(tmp_path / "run", "key")
    run.write("running")
    (tmp_path / "run" / ".part-1.parquet").touch()
    with pytest.raises(SystemExit) as stopped:
        cli.main(["collect", str(tmp_path / "run")])
    assert stopped.value.code == 2 and "a run, not a sweep" in capsys.readouterr().err
    finish_sweep(tmp_path / "run")
    assert (tmp_path / "run" / ".part-1.parquet").exists()


def test_status_and_end_of_grids(run_grid, tmp_path, capsys):
    run_grid(tmp_path, name="sweep/one")
    sweep = tmp_path / "runs" / "sweep"
    capsys.readouterr()
    code, (line,), last = status_of(sweep, capsys)
    assert code == 0 and line.startswith("finished  one  0.") and last == "1 points: 1 finished"
    cli.main(["collect", str(sweep)])
    assert "1 runs done, 0 not." in capsys.readouterr().out
    add_points(sweep, {"two": []})
    with pytest.raises(SystemExit) as stopped:
        cli.main(["collect", str(sweep)])
    assert stopped.value.code == 1 and "two: missing" in capsys.readouterr().out


def test_status_needs_nothing_heavy(tmp_path):
    RunFolder(tmp_path / "a", "key").write("done", objective=1.0)
    code = (
        "import sys\nfrom protemb import cli\ncli.main(sys.argv[1:])\n"
        "heavy = {'torch', 'pytorch_lightning', 'numpy', 'hydra', 'matplotlib', 'pyarrow'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    import subprocess
    import sys

    command = [sys.executable, "-c", code, "status", str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert out.splitlines()[-1] == "heavy: []"


# Eight processes, and kills

OPTIONS = [
    *("data.source.sequences_per_host=30", "trainer=cpu", "trainer.enable_progress_bar=false"),
    *("~callbacks.progress", "baselines=false", "figures=false", "replicates=20"),
    *("trainer.max_epochs=4", "encoder.embed_dim=4"),
]


@pytest.mark.slow
def test_eight_processes_and_kills_compute_every_point_once(tmp_path):
    seed = random.randrange(10**6)
    print("seed", seed)
    program = str(Path(__file__).with_name("sweep_conductor.py"))
    process = Started(program, tmp_path, seed, 8, 12, *OPTIONS)
    said = process.communicate(timeout=170)
    assert process.returncode == 0, (said, (tmp_path / "loud" / "said").read_text())
    lines = [line.split() for line in (tmp_path / "loud" / "log").read_text().splitlines()]
    events = Counter(line[0] for line in lines)
    assert not events["clash"] and not events["failed"], lines
    assert "Traceback" not in (tmp_path / "loud" / "said").read_text()
    quiet, loud = (tmp_path / name / "sweep" for name in ("quiet", "loud"))
    names = sorted(path.parent.name for path in quiet.glob("*/result.json"))
    assert len(names) == 8 == len(read_points(loud))
    for name in names:
        events = [line[0] for line in lines if line[1] == name]
        # A kill between the record and the log's line leaves out the line; never is there a second.
        assert events[:-1].count("done") == 0, events
        same_run(quiet / name, loud / name)
    assert not list(loud.rglob(".part-*"))
    rows = pq.read_table(loud / "summary.parquet").to_pylist()
    expected = pq.read_table(quiet / "summary.parquet").to_pylist()
    assert [row | {"seconds": 0} for row in rows] == [row | {"seconds": 0} for row in expected]


def same_run(expected, found):
    """Both are done, with the same results bit for bit."""
    first, second = (json.loads((path / "result.json").read_text()) for path in (expected, found))
    for name in ("status", "scores", "objective", "key", "best_epoch", "epochs"):
        assert first[name] == second[name], name
    for name in ("predictions.parquet", "split.tsv"):
        assert (expected / name).read_bytes() == (found / name).read_bytes(), name
    for name in ("best", "last"):
        one, two = (
            torch.load(path / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
            for path in (expected, found)
        )
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one), name
