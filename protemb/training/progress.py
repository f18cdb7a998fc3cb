"""The progress bar of a training."""

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar


class Progress(RichProgressBar):
    """Lightning's bar with loss, objective and thousands of residues per second.

    On a terminal it redraws itself; elsewhere (a file, a cluster's log) it shows one line at the
    end.
    """

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Short names, in the order that people read."""
        found = super().get_metrics(trainer, pl_module)
        shown: dict[str, int | str | float | dict[str, float]] = {}
        for name, value in found.items():
            if name == "residues/s" and isinstance(value, float | int):
                shown["kres/s"] = f"{value / 1000:.0f}"
            elif isinstance(value, float | int) and name != "v_num":
                shown[name.replace("balanced_accuracy", "bal.acc")] = f"{value:.3f}"
        return shown
