"""The Lightning side of a `PairScorer`: ordinal loss, optimizer, validation metrics.

Shape letters: B = distinct sequences of a batch, L = longest of them, P = pairs.
"""

from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor
from torchmetrics import CatMetric, MeanMetric

from protemb.errors import Diverged
from protemb.models.checkpoint import RECIPE_VERSION
from protemb.models.pair_scorer import PairScorer
from protemb.training.pairs import PairBatch
from protemb.training.task_module import TaskModule

RESIDUES = 20
"""The first letters of the alphabet are the amino acids."""


class SimilarityModule(TaskModule):
    """Trains a `PairScorer`.

    Args:
        scorer: the network. Its weights stand in checkpoints under `scorer.`.
        resample: share of the residues that training replaces by an amino acid drawn at random
            (0.05 in Bepler and Berger 2019).
        training: options of `TaskModule`.
    """

    def __init__(
        self,
        scorer: PairScorer,
        *,
        resample: float = 0.0,
        **training: Any,
    ) -> None:
        super().__init__({"version": RECIPE_VERSION, "task": "similarity"}, **training)
        self.scorer = scorer
        self.resample = resample
        self.val_scores, self.val_levels = CatMetric(), CatMetric()
        self.val_loss = MeanMetric(nan_strategy="disable")

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Mean ordinal loss of this device's share of the batch."""
        tokens, pairs_P2, levels_P, weights_P = batch
        tokens_BL = tokens.tokens_BL
        if self.resample:
            drawn_BL = torch.rand(tokens_BL.shape, device=tokens_BL.device) < self.resample
            # Padding stays what it is.
            drawn_BL &= tokens_BL < self.scorer.encoder.alphabet_size
            tokens_BL = torch.where(drawn_BL, torch.randint_like(tokens_BL, RESIDUES), tokens_BL)
        scores_P = self.scorer(tokens_BL, tokens.lengths_B, pairs_P2)
        loss = (self.scorer.losses(scores_P, levels_P) * weights_P).sum()
        return self.logged(loss, batch_idx)

    def on_train_batch_end(self, outputs: Any, batch: PairBatch, batch_idx: int) -> None:
        """A higher score must not mean a lower level."""
        self.scorer.keep_order()

    def validation_step(self, batch: PairBatch, _batch_idx: int) -> None:
        """Keep this device's scores; pairs of weight zero are another device's."""
        tokens, pairs_P2, levels_P, weights_P = batch
        scores_P = self.scorer(tokens.tokens_BL, tokens.lengths_B, pairs_P2)
        losses_P, counted_P = self.scorer.losses(scores_P, levels_P), weights_P > 0
        self.val_loss.update(losses_P[counted_P])
        self.val_scores.update(scores_P[counted_P])
        self.val_levels.update(levels_P[counted_P].float())

    def on_validation_epoch_end(self) -> None:
        """Log the loss, and the rank correlation of score and level."""
        loss = self.val_loss.compute()
        scores_P, levels_P = self.val_scores.compute(), self.val_levels.compute()
        if not (torch.isfinite(loss) and torch.isfinite(scores_P).all()):
            raise Diverged(self.current_epoch + 1)
        for metric in (self.val_loss, self.val_scores, self.val_levels):
            metric.reset()
        spearman = torch.tensor(_spearman(scores_P, levels_P))
        self.log_epoch({"val/loss": loss, "val/spearman": spearman})


def _spearman(scores_P: Tensor, levels_P: Tensor) -> float:
    """Rank correlation; 0 where one side is constant, so that an epoch can be chosen."""
    ranks = [rankdata(column.double().cpu().numpy()) for column in (scores_P, levels_P)]
    if any(np.ptp(column) == 0 for column in ranks):
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])
