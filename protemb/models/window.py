"""Pooling around the residue that a variant changes: `window(K)` is the mean of 2 K + 1 states.

Shape letters: B = sequences, L = longest of them, D = features per residue.
"""

import re

import torch
from torch import Tensor

from protemb.errors import ConfigError
from protemb.models.batches import padding_mask
from protemb.models.pooling import POOLINGS, AttentionPooling, EndsPooling, Pooling

_WORD = re.compile(r"window\(([0-9]+)\)")

WORDS = tuple(word for word, kind in POOLINGS.items() if kind is not AttentionPooling)
"""Poolings that need no training, beside `window(K)`."""


def window_size(word: str) -> int | None:
    """Return the K of `window(K)`; None where the word is another pooling's.

    >>> window_size("window(12)"), window_size("mean")
    (12, None)
    """
    found = _WORD.fullmatch(word)
    return int(found[1]) if found else None


def place_matters(word: str) -> bool:
    """Whether the pooling depends on a place in the sequence, not on its states alone.

    >>> [word for word in ("mean", "ends", "position", "window(3)") if place_matters(word)]
    ['position', 'window(3)']
    """
    return window_size(word) is not None or POOLINGS[word].needs_positions


class WindowPooling(Pooling):
    """Mean of the states within `size` residues of a position, cut at the ends of the sequence."""

    needs_positions = True

    def __init__(self, size: int, dim: int, backward_dim: int = 0) -> None:
        super().__init__(dim, backward_dim)
        self.size = size

    def forward(
        self, states_BLD: Tensor, lengths_B: Tensor, positions_B: Tensor | None = None
    ) -> Tensor:
        """Return the mean state around each sequence's 0-based position."""
        if positions_B is None:
            raise ConfigError("pooling", "window", "data with a position for every record")
        length, device = states_BLD.shape[1], states_BLD.device
        away_BL = torch.arange(length, device=device) - positions_B.to(device)[:, None]
        near_BL = (away_BL.abs() <= self.size) & padding_mask(lengths_B, length, device)
        return (states_BLD * near_BL[..., None]).sum(1) / near_BL.sum(1, keepdim=True)


def make_pooling(word: str, dim: int, backward_dim: int = 0) -> Pooling:
    """Build a pooling that needs no training from its word.

    Raises:
        ConfigError: no such pooling.
    """
    size = window_size(word)
    if size is not None:
        return WindowPooling(size, dim, backward_dim)
    if word not in WORDS:
        raise ConfigError("pooling", word, f"one of {', '.join(WORDS)}, window(K)")
    return POOLINGS[word](dim, backward_dim)


def check_pooling(word: str, level: str, mixed_levels: tuple[str, ...] = ()) -> None:
    """Refuse a pooling that needs training, or the ends of a level that has none.

    Args:
        word: the pooling.
        level: what it pools.
        mixed_levels: the encoder's levels in which the directions do not stand apart.

    Raises:
        ConfigError: no such pooling, or not at this level.
    """
    if isinstance(make_pooling(word, 1), EndsPooling) and level in mixed_levels:
        expected = f"another one: at level {level!r} the two directions do not stand apart"
        raise ConfigError("pooling", "ends", expected)
