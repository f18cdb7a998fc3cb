"""Choosing a launcher, processes on one machine, and the signals that clusters send."""

import json
import math
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf
from started import Started

from protemb.apps.config import register_schema
from protemb.apps.launching import Point, _objective
from protemb.apps.naming import register_resolvers, sweep_name
from protemb.apps.slurm import _warn_without_accounting
from protemb.apps.stopping import Stopped, signal_of, stoppable
from protemb.apps.variants.config import register_schema as register_grid

ROOT = Path(__file__).parents[2]
BRIEF = [
    *("trainer=cpu", "trainer.enable_progress_bar=false", "baselines=false", "figures=false"),
    "replicates=20",
]


@pytest.fixture(scope="module")
def launcher_of():
    """Options of the launcher that a command of train.py or variants.py gets."""
    register_resolvers()
    register_schema()
    register_grid()

    def read(name, *overrides):
        folder = ROOT / "conf" / ("variants" if name == "variants" else "")
        # Hydra has one place for the folder in use, which other tests may hold.
        other, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
        try:
            with initialize_config_dir(str(folder), version_base="1.3"):
                cfg = compose(name, overrides=list(overrides), return_hydra_config=True)
        finally:
            GlobalHydra.instance().hydra = other
        return (
            OmegaConf.to_container(cfg.hydra.launcher, resolve=False)
            | {
                key: OmegaConf.select(cfg, f"hydra.launcher.{key}")
                for key in ("nodes", "tasks_per_node", "gpus_per_node", "n_jobs")
            }
            | {"mode": cfg.hydra.mode}
        )

    return read


def started(options):
    return Started("train.py", *options, environment={"OMP_NUM_THREADS": "1"})


def ended(process):
    out, err = process.communicate(120)
    assert "Traceback" not in err, err
    return process.returncode, out, err


# Choices


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        (["train", "trainer=cpu"], (1, 1, None)),
        (["train", "trainer=gpu"], (1, 1, 1)),
        (["train", "trainer=ddp", "trainer.accelerator=gpu", "trainer.num_nodes=3"], (3, 2, 2)),
        (["train", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=4"], (1, 4, None)),
        (["variants"], (1, 1, None)),
        (["variants", "device=cuda:0"], (1, 1, 1)),
    ],
)
def test_a_slurm_job_asks_for_what_the_trainer_uses(launcher_of, command, asked):
    options = launcher_of(*command, "launcher=slurm")
    assert tuple(options[k] for k in ("nodes", "tasks_per_node", "gpus_per_node")) == asked
    assert options["mode"].name == "MULTIRUN"
    # Where a cluster's JobRequeue is 0, jobs that do not ask are lost.
    assert options["additional_parameters"] == {"requeue": True}
    # Hydra's defaults lose a job whose time is up.
    assert (
        options["max_num_timeout"] > 10 and options["timeout_min"] * 60 > options["signal_delay_s"]
    )


@pytest.mark.parametrize("name", ["train", "variants"])
def test_every_launcher_can_be_chosen_for_both_programs(launcher_of, name):
    targets = {
        launcher: launcher_of(name, f"launcher={launcher}")["_target_"].rpartition(".")[2]
        for launcher in sorted(path.stem for path in ROOT.glob("conf/shared/launcher/*.yaml"))
    }
    assert targets == {
        "joblib": "JoblibLauncher",
        "local": "BasicLauncher",
        "slurm": "SlurmLauncher",
    }
    assert launcher_of(name)["_target_"].endswith("BasicLauncher")


def test_where_jobs_run_does_not_change_the_folder():
    plain = ["-m", "encoder=lstm,gru"]
    mail = "+hydra.launcher.additional_parameters.mail-type=FAIL"
    for more in (["launcher=slurm", "hydra.launcher.partition=gpu", mail], ["launcher=joblib"]):
        assert sweep_name([*plain, *more]) == sweep_name(plain)


def test_more_for_sbatch_is_beside_what_jobs_ask_for(launcher_of):
    mail = "+hydra.launcher.additional_parameters.mail-type=FAIL"
    asked = launcher_of("train", "launcher=slurm", mail)["additional_parameters"]
    assert asked == {"requeue": True, "mail-type": "FAIL"}


def test_a_job_that_could_not_record_its_error_takes_no_other_along(tmp_path, capsys):
    returned = JobReturn(status=JobStatus.FAILED)
    returned.return_value = OSError(28, "No space left on device")
    assert math.isnan(_objective(Point(0, [], tmp_path / "point", None), returned))
    assert "point: OSError: [Errno 28] No space left" in capsys.readouterr().err


