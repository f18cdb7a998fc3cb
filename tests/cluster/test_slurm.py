"""Jobs on a real Slurm: what fails, is killed, requeued, preempted or loses its node goes on."""

import functools
import json

import numpy as np
import pytest
import torch
from histories import history_of
from started import Started

from protemb.apps.slurm import JobLost, ended, submit
from protemb.vectors.table import VectorTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("slurm")]

# Epochs of some tenths of a second: long enough to be hit by a signal.
EPOCHS = 50
STEADY = [
    *("trainer=cpu", "trainer.enable_progress_bar=false", f"trainer.max_epochs={EPOCHS}"),
    *("baselines=false", "figures=false", "replicates=20", "data.source.sequences_per_host=100"),
    *("encoder.hidden_dim=24", "task.residues=1500", "~callbacks.early_stopping"),
]
# So short a time limit that submitit takes whatever comes for its end: it counts the restarts.
SLURM = ["launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=5"]


@pytest.fixture(scope="module")
def start(slurm):
    """Start a program with options, below a root folder where the program takes one."""

    def begin(program, *options, **more):
        environment = slurm.environment | {"OMP_NUM_THREADS": "1"} | more
        return Started(program, *options, environment=environment)

    return begin


@pytest.fixture(scope="module")
def straight(start, tmp_path_factory):
    """Folders of runs that nothing disturbed, by their share of the training sequences.

    They are computed beside what is compared with them.
    """
    root = tmp_path_factory.mktemp("straight")
    process = start("train.py", "-m", "train_share=1,0.9,0.8", *STEADY, f"paths.root={root}")

    @functools.cache
    def folders():
        out, err = process.communicate(300)
        assert process.returncode == 0, (out, err)
        return points(root)

    return folders


def points(root):
    """Folder of every point of the only sweep below a root, by its share."""
    found = {}
    for path in root.glob("runs/demo/sweep-*/*/.hydra/overrides.yaml"):
        for line in path.read_text().splitlines():  # none while Hydra is writing it
            if "train_share" in line:
                found[line.partition("=")[2]] = path.parents[1]
    return found


def result(folder):
    path = folder / "result.json"
    return json.loads(path.read_text()) if path.exists() else {"status": "missing"}


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def assert_same(found, expected):
    assert result(found)["status"] == "done"
    for name in ("predictions.parquet", "split.tsv"):
        assert (found / name).read_bytes() == (expected / name).read_bytes()
    ours, theirs = weights(found), weights(expected)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_jobs_that_are_stopped_in_every_way_end_as_if_they_had_not_been(
    slurm, start, straight, eventually, tmp_path
):
    command = ["-m", "train_share=1,0.9,0.8,7", *SLURM, *STEADY, f"paths.root={tmp_path}"]
    process = start("train.py", *command)

    def has_checkpoint(share):
        assert process.poll() is None, process.said()
        folder = points(tmp_path).get(share, tmp_path)
        return (folder / "checkpoints" / "last.ckpt").exists()

    eventually(slurm.states)
    array = next(iter(slurm.states())).partition("_")[0]
    eventually(lambda: has_checkpoint("1"))
    slurm.run("scontrol", "requeue", f"{array}_0")
    eventually(lambda: has_checkpoint("0.9"))
    slurm.kill(f"{array}_1")
    eventually(lambda: has_checkpoint("0.8"))
    # The whole machine for one that is more urgent.
    slurm.run(
        "sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--wrap=true", "-o/dev/null"
    )
    eventually(lambda: process.poll() is not None, slurm.hurry)
    out, err = process.said()
    assert process.returncode == 1 and "Traceback" not in err, (out, err)

    folders = points(tmp_path)
    assert f"Slurm job {array}: 4 to run" in out
    assert "2 runs done, 2 not." in out
    assert result(folders["7"])["error"].startswith("ConfigError: train_share: got 7")
    assert f"{folders['7'].name}: failed ConfigError: train_share: got 7" in out
    lost = f"failed JobLost: Slurm job {array}_1 ended as FAILED; its output: "
    assert f"{folders['0.9'].name}: {lost}" in out
    for job, share in enumerate(("1", "0.9", "0.8")):
        said = output(folders[share], f"{array}_{job}")
        assert said.count("Continuing from") == (share != "0.9")
    assert "this job is timed-out" in output(folders["0.8"], f"{array}_2")
    assert_same(folders["1"], straight()["1"])
    assert_same(folders["0.8"], straight()["0.8"])
    before = {share: (folders[share] / "result.json").stat().st_mtime_ns for share in ("1", "0.8")}

    # The same command computes what is missing; this time its node fails.
    process = start("train.py", *command)
    epoch = (folders["0.9"] / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    eventually(lambda: (folders["0.9"] / "checkpoints" / "last.ckpt").stat().st_mtime_ns > epoch)
    again = max(slurm.states(), key=lambda job: int(job.partition("_")[0])).partition("_")[0]
    slurm.kill(f"{again}_0", daemons=True)
    eventually(lambda: process.poll() is not None, slurm.hurry)
    # Not before: what Slurm still sends to the failed job would reach the same job begun again.
    slurm.start()
    out, err = process.said()
    assert process.returncode == 1 and "Traceback" not in err, (out, err)
    assert "Done already: 2 of 4" in out and f"Slurm job {again}: 2 to run" in out
    assert "3 runs done, 1 not." in out
    assert_same(folders["0.9"], straight()["0.9"])
    for share, written in before.items():
        assert (folders[share] / "result.json").stat().st_mtime_ns == written


def output(folder, job):
    return (folder.parent / ".submitit" / job / f"{job}_0_log.out").read_text()


def test_a_job_that_has_to_go_and_is_not_put_back_is_not_waited_for(
    slurm, eventually, monkeypatch, tmp_path
):
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)

    def sleep_on(ready):
        import signal
        import time

        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        ready.touch()
        time.sleep(600)

    options = {"partition": "spare", "timeout_min": 5, "max_num_timeout": 0, "name": "stubborn"}
    ready = tmp_path / "ready"
    jobs = submit(sleep_on, [[ready]], tmp_path / "jobs", options)
    eventually(ready.exists)
    urgent = ["--partition=urgent", "--nodes=2", "--exclusive", "--wrap=true", "-o/dev/null"]
    slurm.run("sbatch", *urgent)
    ((place, lost),) = ended(jobs)
    assert place == 0 and isinstance(lost, JobLost) and lost.state == "PREEMPTED"


