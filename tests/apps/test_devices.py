"""Several processes for one run: equal to one, started from anywhere, and never left behind."""

import json
import re
import signal
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import torch
from histories import history_of
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf
from started import Started

from protemb.apps.train import main, run
from protemb.errors import ConfigError

ROOT = Path(__file__).parents[2]
# Every process costs seconds to start.
slow = pytest.mark.slow

TWO = ["trainer=ddp", "trainer.accelerator=cpu"]
BRIEF = [
    "trainer.max_epochs=3",
    "trainer.enable_progress_bar=false",
    "baselines=false",
    "figures=false",
    "replicates=20",
    # At larger rates the rounding of sums, whose order differs, grows within some hundred steps.
    "optimizer.lr=0.001",
]
CLASSES = [
    *("split=group", "data.source.sequences_per_host=40", "task.residues=4000"),
    *("encoder.embed_dim=4", "encoder.hidden_dim=8", *BRIEF),
]


def _result(folder):
    return json.loads((folder / "result.json").read_text())


def _scores(folder):
    record = _result(folder)
    return {
        (metric, end): value
        for metric, interval in record["scores"][record["label"]].items()
        for end, value in interval.items()
        if value is not None
    }


def _assert_equal(one, two, within=1e-5):
    for first, second in zip(history_of(one), history_of(two), strict=True):
        assert second == pytest.approx(first, abs=within)
    assert _scores(two) == pytest.approx(_scores(one), abs=within)


# One or two processes


def _scope(folder):
    """Families that descend from folds, which descend from classes."""
    rng, lines = np.random.default_rng(0), []
    letters = np.array(list("arndcqeghilkmfpstwyv"))

    def changed(sequence):
        return np.where(
            rng.random(len(sequence)) < 0.3, rng.choice(letters, len(sequence)), sequence
        )

    for c in "abcd":
        kind = rng.choice(letters, 40)
        for f in range(1, 6):
            fold = changed(kind)
            for s in range(1, 3):
                superfamily = changed(fold)
                for m in range(1, 3):
                    for n in range(2):
                        text = "".join(changed(superfamily))
                        lines.append(f">d{c}{f}{s}{m}{n}_ {c}.{f}.{s}.{m} (A:) x\n{text}\n")
    path = folder / "scope.fa"
    path.write_text("".join(lines))
    return [
        *("task=similarity", f"data.source.path={path}", "encoder=stacked", "task.resample=0"),
        *("encoder.inner_dim=6", "encoder.hidden_dim=8", "encoder.out_dim=8"),
        *("task.pairs_per_epoch=200", "task.validation_pairs=100", "task.test_pairs=200"),
    ]


def _residues(folder):
    rng, lines = np.random.default_rng(0), []
    for number in range(80):
        sequence = "".join(rng.choice(list("DEKRHAGLVS"), rng.integers(20, 40)))
        labels = "".join("HC"[left not in "DEKRH"] for left in "A" + sequence[:-1])
        lines.append(f">p{number}\n{sequence}\n{labels}\n")
    path = folder / "labels.txt"
    path.write_text("".join(lines))
    return [
        *("task=residue", "data=residues", f"data.source.path={path}", "split=random"),
        *("encoder=cnn", "encoder.embed_dim=4", "encoder.hidden_dim=8", "task.residues=500"),
        "data.source.segments=H",
    ]


def _language(folder):
    rng = np.random.default_rng(0)
    path = folder / "some.fa"
    texts = ("".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 30)) for _ in range(60))
    path.write_text("".join(f">r{number}\n{text}\n" for number, text in enumerate(texts)))
    small = ["encoder.lm.hidden_dim=8", "encoder.lm.embed_dim=6", "task.residues=600"]
    return ["task=lm", "data=sequences", f"data.source.path={path}", *small]


