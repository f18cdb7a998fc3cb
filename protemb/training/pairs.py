"""Batches of pairs for Lightning: each distinct protein of a batch once, and who pairs with whom.

Shape letters: B = distinct sequences of a batch, P = pairs.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from protemb.models.batches import TokenBatch, collate
from protemb.sequences.pairs import Pairs, PairSampler
from protemb.sequences.tokens import TokenStore
from protemb.training.planned import PlannedData

PairBatch = tuple[TokenBatch, Tensor, Tensor, Tensor]
"""(tokens, pairs_P2: rows of the tokens, levels_P, weights_P)."""


class PairData(PlannedData):
    """Training pairs drawn anew for every epoch, and fixed validation pairs.

    Batches are planned for the whole job and their pairs dealt to the devices, with weights that
    make the averaged gradient that of one device.

    Args:
        store: tokens of the records.
        training: what training pairs are drawn from.
        validation: the pairs that choose the epoch.
        pairs_per_epoch: drawn for each epoch.
        pairs_per_batch: over all devices.
        tau: see `PairSampler.shares`.
        seed: of the draws, with the epoch.
    """

    def __init__(
        self,
        store: TokenStore,
        training: PairSampler,
        validation: Pairs,
        *,
        pairs_per_epoch: int,
        pairs_per_batch: int,
        tau: float,
        seed: int,
    ) -> None:
        super().__init__()
        self.store, self.training, self.validation = store, training, validation
        self.pairs_per_epoch, self.pairs_per_batch = pairs_per_epoch, pairs_per_batch
        self.tau, self.seed = tau, seed

    def plan(self, epoch: int | None) -> list[Pairs]:
        """Pairs of every batch; `epoch` None is the validation part."""
        if epoch is None:
            pairs = self.validation
        else:
            pairs = self.training.draw(self.pairs_per_epoch, self.tau, seed=self.seed, epoch=epoch)
        starts = range(0, len(pairs), self.pairs_per_batch)
        return [pairs[start : start + self.pairs_per_batch] for start in starts]

    def batch(self, pairs: Pairs, rank: int = 0, devices: int = 1) -> PairBatch:
        """One device's share of a planned batch.

        A device that gets no pair computes the first one with weight zero: every device must take
        part in every step.
        """
        mine, weight = slice(rank, None, devices), devices / len(pairs)
        if rank >= len(pairs):
            mine, weight = slice(0, 1), 0.0
        chosen = pairs[mine]
        sequences_P2 = self.store.sequence_of_N[chosen.records_P2]
        distinct_B, rows_P2 = np.unique(sequences_P2, return_inverse=True)
        tokens = collate([self.store.distinct(s) for s in distinct_B], self.store.alphabet.size)
        return (
            tokens,
            torch.from_numpy(rows_P2.reshape(-1, 2)),
            torch.from_numpy(chosen.levels_P),
            torch.full((len(chosen),), weight),
        )

    def planned(self, part: str, epoch: int | None) -> list[Pairs]:
        """The pairs of every batch: drawn anew in each epoch, or those of the validation part."""
        return self.plan(epoch)

    def dealt(self, batch: Any, epoch: int | None, rank: int, devices: int) -> Any:
        """One device's share of a planned batch."""
        return self.batch(batch, rank, devices)

    def amount(self, batch: Any, epoch: int | None) -> float:
        """Number of a planned batch's pairs."""
        return float(len(batch))
