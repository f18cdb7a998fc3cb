"""The Lightning side of networks that predict residues, and their sums over records.

Shape letters: B = records in the batch, L = longest of them, V = standard residues, M = records
that are scored.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric

from protemb.models.devices import inference
from protemb.models.language import ResiduePredictor
from protemb.sequences.masking import NO_TARGET
from protemb.training.language_data import LanguageBatch, LanguageData
from protemb.training.language_scores import RecordSums
from protemb.training.task_module import TaskModule

PREFIX = "network."
"""Of the network's weights inside a training checkpoint."""


class LanguageModule(TaskModule):
    """Trains a network that predicts residues, by the mean loss per residue of each batch.

    Args:
        network: `NextResidue` or `MaskedResidue`. Its weights stand in checkpoints under `PREFIX`.
        recipe: see `TaskModule`.
        training: options of `TaskModule`.
    """

    def __init__(
        self,
        network: ResiduePredictor,
        recipe: Mapping[str, Any],
        **training: Any,
    ) -> None:
        super().__init__(recipe, **training)
        self.network = network
        self.val_loss = MeanMetric(nan_strategy="disable")
        self.val_accuracy = MeanMetric(nan_strategy="disable")

    def training_step(self, batch: LanguageBatch, batch_idx: int) -> Tensor:
        """Mean nats per target; this device's share of it."""
        nats_BL, _ = residue_nats(self.network, batch)
        loss = nats_BL.sum() * batch[2]
        return self.logged(loss, batch_idx)

    def validation_step(self, batch: LanguageBatch, _batch_idx: int) -> None:
        """Count this device's targets."""
        nats_BL, right_BL = residue_nats(self.network, batch)
        counted_BL = batch[1] != NO_TARGET
        if counted_BL.any():
            self.val_loss.update(nats_BL[counted_BL])
            self.val_accuracy.update(right_BL[counted_BL].float())

    def on_validation_epoch_end(self) -> None:
        """Log nats per residue, perplexity and accuracy."""
        loss = self.val_loss.compute()
        values = {
            "val/loss": loss,
            "val/perplexity": loss.exp(),
            "val/accuracy": self.val_accuracy.compute(),
        }
        self.val_loss.reset()
        self.val_accuracy.reset()
        self.log_epoch(values)


def residue_nats(network: ResiduePredictor, batch: LanguageBatch) -> tuple[Tensor, Tensor]:
    """Return nats_BL, minus the log-probability of each target, and right_BL, whether it is first.

    Where there is no target the nats are 0 and nothing is right.
    """
    tokens, targets_BL, _ = batch
    log_p_BLV = network(tokens.tokens_BL, tokens.lengths_B)
    nats_BL = F.nll_loss(
        log_p_BLV.transpose(1, 2), targets_BL, ignore_index=NO_TARGET, reduction="none"
    )
    return nats_BL, log_p_BLV.argmax(2) == targets_BL


def read_weights(checkpoint: str | Path) -> dict[str, Tensor]:
    """The network's weights in a training checkpoint; nothing in the file is executed."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return {
        name.removeprefix(PREFIX): value
        for name, value in content["state_dict"].items()
        if name.startswith(PREFIX)
    }


def score_records(
    network: ResiduePredictor,
    batches: LanguageData,
    records_M: np.ndarray,
    device: str | torch.device = "cpu",
) -> RecordSums:
    """Predict records as in evaluation and add up each one's nats, right guesses and targets."""
    network.eval()
    place = {int(record): row for row, record in enumerate(records_M)}
    assert len(place) == len(records_M), "a record is there twice"
    sums = RecordSums.zeros(len(records_M))
    for planned in batches.plan(records_M, None):
        tokens, targets_BL, weight = batches.batch(planned, None)
        with inference():
            batch = (tokens.to(device), targets_BL.to(device), weight)
            nats_BL, right_BL = residue_nats(network, batch)
        rows = [place[int(record)] for record in planned]
        sums.nats_M[rows] = nats_BL.double().sum(1).cpu().numpy()
        sums.right_M[rows] = right_BL.sum(1).cpu().numpy()
        sums.residues_M[rows] = (targets_BL != NO_TARGET).sum(1).numpy()
    assert math.isfinite(sums.nats_M.sum()), "the epoch that was kept had a finite loss"
    return sums
