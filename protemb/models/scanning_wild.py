"""What the states of the wild type give to every variant: sums and maxima of all their stretches.

Shape letters: L = residues, B = variants, D = features per residue.
"""

from functools import cached_property

import torch
from torch import Tensor


class WildStates:
    """The wild type's states at one level, or one direction of them.

    Args:
        states_LD: one row per residue.
    """

    def __init__(self, states_LD: Tensor) -> None:
        self.states_LD = states_LD

    @cached_property
    def _sums_LD(self) -> Tensor:
        """Sums of the first 0, 1, ... L states; in float64, for differences of them."""
        sums_LD = self.states_LD.cumsum(0, dtype=torch.float64)
        return torch.cat([sums_LD.new_zeros(1, sums_LD.shape[1]), sums_LD])

    @cached_property
    def _tops(self) -> tuple[Tensor, Tensor]:
        """Maxima of the first 0, 1, ... L states, and of what lies behind them; of none: -inf."""
        none_1D = torch.full_like(self.states_LD[:1], -torch.inf)
        before_LD = self.states_LD.cummax(0).values
        behind_LD = self.states_LD.flip(0).cummax(0).values.flip(0)
        return torch.cat([none_1D, before_LD]), torch.cat([behind_LD, none_1D])

    def at(self, places_B: Tensor) -> Tensor:
        """Return the states_BD at these places."""
        return self.states_LD[places_B]

    def total(self, first_B: Tensor, stop_B: Tensor) -> Tensor:
        """Return float64 sums_BD of the states from `first` to just before `stop`."""
        return self._sums_LD[stop_B] - self._sums_LD[first_B]

    def top_before(self, stop_B: Tensor) -> Tensor:
        """Return the maxima_BD of the states before these places."""
        return self._tops[0][stop_B]

    def top_from(self, first_B: Tensor) -> Tensor:
        """Return the maxima_BD of the states from these places on."""
        return self._tops[1][first_B]
