"""Callbacks that count: the history of every epoch, and the residues per second."""

import time
from typing import Any

import pytorch_lightning as pl

from protemb.training.data import LabelledBatch


class History(pl.Callback):
    """Keeps each epoch's metrics, through interruptions: they travel in the checkpoint.

    `rows` has one dict per epoch: epoch (from 1), residues per second, and every logged metric;
    `steps` has the optimiser's steps by then.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.steps: list[int] = []
        self._residues, self._started = 0, 0.0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """A run that had stopped early and died later must not train one more epoch."""
        if any(callback.stopped_epoch for callback in trainer.early_stopping_callbacks):
            trainer.should_stop = True

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start counting anew."""
        self._residues, self._started = 0, time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: LabelledBatch,
        index: int,
    ) -> None:
        """Count the residues."""
        self._residues += int(batch[0].lengths_B.sum()) * trainer.world_size

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Append the epoch's row (validation has run by now)."""
        row = {"epoch": trainer.current_epoch + 1, "residues_per_second": self.rate()}
        for name, value in trainer.callback_metrics.items():
            if "/" in name:
                row[name] = float(value)
        self.rows.append(row)
        self.steps.append(trainer.global_step)

    def rate(self) -> float:
        """Residues per second since the epoch began, loading and validation included."""
        return round(self._residues / (time.perf_counter() - self._started), 1)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"rows": self.rows, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.rows, self.steps = list(state["rows"]), list(state["steps"])
