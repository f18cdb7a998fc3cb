"""What a task brings to a run; everything around it is the same for all tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from protemb.training.history import History

# Word in conf/task -> class; loaded when chosen.
KINDS = {
    "classification": "protemb.apps.classification.Classification",
    "residue": "protemb.apps.residues.Residues",
    "similarity": "protemb.apps.similarity.SimilarityTask",
    "lm": "protemb.apps.language.LanguageTask",
    "masked_lm": "protemb.apps.language.LanguageTask",
}


@dataclass(frozen=True)
class Fitted:
    """A finished fit.

    Attributes:
        trainer: with the device that it ran on.
        history: one row per epoch.
        objective: best value of the metric that chose the epoch.
        pruned: the run was a trial that others were better than, and was ended before its time.
    """

    trainer: pl.Trainer
    history: History
    objective: float
    pruned: bool = False


class Task(Protocol):
    """Data, network and results of one kind of training.

    Made from the config before the run's folder is touched, so that bad input leaves no trace.

    Attributes:
        label: the network's name in tables.
        fingerprints: of the data and of the split: what the run's key holds beside its config.
    """

    label: str
    fingerprints: tuple[str, str]

    def __init__(self, values: Mapping[str, Any]) -> None: ...

    def begin(self, folder: Path) -> None:
        """Say and write what is known before training."""

    def prepare(self) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        """The network, its weights drawn anew, and its batches."""

    def finish(self, folder: Path, fitted: Fitted, loggers: list[Logger]) -> dict[str, Any]:
        """Score the best checkpoint, write the results, return the facts for result.json."""

    def show(self, folder: Path) -> None:
        """Print the results."""


def open_task(values: Mapping[str, Any]) -> Task:
    """The task that a checked config names, with its data read.

    Raises:
        ProtembError: input that cannot be used.
    """
    module, _, name = KINDS[values["task"]["kind"]].rpartition(".")
    return getattr(import_module(module), name)(values)
