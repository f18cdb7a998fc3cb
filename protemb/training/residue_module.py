"""The Lightning side of a residue tagger: loss, optimizer, validation metrics, recipe.

Shape letters: B = records in the batch, L = longest of them, C = labels, T = residues that count,
X = terms of the loss.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from protemb.models.residue_tagger import ResidueTagger
from protemb.training.residue_data import ResidueBatch
from protemb.training.task_module import TaskModule


class ResidueModule(TaskModule):
    """Trains a `ResidueTagger`.

    Args:
        tagger: the network. Its weights stand in checkpoints under `tagger.`.
        recipe: see `TaskModule`.
        training: options of `TaskModule`.
    """

    def __init__(
        self,
        tagger: ResidueTagger,
        recipe: Mapping[str, Any],
        **training: Any,
    ) -> None:
        super().__init__(recipe, **training)
        self.tagger = tagger
        self.val_confusion = MulticlassConfusionMatrix(len(recipe["letters"]))
        self.val_loss = MeanMetric(nan_strategy="disable")

    def losses(self, batch: ResidueBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Terms of the loss: negative logs_X, their weights_X, and residues_X that each stands for.

        X are the residues with a weight (cross-entropy) or, with a CRF, the proteins.
        """
        return self._losses(batch, self._logits(batch))

    def _logits(self, batch: ResidueBatch) -> Tensor:
        return self.tagger(batch[0].tokens_BL, batch[0].lengths_B).float()

    def _losses(self, batch: ResidueBatch, logits_BLC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tokens, labels_BL, weights_BL = batch
        counted_BL = weights_BL > 0
        if self.tagger.chain is None:
            logs_T = F.cross_entropy(
                logits_BLC[counted_BL], labels_BL[counted_BL], reduction="none"
            )
            return logs_T, weights_BL[counted_BL], torch.ones_like(logs_T)
        logs_B = -self.tagger.chain.log_likelihood(
            logits_BLC, labels_BL, counted_BL, tokens.lengths_B
        )
        # Without class weights all residues of a batch that count have one weight.
        return logs_B, weights_BL.amax(1), counted_BL.sum(1)

    def training_step(self, batch: ResidueBatch, batch_idx: int) -> Tensor:
        """Weighted loss of this device's share of the batch."""
        logs_X, weights_X, _ = self.losses(batch)
        loss = (logs_X * weights_X).sum()
        return self.logged(loss, batch_idx)

    def validation_step(self, batch: ResidueBatch, _batch_idx: int) -> None:
        """Count this device's share; residues of weight zero do not count or are another's."""
        tokens, labels_BL, weights_BL = batch
        logits_BLC = self._logits(batch)
        logs_X, weights_X, residues_X = self._losses(batch, logits_BLC)
        shared_X = weights_X > 0
        if not shared_X.any():
            return
        residues_X = residues_X[shared_X].float()
        self.val_loss.update(logs_X[shared_X] / residues_X, residues_X)
        predicted_BL, counted_BL = self.tagger.decode(logits_BLC, tokens.lengths_B), weights_BL > 0
        self.val_confusion.update(predicted_BL[counted_BL], labels_BL[counted_BL])

    def on_validation_epoch_end(self) -> None:
        """Log loss, accuracy over all residues, and macro-F1 over the labels that are present."""
        counts_CC = self.val_confusion.compute().double()
        true_C, predicted_C, right_C = counts_CC.sum(1), counts_CC.sum(0), counts_CC.diag()
        f1_C = 2 * right_C / (true_C + predicted_C).clamp_min(1)
        values = {
            "val/loss": self.val_loss.compute(),
            "val/accuracy": right_C.sum() / true_C.sum().clamp_min(1),
            "val/macro_f1": f1_C[true_C > 0].mean(),
        }
        self.val_confusion.reset()
        self.val_loss.reset()
        self.log_epoch(values)