def test_tasks_of_a_job_train_one_run(start, tmp_path):
    job = [*STEADY, "trainer.max_epochs=2", "task.residues=4000"]
    alone = start("train.py", *job, f"paths.root={tmp_path / 'alone'}")
    two = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    # The nodes of this cluster have names that only Slurm knows.
    process = start(
        *("train.py", *SLURM, *job[1:], *two, f"paths.root={tmp_path / 'two'}"),
        MASTER_ADDR="127.0.0.1",
    )
    for each in (process, alone):
        out, err = each.communicate(240)
        assert each.returncode == 0, (out, err)
    (one,) = (path.parent for path in tmp_path.glob("alone/runs/demo/*/result.json"))
    (both,) = (path.parent for path in tmp_path.glob("two/runs/demo/sweep-*/*/result.json"))
    assert result(both)["status"] == "done"
    assert len(list(both.parent.glob(".submitit/*/*_1_log.out"))) == 1
    for first, second in zip(history_of(one), history_of(both), strict=True):
        assert second == pytest.approx(first, abs=1e-5)


def test_one_grid_is_one_job_without_m(slurm, start, tmp_path):
    small = ["folds.count=4", "nested=null", "seeds=[0]", "replicates=50", "regressor=ridge"]
    small += ["workers=1", "pooling=[mean]", "features=[difference]", "~encoders.onehot"]
    small += ["table.source.proteins=8", "table.source.mutations=12"]
    process = start("variants.py", *SLURM, *small, f"paths.root={tmp_path}")
    out, err = process.communicate(120)
    assert process.returncode == 0, (out, err)
    (path,) = tmp_path.glob("runs/variants/demo/sweep-*/*/result.json")
    assert result(path.parent)["status"] == "done"


def test_what_slurm_refuses_is_said_without_a_traceback(start, tmp_path):
    nowhere = "hydra.launcher.partition=nowhere"
    process = start("train.py", *SLURM, nowhere, *STEADY, f"paths.root={tmp_path}")
    out, err = process.communicate(120)
    assert process.returncode == 2 and "Traceback" not in err
    assert "sbatch: error: invalid partition specified: nowhere\n" in err
    assert err.endswith("protemb: Slurm: it does not take the jobs; sbatch said why\n")


def test_shares_of_an_input_are_jobs(start, straight, tmp_path):
    rng = np.random.default_rng(0)
    lines = []
    for number in range(60):
        letters = rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), rng.integers(20, 60))
        lines += [f">P{number}", "".join(letters)]
    fasta = tmp_path / "all.fasta"
    fasta.write_text("\n".join(lines) + "\n")
    embed = ["protemb.cli", "embed", straight()["1"], fasta]
    whole = start(*embed, "-o", tmp_path / "whole.h5")
    (tmp_path / "vectors" / "vectors.2-of-2.h5").mkdir(parents=True)
    sharded = [*embed, "-o", f"{tmp_path}/vectors/", "--launcher", "slurm", "--shards", "2"]
    sharded += ["--slurm", "cpus_per_task=1", "--slurm", "partition=main"]
    process = start(*sharded)
    out, err = process.communicate()
    assert process.returncode == 1, (out, err)
    assert "protemb: shard 2/2: --output: got" in err and "shard 1/2" not in err
    assert not (tmp_path / "vectors" / "vectors.h5").exists()

    (tmp_path / "vectors" / "vectors.2-of-2.h5").rmdir()
    process = start(*sharded)
    out, err = process.communicate()
    assert process.returncode == 0, (out, err)
    assert "Done already: 1 of 2 shards\n" in out and ": 1 to run" in out
    assert "60 records, each once, from 2 shards" in out
    whole.wait()
    expected, found = (
        VectorTable.read(tmp_path / name) for name in ("whole.h5", "vectors/vectors.h5")
    )
    assert found.ids == expected.ids
    np.testing.assert_allclose(found.vectors_ND, expected.vectors_ND, rtol=1e-5, atol=1e-6)
