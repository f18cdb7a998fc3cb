"""Pooled values of many variants in one direction, collected while their states come and go.

A variant's states before its place are the wild type's. From its place on they come in pieces, and
a variant that has come back to the wild type's states needs no more of them.

Shape letters: B = variants, b = those of them that are running, C = steps of a piece, L = residues,
H = hidden units. Step s of a variant is s residues behind its place.
"""

from abc import ABC, abstractmethod
from functools import partial

import torch
from torch import Tensor

from protemb.models.scanning_wild import WildStates
from protemb.models.window import window_size


class Reader(ABC):
    """One pooling in one direction.

    Args:
        wild: the wild type's states.
        places_B: where each variant differs, as the direction reads.
    """

    def __init__(self, wild: WildStates, places_B: Tensor) -> None:
        self.wild, self.places_B = wild, places_B
        self.length = len(wild.states_LD)

    @abstractmethod
    def take(self, rows_b: Tensor, start: int, states_CbH: Tensor) -> None:
        """Read a piece that begins at step `start`; past a sequence's end it holds anything."""

    @abstractmethod
    def rest(self, rows_b: Tensor, start: int) -> None:
        """From step `start` on, these variants' states are the wild type's."""

    @abstractmethod
    def values(self) -> Tensor:
        """Return the pooled values_BH."""


class StepReader(Reader):
    """The state at a step, or the wild type's at a place that lies before it."""

    def __init__(self, wild: WildStates, places_B: Tensor, where_B: Tensor) -> None:
        super().__init__(wild, places_B)
        self.steps_B = where_B - places_B
        self.values_BH = wild.at(where_B)

    def take(self, rows_b: Tensor, start: int, states_CbH: Tensor) -> None:
        """Keep the state where its step is in the piece."""
        steps_b = self.steps_B[rows_b] - start
        here_b = torch.nonzero((steps_b >= 0) & (steps_b < len(states_CbH)))[:, 0]
        self.values_BH[rows_b[here_b]] = states_CbH[steps_b[here_b], here_b]

    def rest(self, rows_b: Tensor, start: int) -> None:
        """Nothing: until its step comes, the value is the wild type's."""

    def values(self) -> Tensor:
        """Return the states_BH."""
        return self.values_BH


class MeanReader(Reader):
    """Mean of the states within `size` residues of the place, or (None) of all."""

    def __init__(self, wild: WildStates, places_B: Tensor, size: int | None) -> None:
        super().__init__(wild, places_B)
        size = self.length if size is None else size
        first_B = (places_B - size).clamp(min=0)
        self.stop_B = (places_B + size + 1).clamp(max=self.length)
        self.count_B = self.stop_B - first_B
        self.sums_BH = wild.total(first_B, places_B)

    def take(self, rows_b: Tensor, start: int, states_CbH: Tensor) -> None:
        """Add what lies within the window."""
        left_b = self.stop_B[rows_b] - self.places_B[rows_b] - start
        self.sums_BH[rows_b] += _masked(states_CbH, left_b, 0.0).sum(0)

    def rest(self, rows_b: Tensor, start: int) -> None:
        """Add the wild type's states."""
        stop_b = self.stop_B[rows_b]
        first_b = torch.minimum(self.places_B[rows_b] + start, stop_b)
        self.sums_BH[rows_b] += self.wild.total(first_b, stop_b)

    def values(self) -> Tensor:
        """Return the means_BH."""
        return self.sums_BH / self.count_B[:, None]


class MaxReader(Reader):
    """Largest value of each feature."""

    def __init__(self, wild: WildStates, places_B: Tensor) -> None:
        super().__init__(wild, places_B)
        self.tops_BH = wild.top_before(places_B)

    def _raise(self, rows_b: Tensor, tops_bH: Tensor) -> None:
        self.tops_BH[rows_b] = torch.maximum(self.tops_BH[rows_b], tops_bH)

    def take(self, rows_b: Tensor, start: int, states_CbH: Tensor) -> None:
        """Compare with the piece."""
        left_b = self.length - self.places_B[rows_b] - start
        self._raise(rows_b, _masked(states_CbH, left_b, -torch.inf).amax(0))

    def rest(self, rows_b: Tensor, start: int) -> None:
        """Compare with the wild type's states."""
        self._raise(rows_b, self.wild.top_from(self.places_B[rows_b] + start))

    def values(self) -> Tensor:
        """Return the maxima_BH."""
        return self.tops_BH


def _masked(states_CbH: Tensor, left_b: Tensor, filler: float) -> Tensor:
    """The piece with everything from step `left` on replaced."""
    steps = len(states_CbH)
    if int(left_b.min()) >= steps:  # nothing to replace: by far the most frequent case
        return states_CbH
    over_Cb = torch.arange(steps, device=left_b.device)[:, None] >= left_b
    return states_CbH.masked_fill(over_Cb[..., None], filler)


def make_reader(word: str, backwards: bool, wild: WildStates, places_B: Tensor) -> Reader:
    """The reader of a pooling, in a direction that reads from its own left."""
    size = window_size(word)
    if word == "mean" or size is not None:
        return MeanReader(wild, places_B, size)
    if word == "max":
        return MaxReader(wild, places_B)
    if word == "position":
        return StepReader(wild, places_B, places_B)
    at = partial(torch.full_like, places_B)
    # The last residue is the first one that is read from right to left.
    final = word == "ends" or not backwards
    return StepReader(wild, places_B, at(len(wild.states_LD) - 1 if final else 0))


def steps_needed(word: str, backwards: bool) -> int | None:
    """How many states from its place on a variant needs; None for all."""
    size = window_size(word)
    if size is not None:
        return size + 1
    return 1 if word == "position" or (word == "last" and backwards) else None
