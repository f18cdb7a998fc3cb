"""Variants through recurrent networks: each runs from its place on, from the wild type's state.

Shape letters: L = residues, B = variants, b = those of them that are running, C = steps of a piece,
H = hidden units, D = features of a level.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from protemb.models.scanning_readers import Reader, make_reader, steps_needed
from protemb.models.scanning_streams import Carried, Stream, every_state
from protemb.models.scanning_wild import WildStates

Wanted = Sequence[tuple[str, str]]


class SharedRuns:
    """One direction: the wild type's pass, and the runs of variants that begin in it.

    A variant's run is a sequence of its own, from its place to the end. The runs of a block are
    dense pieces of a few steps; what has ended, or has come back to the wild type, is left out of
    the next piece.

    Args:
        stream: the direction.
        tokens_L: the wild type's tokens, from left to right.
        wanted: (level, pooling) pairs.
        tolerance: see `scan_vectors`.
        chunk: steps of a piece.
    """

    def __init__(
        self, stream: Stream, tokens_L: Tensor, wanted: Wanted, tolerance: float, chunk: int
    ) -> None:
        self.stream, self.wanted, self.tolerance = stream, wanted, tolerance
        self.tokens_L = tokens_L.flip(0) if stream.backwards else tokens_L
        states, self.carried = every_state(stream, self.tokens_L)
        self.wild = {level: WildStates(states[level]) for level, _ in wanted}
        self.scales = [float(part_LH.abs().max()) for part_LH in self.carried]
        needed = [steps_needed(word, stream.backwards) for _, word in wanted]
        self.horizon = max(len(tokens_L) if steps is None else steps for steps in needed)
        self.chunk = min(chunk, self.horizon)

    def __call__(self, places_B: Tensor, new_B: Tensor) -> list[Tensor]:
        """Return the pooled values_BH, one for each of `wanted`."""
        length, backwards = len(self.tokens_L), self.stream.backwards
        if backwards:
            places_B = length - 1 - places_B
        readers = [
            make_reader(word, backwards, self.wild[level], places_B) for level, word in self.wanted
        ]
        stop_B = (length - places_B).clamp(max=self.horizon)
        rows_b = torch.arange(len(places_B), device=places_B.device)
        carried = self._carried_at(places_B)
        start = 0
        while len(rows_b):
            places_b, stop_b = places_B[rows_b], stop_B[rows_b]
            stop = min(start + self.chunk, int(stop_b.max()))
            tokens_Cb = self._tokens(places_b, start, stop)
            if start == 0:
                tokens_Cb[0] = new_B
            states, carried = self.stream.run(tokens_Cb, carried)
            for (level, _), reader in zip(self.wanted, readers, strict=True):
                reader.take(rows_b, start, states[level])
            start = stop
            on_b = stop_b > start
            if self.tolerance:
                on_b = self._go_on(on_b, rows_b, places_b + start, carried, readers, start)
            if not bool(on_b.all()):
                rows_b, carried = rows_b[on_b], tuple(part_bH[on_b] for part_bH in carried)
        return [reader.values().float() for reader in readers]

    def _carried_at(self, places_B: Tensor) -> Carried:
        return tuple(part_LH[places_B] for part_LH in self.carried)

    def _tokens(self, places_b: Tensor, start: int, stop: int) -> Tensor:
        """The wild type's residues of these steps; past the end, the last one again."""
        steps_C1 = torch.arange(start, stop, device=places_b.device)[:, None]
        return self.tokens_L[(places_b + steps_C1).clamp(max=len(self.tokens_L) - 1)]

    def _go_on(
        self,
        on_b: Tensor,
        rows_b: Tensor,
        times_b: Tensor,
        carried: Carried,
        readers: list[Reader],
        start: int,
    ) -> Tensor:
        """Which of the runs that have not ended are still away from the wild type's."""
        times_b = times_b.clamp(max=len(self.tokens_L))
        back_b = on_b.clone()
        for part_bH, wild_LH, scale in zip(carried, self.carried, self.scales, strict=True):
            away_b = (part_bH - wild_LH[times_b]).abs().amax(1)
            back_b &= away_b < self.tolerance * scale
        for reader in readers:
            reader.rest(rows_b[back_b], start)
        return on_b & ~back_b


class SharedWay:
    """All directions of an encoder, side by side.

    Args:
        streams: its directions.
        tokens_L: the wild type's tokens.
        wanted: (level, pooling) pairs.
        tolerance: see `scan_vectors`.
        chunk: steps of a piece.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        tokens_L: Tensor,
        wanted: Wanted,
        tolerance: float,
        chunk: int,
    ) -> None:
        self.wanted = wanted
        self.runs = [SharedRuns(stream, tokens_L, wanted, tolerance, chunk) for stream in streams]
        self.width = max(runs.chunk for runs in self.runs)

    def __call__(self, places_B: Tensor, new_B: Tensor) -> dict[tuple[str, str], Tensor]:
        """Return the pooled vectors_BD by level and pooling."""
        directions = [runs(places_B, new_B) for runs in self.runs]
        return {
            pair: torch.cat(values, 1)
            for pair, *values in zip(self.wanted, *directions, strict=True)
        }
