"""Labelled batches for Lightning: planned by residue budget, the same on any number of devices.

Shape letters: N = records, B = records in the batch, L = longest of them, C = classes.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from protemb.errors import ConfigError
from protemb.models.batches import TokenBatch, collate, plan_batches
from protemb.models.counts import CountBatch, residue_counts
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.splits import Split
from protemb.training.planned import PlannedData

CLASS_WEIGHTS = ("balanced", "none")

LabelledBatch = tuple[TokenBatch | CountBatch, Tensor, Tensor]
"""(tokens or their counts, labels_B, weights_B)."""


class SequenceData(PlannedData):
    """Training and validation batches of a labelled set.

    Every batch is planned for the whole job and its rows are dealt to the devices, with weights
    that make the averaged gradient that of one device. So the number of devices changes the speed
    and not the result.

    Args:
        data: the records.
        split: which of them train and validate.
        residues: budget of padded residues in a batch (over all devices).
        max_records: most records in a batch (over all devices).
        class_weights: `balanced` weighs every class the same, `none` every record.
        seed: order of the batches, with the epoch.
        positions: give the batches the records' positions.
    """

    def __init__(
        self,
        data: LabelledSet,
        split: Split,
        *,
        residues: int = 32_768,
        max_records: int = 64,
        class_weights: str = "balanced",
        seed: int = 0,
        positions: bool = False,
    ) -> None:
        super().__init__()
        if class_weights not in CLASS_WEIGHTS:
            raise ConfigError(
                "task.class_weights", class_weights, f"one of {', '.join(CLASS_WEIGHTS)}"
            )
        if positions and "position" not in data.fields:
            raise ConfigError("pooling", "position", "data with a position (data.source.position)")
        self.data, self.split = data, split
        self.residues, self.max_records, self.seed = residues, max_records, seed
        self.positions_N = data.fields["position"] if positions else None
        self.counts_SV: np.ndarray | None = None
        sizes_C = np.bincount(data.labels_N[split.train], minlength=len(data.label_names))
        self.class_weights_C = np.ones(len(sizes_C))
        if class_weights == "balanced":
            # A class that training never sees gets the weight of a class with one record.
            self.class_weights_C = len(split.train) / (len(sizes_C) * np.maximum(sizes_C, 1))

    @property
    def long_records(self) -> int:
        """Training records longer than the budget: each is a batch of its own."""
        return int((self.data.store.lengths_N[self.split.train] > self.residues).sum())

    def plan(self, records: np.ndarray, epoch: int | None) -> list[np.ndarray]:
        """Record indices of every batch; `epoch` None is evaluation order."""
        batches = plan_batches(
            self.data.store.lengths_N[records],
            residues=self.residues,
            max_records=self.max_records,
            seed=None if epoch is None else self.seed,
            epoch=epoch or 0,
        )
        return [records[batch] for batch in batches]

    def batch(self, records: np.ndarray, rank: int = 0, devices: int = 1) -> LabelledBatch:
        """Collate one device's share of a planned batch.

        A device that gets no row computes the first one with weight zero: every device must take
        part in every step.
        """
        weights = self.class_weights_C[self.data.labels_N[records]]
        weights = weights / weights.sum() * devices
        mine = slice(rank, None, devices)
        if rank >= len(records):
            mine, weights = slice(0, 1), np.zeros(1)
        chosen = records[mine]
        labels_B = torch.from_numpy(self.data.labels_N[chosen])
        return self._inputs(chosen), labels_B, torch.from_numpy(weights[mine].astype(np.float32))

    def count_residues(self, wanted: bool) -> None:
        """From now on give counts in place of tokens, or tokens again.

        The batches hold the same records in the same order. Where the counts would take too much
        memory, tokens it is.
        """
        self.counts_SV = residue_counts(self.data.store) if wanted else None

    def _inputs(self, records: np.ndarray) -> TokenBatch | CountBatch:
        store = self.data.store
        if self.counts_SV is not None:
            counts_BV = self.counts_SV[store.sequence_of_N[records]]
            lengths_B = store.lengths_N[records]
            return CountBatch(torch.from_numpy(counts_BV), torch.from_numpy(lengths_B))
        return collate(
            [store.tokens(record) for record in records],
            store.alphabet.size,
            None if self.positions_N is None else self.positions_N[records],
        )

    def planned(self, part: str, epoch: int | None) -> list[np.ndarray]:
        """Record indices of every batch of a part."""
        return self.plan(self.split.train if part == "train" else self.split.validation, epoch)

    def dealt(self, batch: Any, epoch: int | None, rank: int, devices: int) -> Any:
        """One device's share of a planned batch."""
        return self.batch(batch, rank, devices)

    def amount(self, batch: Any, epoch: int | None) -> float:
        """Weight of a planned batch's records."""
        return float(self.class_weights_C[self.data.labels_N[batch]].sum())
