"""Recurrent layers over one long sequence in pieces, from left to right, in bounded memory.

A direction that reads from left to right carries its state from piece to piece. One that reads from
right to left runs twice: the first pass begins at the right end and keeps only the state at every
border between pieces; the second one goes from left to right and computes each piece anew from the
state that was kept at its right border. That is exact, in half as much time again for a layer of
two directions, and a layer holds piece * H and L / piece * H numbers instead of L * 2 H.

What a layer of two directions reads must be there whole, for it is read twice. It is let go piece
by piece while the layer's own states come into being, so a stack of such layers holds L * 2 H
numbers of one layer, however many layers it has.

Nothing here needs gradients; where they are recorded, nothing is saved.

Shape letters: L = residues of the sequence, C = residues of a piece, D = input features, H = hidden
units. Pieces are time-major, C1D, as the kernels want them; the 1 is the one sequence.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor, nn

from protemb.models.recurrent import State, Step, one_direction

PIECE = 1024
"""Residues of a piece: long enough to run fast, and small beside the weights."""


def one_way(step: Step, inputs: Iterable[Tensor]) -> Iterator[Tensor]:
    """Run from left to right; the pieces that come in are not held."""
    state: State | None = None
    for inputs_C1D in inputs:
        states_C1H, state = step(inputs_C1D, state)
        yield states_C1H


def both_ways(
    rightward: Step, leftward: Step, inputs: Iterable[tuple[Tensor, Tensor]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Run both directions; yield [left-to-right, right-to-left] of each piece, from the left.

    Args:
        rightward: runs a piece from left to right.
        leftward: runs a reversed piece, that is from right to left.
        inputs: what each of the two reads of each piece. All of it is held, and let go piece by
            piece.
    """
    held = deque(inputs)
    kept: list[State | None] = [None]
    for _, left_C1D in islice(reversed(held), len(held) - 1):
        kept.append(leftward(left_C1D.flip(0), kept[-1])[1])
    state: State | None = None
    while held:
        right_C1D, left_C1D = held.popleft()
        right_C1H, state = rightward(right_C1D, state)
        left_C1H, _ = leftward(left_C1D.flip(0), kept.pop())
        yield right_C1H, left_C1H.flip(0)


def recurrent_pieces(rnn: nn.LSTM | nn.GRU, inputs: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the last layer's states of one sequence: `run_recurrent` in pieces.

    Args:
        rnn: any number of layers, one or two directions; no dropout acts.
        inputs: the sequence's inputs_C1D from left to right.
    """
    for layer in range(rnn.num_layers):
        rightward = one_direction(rnn, layer, "")
        if rnn.bidirectional:
            inputs = _two_directions(rightward, one_direction(rnn, layer, "_reverse"), inputs)
        else:
            inputs = one_way(rightward, inputs)
    return iter(inputs)


def _two_directions(rightward: Step, leftward: Step, inputs: Iterable[Tensor]) -> Iterator[Tensor]:
    pairs = ((inputs_C1D, inputs_C1D) for inputs_C1D in inputs)
    for states in both_ways(rightward, leftward, pairs):
        yield torch.cat(states, 2)
