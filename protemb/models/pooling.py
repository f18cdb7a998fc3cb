"""Poolings: from the states of a sequence's residues to one vector.

Every pooling is built from the width of the states it will see, `(dim, backward_dim)`, and states
its own width as `out_dim`; padding never has a vote.

Shape letters: B = sequences, L = longest of them, C = residues of a piece, D = features per
residue.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from functools import reduce
from itertools import chain

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

    def over_pieces(self, pieces: Iterable[Tensor], positions_B: Tensor | None = None) -> Tensor:
        """Return the vector_1D of one sequence whose states_1CD come in pieces, left to right.

        The poolings of this module hold one piece at a time; others, unless they do better, all.
        """
        states_1LD = torch.cat(list(pieces), 1)
        return self(states_1LD, torch.tensor([states_1LD.shape[1]]), positions_B)


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

    def over_pieces(self, pieces: Iterable[Tensor], positions_B: Tensor | None = None) -> Tensor:
        """Return the mean state, summed in float64."""
        length, sum_1D = 0, torch.zeros(())
        for states_1CD in pieces:
            length += states_1CD.shape[1]
            sum_1D = sum_1D + states_1CD.sum(1, dtype=torch.float64)
        return (sum_1D / length).to(states_1CD.dtype)


class MaxPooling(Pooling):
    """Largest value of each feature over the residues."""

    def forward(
        self, states_BLD: Tensor, lengths_B: Tensor, positions_B: Tensor | None = None
    ) -> Tensor:
        """Return the feature-wise maximum of each sequence."""
        mask_BL = padding_mask(lengths_B, states_BLD.shape[1], states_BLD.device)
        return states_BLD.masked_fill(~mask_BL[..., None], -torch.inf).amax(1)

    def over_pieces(self, pieces: Iterable[Tensor], positions_B: Tensor | None = None) -> Tensor:
        """Return the feature-wise maximum."""
        return reduce(torch.maximum, (states_1CD.amax(1) for states_1CD in pieces))


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

    def over_pieces(self, pieces: Iterable[Tensor], positions_B: Tensor | None = None) -> Tensor:
        """Return the state of the last residue."""
        return deque(pieces, maxlen=1).pop()[:, -1]


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

    def over_pieces(self, pieces: Iterable[Tensor], positions_B: Tensor | None = None) -> Tensor:
        """Return [forward features at the last residue | backward features at the first]."""
        pieces = iter(pieces)
        first_1CD = next(pieces)
        last_1CD = deque(chain([first_1CD], pieces), maxlen=1).pop()
        split = last_1CD.shape[2] - self.backward_dim
        return torch.cat([last_1CD[:, -1, :split], first_1CD[:, 0, split:]], dim=1)


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

    def over_pieces(self, pieces: Iterable[Tensor], positions_B: Tensor | None = None) -> Tensor:
        """Return the state at the 0-based position; what lies behind it is not computed."""
        if positions_B is None:
            raise ConfigError("pooling", "position", "data with a position for every record")
        place = int(positions_B[0])
        for states_1CD in pieces:
            if place < states_1CD.shape[1]:
                return states_1CD[:, place]
            place -= states_1CD.shape[1]
        raise IndexError(f"position {int(positions_B[0])}: behind the end of the sequence")


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

    def over_pieces(self, pieces: Iterable[Tensor], positions_B: Tensor | None = None) -> Tensor:
        """Return the attention-weighted mean; weights are relative to the largest score so far."""
        top_1, total_1, sum_1D = torch.tensor([-torch.inf]), torch.zeros(1), torch.zeros(1, 1)
        for states_1CD in pieces:
            scores_1C = (states_1CD * self.query).sum(2)
            before_1, top_1 = top_1, torch.maximum(top_1, scores_1C.amax(1))
            faded_1, weights_1C = torch.exp(before_1 - top_1), torch.exp(scores_1C - top_1)
            weighted_1CD = weights_1C[..., None] * states_1CD
            total_1 = total_1 * faded_1 + weights_1C.sum(1, dtype=torch.float64)
            sum_1D = sum_1D * faded_1 + weighted_1CD.sum(1, dtype=torch.float64)
        return (sum_1D / total_1).to(states_1CD.dtype)


POOLINGS: dict[str, type[Pooling]] = {
    "mean": MeanPooling,
    "max": MaxPooling,
    "last": LastPooling,
    "ends": EndsPooling,
    "attention": AttentionPooling,
    "position": PositionPooling,
}
