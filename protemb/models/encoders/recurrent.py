"""LSTM and GRU encoders, one or two directions."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from protemb.errors import ConfigError
from protemb.models.encoders.base import Encoder, ResidueTable
from protemb.models.pieces import PIECE, recurrent_pieces
from protemb.models.recurrent import run_recurrent

_CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentEncoder(Encoder):
    """A residue table and a recurrent network over it.

    At level `states` a bidirectional encoder gives [left-to-right | right-to-left] of the last
    layer: the first half has read residues 1..i, the second half residues i..end.

    Args:
        cell: `lstm` (Hochreiter and Schmidhuber 1997) or `gru` (Cho et al. 2014).
        embed_dim: features of the residue table.
        hidden_dim: hidden units per direction.
        layers: stacked layers.
        bidirectional: read both ways.
        dropout: between layers, while training.
        table: `learned` or `random_frozen`.
        path: how ragged batches run, see `protemb.models.recurrent.PATHS`; the result is the same.
        alphabet_size: letters, 21 for `aa21`.
    """

    levels = ("table", "states")

    def __init__(
        self,
        *,
        cell: str = "lstm",
        embed_dim: int = 10,
        hidden_dim: int = 64,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        table: str = "learned",
        path: str = "auto",
        alphabet_size: int = 21,
    ) -> None:
        super().__init__()
        if cell not in _CELLS:
            raise ConfigError("encoder.cell", cell, f"one of {', '.join(_CELLS)}")
        if dropout and layers == 1:
            raise ConfigError("encoder.dropout", dropout, "0 for one layer (it acts between)")
        self.alphabet_size, self.path = alphabet_size, path
        self.table = ResidueTable(alphabet_size, embed_dim, table)
        self.rnn = _CELLS[cell](
            embed_dim,
            hidden_dim,
            num_layers=layers,
            batch_first=True,
            dropout=dropout,
            bidirectional=bidirectional,
        )

    def dim(self, level: str) -> int:
        """Features per residue at a level."""
        self.check_level(level)
        if level == "table":
            return self.table.dim
        return self.rnn.hidden_size * (1 + self.rnn.bidirectional)

    def backward_dim(self, level: str) -> int:
        """Right-to-left features: half of the states of a bidirectional encoder."""
        return self.rnn.hidden_size * int(level == "states" and self.rnn.bidirectional)

    def table_at(self, level: str) -> ResidueTable | None:
        """The residue table, where the level is its rows."""
        return self.table if level == "table" else None

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, levels: Sequence[str] = ("states",)
    ) -> dict[str, Tensor]:
        """Return states_BLD for each level; rows past a sequence's end are zero."""
        found = {"table": self.table(tokens_BL)}
        if "states" in levels:
            found["states"] = run_recurrent(self.rnn, found["table"], lengths_B, self.path)
        return {level: found[level] for level in levels}

    def pieces(self, tokens_1L: Tensor, level: str, chunk: int = PIECE) -> Iterator[Tensor]:
        """Yield the states_1CD of one sequence in pieces, from left to right."""
        self.check_level(level)
        rows = super().pieces(tokens_1L, "table", chunk)
        if level == "table":
            yield from rows
            return
        for states_C1H in recurrent_pieces(self.rnn, (row.transpose(0, 1) for row in rows)):
            yield states_C1H.transpose(0, 1)
