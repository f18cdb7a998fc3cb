"""An encoder, a level and a pooling: sequences in, one vector each out.

Shape letters: B = sequences, L = longest of them, D = features.
"""

from collections.abc import Callable

from torch import Tensor, nn

from protemb.models.encoders import Encoder
from protemb.models.pooling import POOLINGS, MeanPooling, Pooling


class Embedder(nn.Module):
    """One vector per sequence.

    Args:
        encoder: gives the states.
        pooling: class (or partial) that builds a pooling from `(dim, backward_dim)`.
        level: which of the encoder's levels is pooled.
    """

    def __init__(
        self, encoder: Encoder, pooling: Callable[[int, int], Pooling], level: str = "states"
    ) -> None:
        super().__init__()
        self.encoder, self.level = encoder, level
        self.pooling = pooling(encoder.dim(level), encoder.backward_dim(level))
        self.out_dim = self.pooling.out_dim

    @property
    def pooling_name(self) -> str:
        """The pooling's word in configs and on the command line."""
        kinds = {kind: name for name, kind in POOLINGS.items()}
        return kinds.get(type(self.pooling), type(self.pooling).__name__)

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, positions_B: Tensor | None = None
    ) -> Tensor:
        """Return vectors_BD."""
        table = self.encoder.table_at(self.level)
        if table is not None and isinstance(self.pooling, MeanPooling):
            return table.mean(tokens_BL, lengths_B)
        states_BLD = self.encoder(tokens_BL, lengths_B, (self.level,))[self.level]
        return self.pooling(states_BLD, lengths_B, positions_B)
