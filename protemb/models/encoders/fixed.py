"""Residue tables that are known, not trained: the controls of every trained or published encoder.

Shape letters: A = the 20 residues, D = features per residue.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from protemb.errors import ConfigError
from protemb.models.encoders.base import Encoder, ResidueTable
from protemb.sequences.alphabet import AA21
from protemb.sequences.amino_acids import (
    GRANTHAM_COMPOSITION,
    GRANTHAM_POLARITY,
    HYDROPATHY,
    RESIDUES,
    VOLUME,
    blosum62,
    charges,
)

FIXED_KINDS = ("onehot", "blosum62", "physchem")
PHYSCHEM = ("hydropathy", "volume", "charge", "Grantham composition", "Grantham polarity")
"""Features of `physchem`, in order."""


def fixed_rows(kind: str) -> np.ndarray:
    """Return float64 rows_AD of the 20 residues, in the order of `amino_acids.RESIDUES`.

    - `onehot`: one column for each residue.
    - `blosum62`: a residue's row of scores in half bits (Henikoff and Henikoff 1992).
    - `physchem`: `PHYSCHEM` (Kyte and Doolittle 1982; Zamyatnin 1972; side chain charge at pH 7;
      Grantham 1974), each with mean 0 and variance 1 over the 20 residues, as they have different
      units.

    Raises:
        ConfigError: no such kind.
    """
    if kind not in FIXED_KINDS:
        raise ConfigError("encoder.kind", kind, f"one of {', '.join(FIXED_KINDS)}")
    if kind == "onehot":
        return np.eye(len(RESIDUES))
    if kind == "blosum62":
        return blosum62()
    columns = (HYDROPATHY, VOLUME, charges(), GRANTHAM_COMPOSITION, GRANTHAM_POLARITY)
    raw_AD = np.stack(columns, axis=1)
    return (raw_AD - raw_AD.mean(0)) / raw_AD.std(0)


class FixedTable(Encoder):
    """Known rows and nothing else, so `states` and `table` are the same; nothing is trained.

    X, a residue that is not known, has the mean of the 20 rows. The alphabet is `aa21`.

    Args:
        kind: `onehot`, `blosum62` or `physchem`, see `fixed_rows`.
    """

    levels = ("table", "states")
    alphabet_size = AA21.size

    def __init__(self, *, kind: str = "onehot") -> None:
        super().__init__()
        rows_AD = fixed_rows(kind)
        self.table = ResidueTable(AA21.size, rows_AD.shape[1], "random_frozen")
        # The letters of aa21 are the 20 residues and X; the padding row behind them is zero.
        known = np.vstack([rows_AD, rows_AD.mean(0), np.zeros(rows_AD.shape[1])])
        with torch.no_grad():
            self.table.rows.weight.copy_(torch.from_numpy(known))

    def dim(self, level: str) -> int:
        """Features per residue at a level."""
        self.check_level(level)
        return self.table.dim

    def table_at(self, level: str) -> ResidueTable | None:
        """The residue table: every level is its rows."""
        return self.table

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, levels: Sequence[str] = ("states",)
    ) -> dict[str, Tensor]:
        """Return the table's rows for each level."""
        for level in levels:
            self.check_level(level)
        return dict.fromkeys(levels, self.table(tokens_BL))
