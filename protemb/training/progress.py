"""The progress bar of a training."""

import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar

from protemb.training.history import History


class Progress(RichProgressBar):
    """Lightning's bar with loss, objective and thousands of residues per second.

    On a terminal it redraws itself; elsewhere (a file, a cluster's log) it shows one line at the
    end. It moves at most `refresh_rate` times a second: for each of a small network's steps it
    would take longer than the step.
    """

    _moved = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on when it is time, and at the epoch's end."""
        now = time.monotonic()
        if now - self._moved < 1 / self.refresh_rate and not trainer.is_last_batch:
            return
        self._moved = now
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Short names, in the order that people read."""
        shown: dict[str, int | str | float | dict[str, float]] = {}
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, History):
                shown["kres/s"] = f"{callback.rate() / 1000:.0f}"
        for name, value in super().get_metrics(trainer, pl_module).items():
            if isinstance(value, float | int) and name != "v_num":
                shown[name.replace("balanced_accuracy", "bal.acc")] = f"{value:.3f}"
        return shown
