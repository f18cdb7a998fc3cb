"""Several processes for one run: who is first, and what may go wrong with them.

One process per device trains; the first one alone reads its orders, writes and prints. Either
something outside starts all of them (torchrun, srun), or the first one starts the others as
`python -m protemb.apps.rank`, which know nothing of Hydra: so a point of a sweep is as good as a
single run.
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protemb.apps.config import build
from protemb.errors import ConfigError, ProtembError

if TYPE_CHECKING:
    import pytorch_lightning as pl

# Of the trainer's options, those that a machine may not have.
SHOWN = ("accelerator", "devices", "strategy", "precision")


class ProcessLost(ProtembError, RuntimeError):
    """A process that took part in training is gone.

    >>> str(ProcessLost(1, 2, "was killed by signal 9"))
    'process 1 of 0 to 1 was killed by signal 9; the same command continues this run'
    """

    def __init__(self, rank: int, size: int, how: str) -> None:
        super().__init__(rank, size, how)
        self.rank, self.size, self.how = rank, size, how

    def __str__(self) -> str:
        return (
            f"process {self.rank} of 0 to {self.size - 1} {self.how}; "
            "the same command continues this run"
        )


class StartedTogether(ProtembError, RuntimeError):
    """A sweep was started as several processes.

    >>> str(StartedTogether(2))
    'a sweep is started as one process, not as 2: each of its points starts the others itself'
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size

    def __str__(self) -> str:
        return (
            f"a sweep is started as one process, not as {self.size}: "
            "each of its points starts the others itself"
        )


class NothingToDo(Exception):
    """The first process has found that there is nothing to train."""


@dataclass(frozen=True)
class Place:
    """This process among those that were started from outside: rank from 0, and how many."""

    rank: int
    size: int


def place(trainer: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Place | None:
    """Where torchrun or srun has put this process; None when it was started alone.

    Tasks of a Slurm step that ask for one device each are runs of their own.

    >>> several = {"devices": 2, "num_nodes": 1}
    >>> place(several, {"RANK": "1", "WORLD_SIZE": "2"})
    Place(rank=1, size=2)
    >>> step = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}
    >>> place(several, step)
    Place(rank=1, size=2)
    >>> place({"devices": 1, "num_nodes": 1}, step), place(several, {})
    (None, None)
    """
    if "RANK" in environment and int(environment.get("WORLD_SIZE", 1)) > 1:
        return Place(int(environment["RANK"]), int(environment["WORLD_SIZE"]))
    # Of the step: a batch script has the job's number of tasks, and is one process.
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
    # Also before the config is checked: an option may have been taken out.
    alone = trainer.get("devices") == 1 and trainer.get("num_nodes") == 1
    return None if alone or tasks < 2 else Place(int(environment["SLURM_PROCID"]), tasks)


def is_first_process(trainer: Mapping[str, Any]) -> bool:
    """Whether this process writes and prints."""
    found = place(trainer)
    return found is None or found.rank == 0


def check_sweep(trainer: Mapping[str, Any]) -> None:
    """Refuse a sweep in processes that were started together: they would not stay together.

    submitit starts them anew for every point.

    Raises:
        StartedTogether: torchrun or srun has started several processes of this sweep.
    """
    found = place(trainer)
    if found is not None and "SUBMITIT_EXECUTOR" not in os.environ:
        raise StartedTogether(found.size)


def open_trainer(node: Mapping[str, Any], **options: Any) -> "pl.Trainer":
    """Lightning's trainer.

    Raises:
        ConfigError: options that Lightning refuses, such as a GPU where there is none.
    """
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    from protemb.training.unprofiled import Unprofiled

    if node.get("profiler") is None:
        options["profiler"] = Unprofiled()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*AMP with fp16 is not supported on CPU")
            trainer: pl.Trainer = build(node, **options)
    except (MisconfigurationException, TypeError, ValueError) as error:
        shown = ", ".join(f"{name}={node[name]}" for name in SHOWN if name in node)
        raise ConfigError("trainer", shown, f"what this machine can do: {error}") from error
    if node["precision"] == "16-mixed" != trainer.precision:
        # Lightning takes another one; the record would not say what was computed.
        raise ConfigError("trainer.precision", "16-mixed", "bf16-mixed: float16 needs a GPU")
    return trainer
