"""The residue table alone: the order-free reference of every comparison."""

from collections.abc import Sequence

from torch import Tensor

from protemb.models.encoders.base import Encoder, ResidueTable


class TableEncoder(Encoder):
    """Embedding rows and nothing else, so `states` and `table` are the same.

    Args:
        embed_dim: features per residue.
        table: `learned` or `random_frozen`.
        alphabet_size: letters, 21 for `aa21`.
    """

    levels = ("table", "states")

    def __init__(
        self, *, embed_dim: int = 10, table: str = "learned", alphabet_size: int = 21
    ) -> None:
        super().__init__()
        self.alphabet_size = alphabet_size
        self.table = ResidueTable(alphabet_size, embed_dim, table)

    def dim(self, level: str) -> int:
        """Features per residue at a level."""
        self.check_level(level)
        return self.table.dim

    def table_at(self, level: str) -> ResidueTable | None:
        """The residue table, where the level is its rows."""
        return self.table

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, levels: Sequence[str] = ("states",)
    ) -> dict[str, Tensor]:
        """Return the table's rows for each level."""
        states_BLD = self.table(tokens_BL)
        return dict.fromkeys(levels, states_BLD)
