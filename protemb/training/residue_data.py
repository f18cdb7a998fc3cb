"""Batches with a label per residue for Lightning, planned for the whole job.

Shape letters: N = records, B = records in the batch, L = longest of them, C = labels.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from protemb.errors import ConfigError
from protemb.models.batches import TokenBatch, collate, plan_batches
from protemb.sequences.partition import Split
from protemb.sequences.residue_set import ResidueSet
from protemb.sequences.segments import NOT_COUNTED
from protemb.training.data import CLASS_WEIGHTS
from protemb.training.planned import PlannedData

ResidueBatch = tuple[TokenBatch, Tensor, Tensor]
"""(tokens, labels_BL, weights_BL); a residue of weight zero does not count, its label is 0."""


class ResidueData(PlannedData):
    """Training and validation batches of a set with residue labels.

    Every batch is planned for the whole job and its rows are dealt to the devices, with weights
    that make the averaged gradient that of one device (see `protemb.training.data`). Records
    without a residue that counts are left out.

    Args:
        data: the records.
        split: which of them train and validate.
        residues: budget of padded residues in a batch (over all devices).
        max_records: most records in a batch (over all devices).
        class_weights: `balanced` weighs every label the same, `none` every residue.
        seed: order of the batches, with the epoch.

    Raises:
        ConfigError: a part has no residue that counts.
    """

    def __init__(
        self,
        data: ResidueSet,
        split: Split,
        *,
        residues: int = 16_384,
        max_records: int = 32,
        class_weights: str = "none",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if class_weights not in CLASS_WEIGHTS:
            raise ConfigError(
                "task.class_weights", class_weights, f"one of {', '.join(CLASS_WEIGHTS)}"
            )
        self.data = data
        self.residues, self.max_records, self.seed = residues, max_records, seed
        self.train, self.validation = (
            records[data.counted_N[records] > 0] for records in (split.train, split.validation)
        )
        for name, records in (("train", self.train), ("validation", self.validation)):
            if not len(records):
                raise ConfigError("split", split.method, f"residues that count in part {name}")
        # Repeats of a sequence count as often as they train.
        sizes_C = np.array(list(data.letter_counts(self.train).values()))
        self.class_weights_C = np.ones(len(sizes_C))
        if class_weights == "balanced":
            # A label that training never sees gets the weight of one with a single residue.
            self.class_weights_C = sizes_C.sum() / (len(sizes_C) * np.maximum(sizes_C, 1))

    @property
    def long_records(self) -> int:
        """Training records longer than the budget: each is a batch of its own."""
        return int((self.data.labelled.store.lengths_N[self.train] > self.residues).sum())

    def plan(self, records: np.ndarray, epoch: int | None) -> list[np.ndarray]:
        """Record indices of every batch; `epoch` None is evaluation order."""
        batches = plan_batches(
            self.data.labelled.store.lengths_N[records],
            residues=self.residues,
            max_records=self.max_records,
            seed=None if epoch is None else self.seed,
            epoch=epoch or 0,
        )
        return [records[batch] for batch in batches]

    def batch(self, records: np.ndarray, rank: int = 0, devices: int = 1) -> ResidueBatch:
        """Collate one device's share of a planned batch.

        The weights of all devices' residues add up to the number of devices. A device that gets
        no row computes the first one with weight zero: every device must take part in every step.
        """
        store = self.data.labelled.store
        weights = [self._weights(self.data.codes(record)) for record in records]
        scale = devices / sum(row_L.sum() for row_L in weights)
        chosen = range(rank, len(records), devices)
        if rank >= len(records):
            chosen, scale = range(1), 0.0
        tokens = collate([store.tokens(records[row]) for row in chosen], store.alphabet.size)
        labels_BL = np.zeros(tokens.tokens_BL.shape, np.int64)
        weights_BL = np.zeros(tokens.tokens_BL.shape, np.float32)
        for b, row in enumerate(chosen):
            codes_L = self.data.codes(records[row])
            labels_BL[b, : len(codes_L)] = np.where(codes_L == NOT_COUNTED, 0, codes_L)
            weights_BL[b, : len(codes_L)] = weights[row] * scale
        return tokens, torch.from_numpy(labels_BL), torch.from_numpy(weights_BL)

    def _weights(self, codes_L: np.ndarray) -> np.ndarray:
        """Weight of each residue before scaling; zero where it does not count."""
        counted_L = codes_L != NOT_COUNTED
        return np.where(counted_L, self.class_weights_C[np.where(counted_L, codes_L, 0)], 0.0)

    def planned(self, part: str, epoch: int | None) -> list[np.ndarray]:
        """Record indices of every batch of a part."""
        return self.plan(self.train if part == "train" else self.validation, epoch)

    def dealt(self, batch: Any, epoch: int | None, rank: int, devices: int) -> Any:
        """One device's share of a planned batch."""
        return self.batch(batch, rank, devices)

    def amount(self, batch: Any, epoch: int | None) -> float:
        """Weight of a planned batch's residues."""
        return float(sum(self._weights(self.data.codes(record)).sum() for record in batch))