def _step(rank, port):
    """What srun tells a task of a step with two tasks on one node."""
    return {
        **{"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "test", "SLURM_NODELIST": "127.0.0.1"},
        **{"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS_PER_NODE": "2"},
        **{"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0"},
        "MASTER_PORT": str(port),
    }


JOBS = """
import json, logging, sys, warnings
from omegaconf import OmegaConf
from protemb.apps.train import run
warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
for values in json.load(open(sys.argv[1])):
    run(OmegaConf.create(values))
"""


@slow
def test_two_tasks_of_a_slurm_step_learn_what_one_process_does(composed, tmp_path):
    made = (_residues, _scope, _language)
    options = {make.__name__: [*make(tmp_path), *BRIEF, f"paths.root={tmp_path}"] for make in made}
    cfgs = [composed(*job, *TWO, out_dir=tmp_path / f"two{name}") for name, job in options.items()]
    jobs = [OmegaConf.to_container(cfg, resolve=True) for cfg in cfgs]
    # What is done already needs no other process: they are told so.
    (tmp_path / "jobs.json").write_text(json.dumps([*jobs, jobs[0]]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tasks = [
        Started("-c", JOBS, tmp_path / "jobs.json", environment=_step(rank, port))
        for rank in range(2)
    ]
    for name, job in options.items():
        run(composed(*job, "trainer=cpu", out_dir=tmp_path / f"one{name}"))
    (out, err), (silence, _) = (task.communicate() for task in tasks)
    assert [task.returncode for task in tasks] == [0, 0], err
    for name in options:
        _assert_equal(tmp_path / f"one{name}", tmp_path / f"two{name}")
        assert out.count(f"Results: {tmp_path / f'two{name}'}") == 1
    assert out.count("Done already") == 1
    assert not silence


# How the others are started


def _start(root, *options):
    return Started("train.py", *options, f"paths.root={root}", cwd=ROOT)


def _others(process):
    return psutil.Process(process.pid).children()


@slow
def test_points_of_a_sweep_start_their_own_processes(composed, tmp_path):
    process = _start(tmp_path, "-m", "seed=0,1", *TWO, *CLASSES)
    for seed in (0, 1):
        options = [*CLASSES, f"seed={seed}", f"paths.root={tmp_path}", "trainer=cpu"]
        run(composed(*options, out_dir=tmp_path / f"one{seed}"))
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "2 runs done, 0 not." in out
    points = [path.parent for path in tmp_path.glob("runs/demo/sweep-*/*/result.json")]
    assert sorted(_result(point)["config"]["seed"] for point in points) == [0, 1]
    for point in points:
        _assert_equal(tmp_path / f"one{_result(point)['config']['seed']}", point)
        assert not list(point.glob("process_*"))
        # Every record that was not trained on is predicted once.
        lines = (point / "split.tsv").read_text().splitlines()
        left = [line.split("\t")[0] for line in lines if line.endswith(("\tvalidation", "\ttest"))]
        found = pq.read_table(point / "predictions.parquet")["id"].to_pylist()
        assert left and sorted(found) == sorted(left)


@slow
def test_torchrun_makes_one_run(composed, tmp_path):
    torchrun = ["--nproc-per-node", "2", "train.py"]
    process = Started(
        "torch.distributed.run", *torchrun, *TWO, *CLASSES, f"paths.root={tmp_path}", cwd=ROOT
    )
    run(composed(*CLASSES, f"paths.root={tmp_path}", "trainer=cpu", out_dir=tmp_path / "one"))
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.count("Best epoch") == out.count("160 records read") == 1
    (folder,) = tmp_path.glob("runs/demo/*")
    assert _result(folder)["status"] == "done"
    assert len(list(folder.glob("logs/version_*"))) == 1
    _assert_equal(tmp_path / "one", folder)


@pytest.mark.parametrize(
    ("mode", "option", "line"),
    [
        ("RUN", "split.fractions=[0.5,0.5]", "protemb: split.fractions: got"),
        ("RUN", "trainer.devices=3", "protemb: trainer.devices: got 3, expected 2 in all"),
        ("MULTIRUN", "seed=1", "protemb: a sweep is started as one process, not as 2"),
    ],
)
def test_only_the_first_of_several_processes_complains(
    composed, tmp_path, monkeypatch, capsys, mode, option, line
):
    cfg = composed(*CLASSES, *TWO, option, f"paths.root={tmp_path}", out_dir=tmp_path / "run")
    monkeypatch.setattr(HydraConfig, "get", lambda: SimpleNamespace(mode=RunMode[mode]))
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        with pytest.raises(SystemExit) as stopped:
            main(cfg)
        assert stopped.value.code == 2
        said.append(capsys.readouterr().err)
    assert said[0].startswith(line) and said[0].count("\n") == 1
    assert said[1] == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["trainer.strategy=ddp_spawn"], "trainer.strategy: got 'ddp_spawn', expected auto, or"),
        (["trainer.num_nodes=2"], "trainer.num_nodes: got 2, expected 1, or processes that"),
        (["trainer.accelerator=gpu"], "trainer: got 'accelerator=gpu, devices=2"),
        (["trainer.devices=abc"], "trainer: got 'accelerator=cpu, devices=abc"),
        (["trainer.precision=17"], "trainer: got 'accelerator=cpu, devices=2"),
        (["trainer.precision=16-mixed"], "trainer.precision: got '16-mixed', expected bf16-mixed"),
        (["trainer.accumulate_grad_batches=0"], "a whole number from 1 on"),
    ],
)
def test_devices_that_cannot_work_are_refused(composed, tmp_path, options, message):
    if torch.cuda.device_count() > 1 and "trainer.accelerator=gpu" in options:
        pytest.skip("this machine has the GPUs that are asked for")
    cfg = composed(*CLASSES, *TWO, *options, f"paths.root={tmp_path}", out_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match=re.escape(message)):
        run(cfg)


# How they end


@slow
def test_no_process_is_left_behind_and_none_is_waited_for(tmp_path):
    """Three stops of one run: a lost process, Ctrl-C, and the end of the first process."""
    options = [*TWO, *CLASSES, "trainer.max_epochs=2000", "encoder.hidden_dim=32", "paths=default"]

    def start():
        before = [path.stat().st_mtime_ns for path in tmp_path.glob("runs/demo/*/*/last.ckpt")]
        process, deadline = _start(tmp_path, *options), time.monotonic() + 120
        while [p.stat().st_mtime_ns for p in tmp_path.glob("runs/demo/*/*/last.ckpt")] == before:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.02)
        (other,) = _others(process)
        assert other.cmdline()[1:] == ["-m", "protemb.apps.rank"]
        return process, other

    process, other = start()
    other.kill()
    _, err = process.communicate()
    (folder,) = tmp_path.glob("runs/demo/*")
    lost = "process 1 of 0 to 1 was killed by signal 9; the same command continues this run"
    assert process.returncode == 2
    assert [line for line in err.splitlines() if "protemb:" in line] == [f"protemb: {lost}"]
    assert "Traceback" not in err
    assert _result(folder)["status"] == "failed" and _result(folder)["error"].endswith(lost)

    process, other = start()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert "Continuing from" in out
    assert process.returncode == 130 and "The same command continues this run." in err
    assert "Traceback" not in err
    assert not other.is_running() and _result(folder)["status"] == "interrupted"

    process, other = start()
    process.kill()
    process.communicate()
    psutil.wait_procs([other], timeout=20)
    assert not other.is_running()
