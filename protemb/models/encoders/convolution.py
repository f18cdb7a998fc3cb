"""Dilated residual convolutions: local order in parallel.

Shape letters: B = sequences, L = longest of them, D = features per residue.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from protemb.errors import ConfigError
from protemb.models.batches import padding_mask
from protemb.models.encoders.base import Encoder, ResidueTable


class ConvolutionEncoder(Encoder):
    """A residue table and residual blocks whose dilation doubles (in the manner of ByteNet).

    With kernel 5 and 4 blocks a state sees 30 residues to either side. Padding is cleared before
    every convolution, so a state never depends on the width of its batch.

    Args:
        embed_dim: features of the residue table.
        hidden_dim: channels.
        layers: residual blocks; block i has dilation 2 ** i.
        kernel: residues per filter, odd.
        dropout: inside each block, while training.
        table: `learned` or `random_frozen`.
        alphabet_size: letters, 21 for `aa21`.
    """

    levels = ("table", "states")

    def __init__(
        self,
        *,
        embed_dim: int = 10,
        hidden_dim: int = 64,
        layers: int = 4,
        kernel: int = 5,
        dropout: float = 0.0,
        table: str = "learned",
        alphabet_size: int = 21,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ConfigError("encoder.kernel", kernel, "an odd number, so that it has a centre")
        self.alphabet_size, self.hidden_dim = alphabet_size, hidden_dim
        self.table = ResidueTable(alphabet_size, embed_dim, table)
        self.widen = nn.Linear(embed_dim, hidden_dim)
        self.blocks = nn.ModuleList(
            _Block(hidden_dim, kernel, 2**i, dropout) for i in range(layers)
        )
        self.sight = sum(2**i * (kernel // 2) for i in range(layers))

    def dim(self, level: str) -> int:
        """Features per residue at a level."""
        self.check_level(level)
        return self.table.dim if level == "table" else self.hidden_dim

    def table_at(self, level: str) -> ResidueTable | None:
        """The residue table, where the level is its rows."""
        return self.table if level == "table" else None

    def reach(self, level: str) -> int | None:
        """Residues to either side within all filters, one behind the other."""
        return 0 if level == "table" else self.sight

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, levels: Sequence[str] = ("states",)
    ) -> dict[str, Tensor]:
        """Return states_BLD for each level; rows past a sequence's end are zero."""
        found = {"table": self.table(tokens_BL)}
        if "states" in levels:
            mask_BL = padding_mask(lengths_B, tokens_BL.shape[1], tokens_BL.device)
            padding_BL1 = ~mask_BL[..., None]
            states_BLD = self.widen(found["table"])
            for block in self.blocks:
                states_BLD = block(states_BLD, padding_BL1)
            found["states"] = states_BLD.masked_fill(padding_BL1, 0.0)
        return {level: found[level] for level in levels}


class _Block(nn.Module):
    """x + W gelu(conv(norm(x))), with the padding cleared in front of the convolution."""

    def __init__(self, dim: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv1d(dim, dim, kernel, padding=padding, dilation=dilation)
        self.act = nn.GELU()
        self.dropout = nn.Dropout(dropout)
        self.mix = nn.Linear(dim, dim)

    def forward(self, states_BLD: Tensor, padding_BL1: Tensor) -> Tensor:
        normed_BLD = self.norm(states_BLD).masked_fill(padding_BL1, 0.0)
        local_BLD = self.conv(normed_BLD.transpose(1, 2)).transpose(1, 2)
        return states_BLD + self.mix(self.dropout(self.act(local_BLD)))
