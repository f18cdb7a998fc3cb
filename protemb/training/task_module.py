"""What the Lightning side of every task shares: seeds, logging, optimizer, recipe."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from protemb.errors import Diverged
from protemb.models.checkpoint import RECIPE_KEY


class TaskModule(pl.LightningModule):
    """Base of the tasks' modules: they give the losses and the metrics.

    Args:
        recipe: plain values that rebuild the network; stored in every checkpoint.
        optimizer: called with the parameters that train.
        scheduler: called with the optimizer, stepped after each epoch; None for a constant rate.
        objective: metric that a scheduler may watch.
        seed: what training draws is a function of (seed, epoch, batch, device).
    """

    def __init__(
        self,
        recipe: Mapping[str, Any],
        *,
        optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer],
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        objective: str = "val/loss",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.recipe = dict(recipe)
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.objective, self.seed = objective, seed

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed what training draws (dropout masks), so that a resumed run draws the same."""
        key = (self.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))

    def logged(self, loss: Tensor) -> Tensor:
        """Log the training loss, and return it."""
        self.log(
            "train/loss",
            loss,
            on_step=False,
            on_epoch=True,
            prog_bar=True,
            sync_dist=True,
            batch_size=1,
        )
        return loss

    def log_epoch(self, values: Mapping[str, Tensor]) -> None:
        """Log the metrics of the validation part, which are those of all devices already.

        Raises:
            Diverged: the loss, or another of them, is not finite.
        """
        if not all(torch.isfinite(value) for value in values.values()):
            raise Diverged(self.current_epoch + 1)
        for name, value in values.items():
            self.log(name, value.float(), prog_bar=name == self.objective, rank_zero_only=False)

    def configure_optimizers(self) -> Any:
        """Optimizer over the parameters that train, and the scheduler if there is one."""
        trained = [p for p in self.parameters() if p.requires_grad]
        optimizer = self.make_optimizer(trained)
        if self.make_scheduler is None:
            return optimizer
        scheduler = {"scheduler": self.make_scheduler(optimizer), "monitor": self.objective}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the recipe beside the weights."""
        checkpoint[RECIPE_KEY] = self.recipe
