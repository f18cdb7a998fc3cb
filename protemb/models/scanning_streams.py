"""Networks whose states follow from what they have read: one direction, with all that it carries.

A stream reads from its own left: for a direction that goes from right to left, the sequence comes
reversed. All layers of it run together, so what it carries is the state of every layer.

Shape letters: L = residues, C = residues of a piece, B = sequences, P = pieces, H = hidden units.
Pieces are time-major, CB and CBH, as the kernels want them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from protemb.models.encoders import Encoder, RecurrentEncoder
from protemb.models.pretrained.unirep import START, UniRep
from protemb.models.recurrent import one_direction

Carried = tuple[Tensor, ...]
"""What all layers carry, each BH."""
Run = Callable[[Tensor, Carried], tuple[dict[str, Tensor], Carried]]
"""Tokens_CB and what is carried before them, to states_CBH by level and what is carried behind."""


@dataclass(frozen=True)
class Stream:
    """One direction of an encoder.

    Attributes:
        run: reads a piece.
        start: what is carried before the first residue, each 1H.
        backwards: it reads from right to left.
    """

    run: Run
    start: Carried
    backwards: bool = False


def streams_of(encoder: Encoder, levels: Sequence[str], length: int) -> list[Stream]:
    """The streams whose states, side by side, are the encoder's at these levels.

    Args:
        encoder: in evaluation mode.
        levels: levels of all that it has read; not those of its residue table.
        length: residues of the sequence.

    Returns:
        The directions of the encoder; nothing where its states are not made of such.
    """
    if isinstance(encoder, UniRep):
        return [_unirep(encoder, levels, length)]
    if not isinstance(encoder, RecurrentEncoder):
        return []
    if not encoder.rnn.bidirectional:
        return [_recurrent(encoder, "")]
    if encoder.rnn.num_layers > 1:  # above the first layer, both directions have read both ways
        return []
    return [_recurrent(encoder, ""), _recurrent(encoder, "_reverse")]


def _recurrent(encoder: RecurrentEncoder, direction: str) -> Stream:
    rnn = encoder.rnn
    steps = [one_direction(rnn, layer, direction) for layer in range(rnn.num_layers)]
    parts = 2 if rnn.mode == "LSTM" else 1

    def run(tokens_CB: Tensor, before: Carried) -> tuple[dict[str, Tensor], Carried]:
        states_CBH, behind = encoder.table(tokens_CB), []
        for layer, step in enumerate(steps):
            own = before[layer * parts : (layer + 1) * parts]
            states_CBH, after = step(states_CBH, tuple(part[None] for part in own))
            behind += [part[0] for part in after]
        return {"states": states_CBH}, tuple(behind)

    zero_1H = rnn.weight_hh_l0.new_zeros(1, rnn.hidden_size)
    return Stream(run, (zero_1H,) * (parts * len(steps)), direction != "")


def _unirep(encoder: UniRep, levels: Sequence[str], length: int) -> Stream:
    # `states`, `cells` and `average` stand behind all layers.
    depth = max(encoder.levels.index(level) for level in levels) + 1
    layers = list(encoder.layers)[:depth]

    def read(words_BC: Tensor, before: Sequence[Carried | None]) -> tuple[dict, Carried]:
        states_BCH, found, behind = encoder.embed(words_BC), {}, []
        lengths_B = torch.full((len(words_BC),), words_BC.shape[1])
        for number, (layer, own) in enumerate(zip(layers, before, strict=True), 1):
            states_BCH, cells_BCH = layer(states_BCH, lengths_B, own)
            behind += [states_BCH[:, -1], cells_BCH[:, -1]]
            found[f"layer{number}"] = states_BCH.transpose(0, 1)
        found |= {"states": states_BCH.transpose(0, 1), "cells": cells_BCH.transpose(0, 1)}
        return found, tuple(behind)

    start_11 = torch.full((1, 1), START, device=encoder.embed.weight.device)
    _, start = read(start_11, [None] * len(layers))

    def run(tokens_CB: Tensor, before: Carried) -> tuple[dict[str, Tensor], Carried]:
        own = [before[2 * layer : 2 * layer + 2] for layer in range(len(layers))]
        found, behind = read(tokens_CB.T + 1, own)
        if "average" in levels:
            found["average"] = (found["states"] * length + start[-2]) / (length + 1)
        return found, behind

    return Stream(run, start)


def every_state(stream: Stream, tokens_L: Tensor) -> tuple[dict[str, Tensor], Carried]:
    """Return the states_LH by level, and what is carried before every residue and behind the last.

    The kernels tell what they carry at the end of a piece only. So the borders of sqrt(L) pieces
    are found first; then all pieces run side by side, one residue at a time.

    Args:
        stream: one direction.
        tokens_L: the sequence, reversed for a stream that reads backwards.

    Returns:
        States_LH by level, and parts of L + 1 rows each.
    """
    length = len(tokens_L)
    size = math.isqrt(length - 1) + 1
    borders = [stream.start]
    for piece_C in tokens_L.split(size)[:-1]:
        borders.append(stream.run(piece_C[:, None], borders[-1])[1])
    filler = tokens_L.new_zeros(-length % size)  # what comes of it is cut off below
    tokens_CP = torch.cat([tokens_L, filler]).view(-1, size).T
    carried: Carried = tuple(torch.cat(parts) for parts in zip(*borders, strict=True))
    found: list[dict[str, Tensor]] = []
    kept: list[Carried] = []
    for tokens_1P in tokens_CP.split(1):
        states, carried = stream.run(tokens_1P, carried)
        found.append({level: states_1PH[0] for level, states_1PH in states.items()})
        kept.append(carried)
    states_of = {
        level: _in_a_row([states[level] for states in found], length) for level in found[0]
    }
    behind = [_in_a_row(list(parts), length) for parts in zip(*kept, strict=True)]
    return states_of, tuple(
        torch.cat([first_1H, part_LH])
        for first_1H, part_LH in zip(stream.start, behind, strict=True)
    )


def _in_a_row(steps: list[Tensor], length: int) -> Tensor:
    """Rows of C steps of P pieces, each PH, as one sequence_LH."""
    return torch.stack(steps, 1).flatten(0, 1)[:length]