def test_a_cluster_without_accounting_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    _warn_without_accounting("1")
    assert capsys.readouterr().err.startswith("protemb: no program sacct here.")
    (tmp_path / "sacct").write_text("#!/bin/sh\necho accounting is off >&2; exit 1\n")
    (tmp_path / "sacct").chmod(0o755)
    _warn_without_accounting("1")
    assert capsys.readouterr().err.startswith("protemb: accounting is off.")


@pytest.mark.slow
def test_a_machine_without_slurm_says_so(tmp_path):
    process = Started(
        "train.py", "launcher=slurm", f"paths.root={tmp_path}", environment={"PATH": str(tmp_path)}
    )
    code, _, err = ended(process)
    assert code == 2
    assert err == "protemb: Slurm: no program sbatch here, expected a machine of a Slurm cluster\n"


# Several processes


@pytest.mark.slow
def test_joblib_runs_a_sweep_that_another_launcher_finds_done(tmp_path):
    sweep = ["-m", "encoder=embedding", "level=states,hidden", *BRIEF, "trainer.max_epochs=2"]
    sweep += ["data.source.sequences_per_host=20", f"paths.root={tmp_path}"]
    # joblib's processes want a parent that was started as they are, not forked.
    command = [sys.executable, "train.py", *sweep, "launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "1 runs done, 1 not." in done.stdout
    statuses = {
        path.parent.name: json.loads(path.read_text())["status"]
        for path in tmp_path.glob("runs/demo/sweep-*/*/result.json")
    }
    assert sorted(statuses.values()) == ["done", "failed"]
    code, out, _ = ended(started(sweep))
    assert code == 1 and out.count("Done already") == 1 and "1 runs done, 1 not." in out


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_the_block_once(number):
    reached = []
    with pytest.raises(Stopped) as stopped, stoppable():
        try:
            os.kill(os.getpid(), number)
        finally:
            # What is being put in order is not disturbed by another one.
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append(True)
    assert reached and signal_of(stopped.value) is number
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_signal_that_is_handled_already_is_left_alone():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]


def test_the_signal_behind_an_error_is_found():
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemExit(1)  # noqa: B904 (as Lightning does)
    except SystemExit as error:
        assert signal_of(error) is signal.SIGINT
    assert signal_of(SystemExit(-1)) is None


@pytest.mark.slow
def test_a_run_that_signals_stop_continues_to_the_same_bits(eventually, tmp_path):
    epochs = 8
    options = [*BRIEF, "data.source.sequences_per_host=100", "encoder.hidden_dim=24"]
    options += ["task.residues=1500", f"trainer.max_epochs={epochs}"]
    straight = started([*options, f"paths.root={tmp_path / 'straight'}"])
    options.append(f"paths.root={tmp_path / 'stopped'}")
    root = tmp_path / "stopped"
    first = _stop(started(options), signal.SIGTERM, root, -1, eventually)
    second = _stop(started(options), signal.SIGUSR1, root, first, eventually)
    # Both signals came in time, and the second process did not start over.
    assert 0 <= first < second < epochs - 1
    code, out, err = ended(started(options))
    assert code == 0 and "Continuing from" in out, err
    assert ended(straight)[0] == 0
    found, expected = (next(tmp_path.glob(f"{n}/runs/demo/*")) for n in ("stopped", "straight"))
    predictions = [(folder / "predictions.parquet").read_bytes() for folder in (found, expected)]
    assert predictions[0] == predictions[1]
    ours, theirs = (_last(folder)["state_dict"] for folder in (found, expected))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def _stop(process, number, root, after, eventually):
    """Stop a run by a signal once it has gone beyond an epoch; the epoch that it kept."""
    eventually(lambda: process.poll() is not None or _epoch(root) > after)
    process.send_signal(number)
    code, _, err = ended(process)
    assert code == 128 + number
    assert err == f"Stopped by {number.name}. The same command continues this run.\n"
    (path,) = root.glob("runs/demo/*/result.json")
    record = json.loads(path.read_text())
    assert (record["status"], record["error"]) == ("interrupted", f"Interrupted: {number.name}")
    return _epoch(root)


def _last(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def _epoch(root):
    """The epoch of the last checkpoint of the only run below a root; -1 without one."""
    for path in root.glob("runs/demo/*/checkpoints/last.ckpt"):
        with suppress(OSError):
            return _last(path.parents[1])["epoch"]
    return -1
