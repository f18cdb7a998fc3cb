"""Residue counts: all that the mean of a residue table reads of a sequence.

They are a property of the stored sequences, so they are counted once and a batch is a choice of
rows, where tokens would be joined and counted again in every step.

Shape letters: S = distinct sequences, B = records in the batch, V = alphabet size.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from protemb.sequences.tokens import TokenStore

MOST_BYTES = 2**28
"""More than these counts are not kept: about three million sequences of the usual letters."""
_RESIDUES = 2**20  # counted at a time: bounds the working memory


@dataclass  # not frozen: Lightning rebuilds batches in place for float64 and bfloat16
class CountBatch:
    """How often each letter stands in each sequence of a batch.

    Attributes:
        counts_BV: int32; whole numbers, which no precision of training rounds on the way.
        lengths_B: int64 residues of each record, in host memory as in a `TokenBatch`.
    """

    counts_BV: Tensor
    lengths_B: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "CountBatch":
        """Return the batch with its counts on `device` (lengths stay)."""
        return replace(self, counts_BV=self.counts_BV.to(device, non_blocking=non_blocking))


def residue_counts(store: TokenStore) -> np.ndarray | None:
    """Return int32 counts_SV of the distinct sequences; None where they would take `MOST_BYTES`.

    >>> store = TokenStore.from_sequences([("a", "AAC"), ("b", "C"), ("c", "AAC")])
    >>> residue_counts(store)[:, [store.alphabet.symbols.index(letter) for letter in "AC"]].tolist()
    [[2, 1], [0, 1]]
    """
    letters = store.alphabet.size
    if store.n_sequences * letters * 4 > MOST_BYTES:
        return None
    counts_SV = np.empty((store.n_sequences, letters), np.int32)
    start = 0
    while start < store.n_sequences:
        first = store.offsets_S1[start]
        stop = int(np.searchsorted(store.offsets_S1, first + _RESIDUES, side="right")) - 1
        stop = max(stop, start + 1)
        rows = np.arange(stop - start) * letters
        cells_T = np.repeat(rows, store.lengths_S[start:stop])
        cells_T += store.tokens_T[first : store.offsets_S1[stop]]
        counted = np.bincount(cells_T, minlength=len(rows) * letters)
        counts_SV[start:stop] = counted.reshape(-1, letters)
        start = stop
    return counts_SV
