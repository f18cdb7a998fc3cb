"""An encoder, a level and a pooling: sequences in, one vector each out.

Shape letters: B = sequences, L = longest of them, D = features, V = alphabet size.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from protemb.errors import ConfigError
from protemb.models.encoders import Encoder, ResidueTable
from protemb.models.pooling import POOLINGS, EndsPooling, MeanPooling, Pooling

LONG = 8192
"""A longer sequence, alone in its batch, is embedded piece by piece (see `pieces`)."""


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
        if isinstance(self.pooling, EndsPooling) and level in encoder.mixed_levels:
            expected = f"another one: at level {level!r} the two directions do not stand apart"
            raise ConfigError("pooling", "ends", expected)
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
        return pool_level(self.encoder, self.level, self.pooling, tokens_BL, lengths_B, positions_B)

    @property
    def counts_suffice(self) -> bool:
        """Whether residue counts are all that a vector depends on."""
        return averaged_table(self.encoder, self.level, self.pooling) is not None

    def of_counts(self, counts_BV: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the vectors_BD of sequences with these residue counts, where they suffice."""
        table = averaged_table(self.encoder, self.level, self.pooling)
        assert table is not None, "only where `counts_suffice`"
        return table.mean_of_counts(counts_BV, lengths_B)


def averaged_table(encoder: Encoder, level: str, pooling: Pooling) -> ResidueTable | None:
    """The residue table, where a vector is the mean of its rows and nothing else."""
    return encoder.table_at(level) if isinstance(pooling, MeanPooling) else None


def pool_level(
    encoder: Encoder,
    level: str,
    pooling: Pooling,
    tokens_BL: Tensor,
    lengths_B: Tensor,
    positions_B: Tensor | None = None,
) -> Tensor:
    """Return vectors_BD of a level, in the cheapest way that is exact."""
    table = averaged_table(encoder, level, pooling)
    if table is not None:
        return table.mean(tokens_BL, lengths_B)
    if is_long(encoder, tokens_BL, lengths_B):
        return pooling.over_pieces(encoder.pieces(tokens_BL, level), positions_B)
    return pooling(encoder(tokens_BL, lengths_B, (level,))[level], lengths_B, positions_B)


def is_long(encoder: Encoder, tokens_BL: Tensor, lengths_B: Tensor) -> bool:
    """Whether the batch is one long sequence, whose states are better never held whole.

    Not on a GPU: it has the memory, and its kernels want the weights of a layer in one place.
    """
    plain = not (torch.is_grad_enabled() or encoder.training) and tokens_BL.device.type == "cpu"
    return plain and lengths_B.tolist() == [tokens_BL.shape[1]] and tokens_BL.shape[1] > LONG
