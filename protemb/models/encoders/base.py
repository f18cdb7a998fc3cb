"""What every encoder offers, and the residue table they all start from.

Shape letters: B = sequences, L = longest of them, C = residues of a piece, D = features per
residue, V = alphabet size.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from protemb.errors import ConfigError
from protemb.models.pieces import PIECE

TABLE_KINDS = ("learned", "random_frozen")


class Encoder(nn.Module, ABC):
    """Turns residues into states at named levels.

    Concrete encoders are final: wrap one, never extend it.

    Attributes:
        levels: names of what can be read, from the input side to the output side.
        alphabet_size: letters the encoder knows; the padding token is this number.
        mixed_levels: levels in which features of both directions do not stand apart, so that a
            sequence has no end where all of them have read everything.
    """

    levels: tuple[str, ...]
    alphabet_size: int
    mixed_levels: tuple[str, ...] = ()

    @abstractmethod
    def dim(self, level: str) -> int:
        """Features per residue at a level."""

    def backward_dim(self, level: str) -> int:
        """How many of these features (the last ones) were computed from right to left."""
        return 0

    @abstractmethod
    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, levels: Sequence[str] = ("states",)
    ) -> dict[str, Tensor]:
        """Return states_BLD for each level asked for; rows past a sequence's end are zero."""

    def table_at(self, level: str) -> "ResidueTable | None":
        """The residue table whose rows this level is, when it is nothing but that."""
        return None

    def reach(self, level: str) -> int | None:
        """How many residues to either side a state can read; None where that is all of them."""
        return None if self.table_at(level) is None else 0

    def pieces(self, tokens_1L: Tensor, level: str, chunk: int = PIECE) -> Iterator[Tensor]:
        """Yield the states_1CD of one sequence in pieces, from left to right.

        Side by side they are what the encoder itself gives (float rounding aside). Encoders that
        can, hold no more than a piece at a time; here, those whose states read a limited
        neighbourhood. The others give one piece. Call it where gradients are off.

        Args:
            tokens_1L: one sequence without padding.
            level: one of the encoder's levels.
            chunk: residues of a piece; more where a state's neighbourhood is wider.
        """
        length, reach = tokens_1L.shape[1], self.reach(level)
        if reach is None:
            reach, chunk = 0, length
        chunk = max(chunk, 2 * reach)
        for start in range(0, length, chunk):
            first, last = max(0, start - reach), min(length, start + chunk + reach)
            window_1L, lengths_1 = tokens_1L[:, first:last], torch.tensor([last - first])
            states_1LD = self(window_1L, lengths_1, (level,))[level]
            yield states_1LD[:, start - first : start - first + chunk]

    def check_level(self, level: str) -> None:
        """Raise ConfigError unless this encoder has the level."""
        if level not in self.levels:
            raise ConfigError("level", level, f"one of {', '.join(self.levels)}")


class ResidueTable(nn.Module):
    """One row of features per letter; the padding row is zero.

    Args:
        alphabet_size: letters V; the table has V + 1 rows, the last for padding.
        dim: features per residue.
        kind: `learned`, or `random_frozen`: drawn once (standard normal) and never trained, the
            control that shows what learning the table adds.
    """

    def __init__(self, alphabet_size: int, dim: int, kind: str = "learned") -> None:
        super().__init__()
        if kind not in TABLE_KINDS:
            raise ConfigError("encoder.table", kind, f"one of {', '.join(TABLE_KINDS)}")
        self.alphabet_size, self.dim = alphabet_size, dim
        self.rows = nn.Embedding(alphabet_size + 1, dim, padding_idx=alphabet_size)
        self.rows.weight.requires_grad_(kind == "learned")

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """Return the residues' rows, states_BLD."""
        return self.rows(tokens_BL)

    def mean(self, tokens_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the mean row of each sequence, vectors_BD, from residue counts.

        Counting and one small matrix product replace the (B, L, D) gather: the same sum in another
        order.
        """
        # Whole numbers, so float32 counts them exactly, in any order.
        counts_BV = torch.zeros(len(tokens_BL), self.alphabet_size + 1, device=tokens_BL.device)
        counts_BV.scatter_add_(1, tokens_BL, counts_BV.new_ones(()).expand_as(tokens_BL))
        return self.mean_of_counts(counts_BV[:, :-1], lengths_B)

    def mean_of_counts(self, counts_BV: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the mean row of sequences with these numbers of each letter, vectors_BD."""
        weight_VD = self.rows.weight
        shares_BV = counts_BV.to(weight_VD.dtype) / lengths_B.to(weight_VD.device)[:, None]
        return shares_BV @ weight_VD[:-1]
