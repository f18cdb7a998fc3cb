"""Batches of sequences with the residues that are to be predicted, for Lightning.

Planned by residue budget for the whole job and dealt to the devices, as in `training.data`.

Shape letters: B = records in the batch, L = longest of them.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from protemb.models.batches import TokenBatch, collate, plan_batches
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.masking import NO_TARGET, all_targets, mask_residues
from protemb.sequences.partition import Split
from protemb.training.planned import PlannedData

LanguageBatch = tuple[TokenBatch, Tensor, Tensor]
"""(what is shown, targets_BL with `NO_TARGET` where there is none, weight of a target)."""


class LanguageData(PlannedData):
    """Training and validation batches of sequences; labels are not looked at.

    The weight of a target makes the devices' averaged loss the mean over all targets of the
    planned batch. What is masked is a function of (seed, epoch, record), so it is the same on any
    number of devices and in a resumed run; in evaluation it is a function of the record alone, so
    that all trainings on the same data are scored on the same residues.

    Args:
        data: the records.
        split: which of them train and validate.
        masked: share of residues that is hidden and to be predicted; None shows everything and
            predicts everything, for networks whose states have not read their own residue.
        residues: budget of padded residues in a batch (over all devices).
        max_records: most records in a batch (over all devices).
        seed: order of the batches and masks, with the epoch.
    """

    def __init__(
        self,
        data: LabelledSet,
        split: Split,
        *,
        masked: float | None,
        residues: int = 16_384,
        max_records: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.store, self.split, self.masked = data.store, split, masked
        self.residues, self.max_records, self.seed = residues, max_records, seed

    def plan(self, records: np.ndarray, epoch: int | None) -> list[np.ndarray]:
        """Record indices of every batch; `epoch` None is evaluation order."""
        batches = plan_batches(
            self.store.lengths_N[records],
            residues=self.residues,
            max_records=self.max_records,
            seed=None if epoch is None else self.seed,
            epoch=epoch or 0,
        )
        return [records[batch] for batch in batches]

    def example(self, record: int, epoch: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Return what is shown of a record and its targets; `epoch` None is evaluation."""
        tokens_L = self.store.tokens(record)
        if self.masked is None:
            return tokens_L, all_targets(tokens_L)
        # Epochs count from 0, and evaluation has a key of its own before all of them.
        key = (0, 0, record) if epoch is None else (self.seed, 1 + epoch, record)
        return mask_residues(
            tokens_L,
            self.masked,
            self.store.alphabet.size,
            np.random.default_rng(key),
            show=epoch is not None,
        )

    def batch(
        self, records: np.ndarray, epoch: int | None, rank: int = 0, devices: int = 1
    ) -> LanguageBatch:
        """Collate one device's share of a planned batch.

        A device that gets no row computes the first one without targets: every device must take
        part in every step.
        """
        shown, targets = zip(*(self.example(int(record), epoch) for record in records), strict=True)
        total = sum(int((targets_L != NO_TARGET).sum()) for targets_L in targets)
        mine = slice(rank, None, devices)
        if rank >= len(records):
            mine, targets = slice(0, 1), (np.full_like(targets[0], NO_TARGET),)
        tokens = collate(shown[mine], self.store.alphabet.size)
        targets_BL = collate(targets[mine], NO_TARGET).tokens_BL
        return tokens, targets_BL, torch.tensor(devices / max(total, 1), dtype=torch.float32)

    def planned(self, part: str, epoch: int | None) -> list[np.ndarray]:
        """Record indices of every batch of a part."""
        return self.plan(self.split.train if part == "train" else self.split.validation, epoch)

    def dealt(self, batch: Any, epoch: int | None, rank: int, devices: int) -> Any:
        """One device's share of a planned batch."""
        return self.batch(batch, epoch, rank, devices)

    def amount(self, batch: Any, epoch: int | None) -> float:
        """Number of a planned batch's targets."""
        targets = (self.example(int(record), epoch)[1] for record in batch)
        return float(sum(int((targets_L != NO_TARGET).sum()) for targets_L in targets))
