"""Kill a job at random moments, again and again: in the end it is as if nothing had happened."""

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from histories import history_of
from matplotlib.image import imread
from started import Started

from protemb.vectors.table import VectorTable

IN_A_ROW = 8
"""Kills after which a job may finish, before it is begun anew elsewhere."""

GRID = [
    *("table.source.proteins=8", "table.source.mutations=12", "~encoders.onehot"),
    *("folds.count=4", "nested=null", "seeds=[0]", "replicates=50", "regressor=ridge"),
    *("workers=1", "pooling=[mean,position]", "features=difference"),
]
"""A grid of variants that takes seconds."""


@dataclass(frozen=True)
class Job:
    """A command that can be given again.

    Attributes:
        start: begin it below a folder of its own.
        facts: what it left there when it had finished, without times and places.
    """

    start: Callable[[Path], Started]
    facts: Callable[[Path], Any]


def torment(job: Job, folder: Path, kills: int) -> None:
    """Kill it so often, let it finish, and compare with what an undisturbed one left."""
    rng = np.random.default_rng(int(os.environ.get("PYTEST_XDIST_TESTRUNUID", "0")[:8], 16))
    Started("-c", "pass").wait()  # the first start of all imports what later ones have
    began = time.monotonic()
    straight = _finish(job, folder / "straight")
    longest = time.monotonic() - began
    hits = rounds = 0
    while hits < kills:
        root = folder / f"round-{rounds}"
        rounds += 1
        for _ in range(min(IN_A_ROW, kills - hits)):
            process = job.start(root)
            try:
                process.wait(rng.uniform(0, 0.7 * longest))
            except TimeoutExpired:
                end(process)
                hits += 1
                check_whole(root)
            else:
                assert process.returncode == 0, process.said()
                break
        found = _finish(job, root)
        assert found == straight, f"after {hits} kills, in {root}"
        assert not [path for path in root.glob("runs/**/.part-*")]


def _finish(job: Job, root: Path) -> Any:
    process = job.start(root)
    out, err = process.communicate(240)
    assert process.returncode == 0, (out, err)
    check_whole(root)
    return job.facts(root)


def end(process: Started) -> None:
    """Kill a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def check_whole(root: Path) -> None:
    """Every file that has its final name can be read to its end."""
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        passing = any(part.startswith(".part-") or part.endswith(".partial") for part in parts)
        if path.is_file() and not passing and path.suffix in READERS:
            READERS[path.suffix](path)


READERS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: json.loads(path.read_text()),
    ".parquet": pq.read_table,
    ".h5": VectorTable.read,
    ".npz": lambda path: [array.sum() for array in dict(np.load(path)).values() if array.size],
    ".ckpt": lambda path: torch.load(path, weights_only=True),
    ".png": imread,
}


def run_facts(folder: Path) -> dict[str, Any]:
    """What a finished training run computed."""
    record = json.loads((folder / "result.json").read_text())
    weights = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    names = ("status", "key", "objective", "scores", "best_epoch", "epochs", "split", "units")
    return {
        **{name: record[name] for name in names},
        "history": history_of(folder),
        "weights": {name: value.tolist() for name, value in weights.items()},
        "predictions": (folder / "predictions.parquet").read_bytes(),
        # Not their bytes: they name the checkpoint's hash, and a checkpoint knows its place.
        "vectors": {
            path.name: VectorTable.read(path).vectors_ND.tobytes()
            for path in folder.glob("vectors/*.h5")
        },
    }


def write_proteins(path: Path, number: int, longest: int) -> Path:
    """A FASTA file of random proteins of all lengths."""
    rng = np.random.default_rng(0)
    letters = list("ACDEFGHIKLMNPQRSTVWY")
    with open(path, "w") as file:
        for n, length in enumerate(rng.integers(1, longest, number)):
            file.write(f">P{n}\n{''.join(rng.choice(letters, length))}\n")
    return path
