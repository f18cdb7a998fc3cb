"""What the Lightning side of every task shares: seeds, logging, optimizer, recipe."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from protemb.errors import Diverged
from protemb.models.checkpoint import RECIPE_KEY
from protemb.training.gradients import GradientNorms
from protemb.training.means import EpochMean
from protemb.training.planned import step_share


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
        self.norms, self.mean_loss = GradientNorms(), EpochMean()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed what training draws (dropout masks), so that a resumed run draws the same."""
        key = (self.seed, self.current_epoch, batch_idx, self.global_rank)
        seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
        # `manual_seed` keeps a call with its stack for every GPU that is not in use: slow, and for
        # ever.
        seeded = torch.default_generator if self.device.type == "cpu" else torch
        seeded.manual_seed(seed)

    def logged(self, loss: Tensor, batch_idx: int) -> Tensor:
        """Count the training loss for the epoch's log, and return it.

        The mean over an epoch's batches is then that of its steps, each as often as it has batches.
        """
        share = step_share(self.trainer, batch_idx)
        self.mean_loss.add(loss if share == 1 else loss.detach() * share)
        return loss

    def log_epoch(self, values: Mapping[str, Tensor]) -> None:
        """Log the metrics of the validation part, which are those of all devices already.

        And, once an epoch too, what its training steps have counted.

        Raises:
            Diverged: the loss, or another of them, is not finite.
        """
        if not all(torch.isfinite(value) for value in values.values()):
            raise Diverged(self.current_epoch + 1)
        loss = self.mean_loss.take()
        if loss is not None:
            self.log("train/loss", loss, prog_bar=True, sync_dist=True)
        for name, value in {**values, **self.norms.take()}.items():
            self.log(name, value.float(), prog_bar=name == self.objective, rank_zero_only=False)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip, and keep the norm that all gradients together had before; called for every step."""
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        if gradient_clip_val and gradient_clip_algorithm in (None, "norm"):
            # What Lightning does too, without telling the norm.
            self.norms.add(torch.nn.utils.clip_grad_norm_(trained, gradient_clip_val))
            return
        gradients = [p.grad for p in trained if p.grad is not None]
        self.norms.add(torch.nn.utils.get_total_norm(gradients))
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

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
