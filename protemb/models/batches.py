"""Batches of near-equal lengths under a residue budget, padded only here.

Shape letters: N = records, B = records in the batch, L = longest of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from protemb.errors import ConfigError

# Records share a batch when the shorter is at least this share of the band's longest one. Wide
# enough that a batch mixes records (and classes) at random, narrow enough to pad little.
_BAND = 0.75


@dataclass  # not frozen: Lightning rebuilds batches in place for float64 and bfloat16
class TokenBatch:
    """One padded batch. `lengths_B` stays in host memory: packing and batch cuts need it there.

    Attributes:
        tokens_BL: int64 residue tokens; padding is the alphabet's size.
        lengths_B: int64 residues of each record, at least 1.
        positions_B: int64 0-based residue of interest, or None.
    """

    tokens_BL: Tensor
    lengths_B: Tensor
    positions_B: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "TokenBatch":
        """Return the batch with its tokens and positions on `device` (lengths stay)."""
        positions_B = self.positions_B
        return replace(
            self,
            tokens_BL=self.tokens_BL.to(device, non_blocking=non_blocking),
            positions_B=None
            if positions_B is None
            else positions_B.to(device, non_blocking=non_blocking),
        )


def plan_batches(
    lengths_N: np.ndarray,
    *,
    residues: int,
    max_records: int | None = None,
    seed: int | None = None,
    epoch: int = 0,
) -> list[np.ndarray]:
    """Deal every record into exactly one batch; a pure function of its arguments.

    Records are put into bands of similar length. Inside a band they are shuffled (`seed` given) and
    chopped so that records * longest-of-the-band <= `residues`. The number of batches depends on
    the lengths alone, so it is the same in every epoch. A record longer than the budget gets a
    batch of its own: nothing is cut.

    Args:
        lengths_N: residues of each record.
        residues: budget of padded residues in a batch.
        max_records: upper limit of records in a batch.
        seed: None keeps records in order of length, longest first (evaluation: the largest batch
            comes first, so that too large a budget shows at once).
        epoch: mixed into the seed.

    Returns:
        Index arrays into `lengths_N`.
    """
    if residues < 1:
        raise ConfigError("residues", residues, "a budget of at least 1 residue")
    order_N = np.argsort(-np.asarray(lengths_N), kind="stable")
    sorted_N = np.asarray(lengths_N)[order_N]
    rng = None if seed is None else np.random.default_rng((seed, epoch))
    batches: list[np.ndarray] = []
    start = 0
    while start < len(order_N):
        longest = int(sorted_N[start])
        stop = int(np.searchsorted(-sorted_N, -longest * _BAND, side="right"))
        band = order_N[start:stop]
        if rng is not None:
            band = rng.permutation(band)
        size = max(1, residues // longest)
        if max_records is not None:
            size = min(size, max_records)
        batches += [band[i : i + size] for i in range(0, len(band), size)]
        start = stop
    if rng is not None:
        batches = [batches[i] for i in rng.permutation(len(batches))]
    return batches


def collate(
    rows: Sequence[np.ndarray], padding: int, positions: np.ndarray | None = None
) -> TokenBatch:
    """Pad token arrays to the longest of them.

    >>> batch = collate([np.array([3, 1], np.uint8), np.array([5], np.uint8)], padding=21)
    >>> batch.tokens_BL.tolist(), batch.lengths_B.tolist()
    ([[3, 1], [5, 21]], [2, 1])
    """
    lengths_B = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    longest, filler = int(lengths_B.max()), bytes([padding])
    # Joining padded bytes and widening once is several times cheaper than filling int64 rows.
    padded = b"".join([row.tobytes().ljust(longest, filler) for row in rows])
    tokens_BL = np.frombuffer(padded, np.uint8).reshape(len(rows), longest)
    return TokenBatch(
        tokens_BL=torch.from_numpy(tokens_BL.astype(np.int64)),
        lengths_B=torch.from_numpy(lengths_B),
        positions_B=None if positions is None else torch.from_numpy(np.asarray(positions)),
    )


def padding_mask(lengths_B: Tensor, length: int, device: torch.device | str) -> Tensor:
    """Return mask_BL, True on residues and False on padding."""
    return torch.arange(length, device=device) < lengths_B.to(device)[:, None]
