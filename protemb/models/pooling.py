"""Poolings: from the states of a sequence's residues to one vector.

Every pooling is built from the width of the states it will see, `(dim, backward_dim)`, and states
its own width as `out_dim`; padding never has a vote.

Shape letters: B = sequences, L = longest of them, D = features per residue.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from protemb.errors import ConfigError
from protemb.models.batches import padding_mask


class Pooling(nn.Module, ABC):
    """States in, one vector per sequence out.

    Args:
        dim: features per residue.
        backward_dim: how many of them (the last ones) were computed from right to left.
    """

    needs_positions = False

    def __init__(self, dim: int, backward_dim: int = 0) -> None:
        super().__init__()
        self.backward_dim = backward_dim
        self.out_dim = dim

    @abstractmethod
    def forward(
        self, states_BLD: Tensor, lengths_B: Tensor, positions_B: Tensor | None = None
    ) -> Tensor:
        """Return vectors_BD. `lengths_B` may be in host memory."""


def _rows(states_BLD: Tensor, index_B: Tensor) -> Tensor:
    """The state at one index of each sequence."""
    rows_B = torch.arange(len(states_BLD), device=states_BLD.device)
    return states_BLD[rows_B, index_B.to(states_BLD.device)]


class MeanPooling(Pooling):
    """Average over the residues."""

    def forward(
        self, states_BLD: Tensor, lengths_B: Tensor, positions_B: Tensor | None = None
    ) -> Tensor:
        """Return the mean state of each sequence."""
        mask_BL = padding_mask(lengths_B, states_BLD.shape[1], states_BLD.device)
        sums_BD = (states_BLD * mask_BL[..., None]).sum(1)
        return sums_BD / lengths_B.to(states_BLD.device)[:, None]


class MaxPooling(Pooling):
    """Largest value of each feature over the residues."""

    def forward(
        self, states_BLD: Tensor, lengths_B: Tensor, positions_B: Tensor | None = None
    ) -> Tensor:
        """Return the feature-wise maximum of each sequence."""
        mask_BL = padding_mask(lengths_B, states_BLD.shape[1], states_BLD.device)
        return states_BLD.masked_fill(~mask_BL[..., None], -torch.inf).amax(1)


class LastPooling(Pooling):
    """State of the last residue (not of the last column).

    In a bidirectional encoder the right-to-left half of that row has read one residue only; use
    `EndsPooling` when both directions should have read the whole chain.
    """

    def forward(
        self, states_BLD: Tensor, lengths_B: Tensor, positions_B: Tensor | None = None
    ) -> Tensor:
        """Return the state of each sequence's last residue."""
        return _rows(states_BLD, lengths_B - 1)


class EndsPooling(Pooling):
    """Final state of each direction: left-to-right at the last residue, right-to-left at the first.

    Where nothing runs from right to left it equals `LastPooling`.
    """

    def forward(
        self, states_BLD: Tensor, lengths_B: Tensor, positions_B: Tensor | None = None
    ) -> Tensor:
        """Return [forward features at the last residue | backward features at the first]."""
        split = states_BLD.shape[2] - self.backward_dim
        last_BD = _rows(states_BLD[..., :split], lengths_B - 1)
        return torch.cat([last_BD, states_BLD[:, 0, split:]], dim=1)


class PositionPooling(Pooling):
    """State of one residue that the data names (`data.position`)."""

    needs_positions = True

    def forward(
        self, states_BLD: Tensor, lengths_B: Tensor, positions_B: Tensor | None = None
    ) -> Tensor:
        """Return the state at each sequence's 0-based position."""
        if positions_B is None:
            raise ConfigError("pooling", "position", "data with a position for every record")
        return _rows(states_BLD, positions_B)


class AttentionPooling(Pooling):
    """Weighted mean; a learned query scores the residues (softmax over each sequence)."""

    def __init__(self, dim: int, backward_dim: int = 0) -> None:
        super().__init__(dim, backward_dim)
        # Zero scores at the start: training begins from the plain mean.
        self.query = nn.Parameter(torch.zeros(dim))

    def forward(
        self, states_BLD: Tensor, lengths_B: Tensor, positions_B: Tensor | None = None
    ) -> Tensor:
        """Return the attention-weighted mean of each sequence."""
        mask_BL = padding_mask(lengths_B, states_BLD.shape[1], states_BLD.device)
        # Products and sums by row: matrix products and softmax round by the shape of the batch,
        # and over thousands of residues by more than a vector may differ.
        scores_BL = (states_BLD * self.query).sum(2).masked_fill(~mask_BL, -torch.inf)
        weights_BL = torch.exp(scores_BL - scores_BL.amax(1, keepdim=True).detach())
        weighted_BD = (weights_BL[..., None] * states_BLD).sum(1)
        return weighted_BD / weights_BL.sum(1, keepdim=True)


POOLINGS: dict[str, type[Pooling]] = {
    "mean": MeanPooling,
    "max": MaxPooling,
    "last": LastPooling,
    "ends": EndsPooling,
    "attention": AttentionPooling,
    "position": PositionPooling,
}
