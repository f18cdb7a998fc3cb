"""Vectors of many variants of one protein, each with one residue replaced.

What a variant has in common with the wild type is computed once:

- one direction (LSTM, GRU, UniRep; any number of layers): every state before the place;
- both directions in one layer: the states before the place of the one, and behind it of the other;
- a neighbourhood (convolutions, tables): all but the states that can read the place;
- anything else, and two directions in several layers: nothing. Every state has read every residue.

Shape letters: V = variants, B = variants of a block, L = residues, D = features.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from protemb.errors import ConfigError
from protemb.models.devices import inference
from protemb.models.encoders import Encoder
from protemb.models.scanning_local import LocalWay, PlainWay
from protemb.models.scanning_recurrent import SharedWay, Wanted
from protemb.models.scanning_streams import streams_of
from protemb.models.window import check_pooling

NOTHING = "nothing: every state depends on every residue"
RESIDUES = 16_384
"""Default budget of residues that are computed at once; twice that left the processor's caches."""
CHUNK = 16
"""Default steps of a piece of the runs: the fewer, the sooner a run that has ended is left out."""


class _Way(Protocol):
    width: int
    """Residues that one variant brings into a block."""

    def __call__(self, places_B: Tensor, new_B: Tensor) -> dict[tuple[str, str], Tensor]: ...


def shares(encoder: Encoder, level: str) -> str:
    """Say what a variant's states at a level have in common with the wild type's.

    Raises:
        ConfigError: no such level.

    >>> from protemb.models.encoders import RecurrentEncoder
    >>> shares(RecurrentEncoder(bidirectional=True), "states")
    'prefix and suffix'
    """
    encoder.check_level(level)
    reach = encoder.reach(level)
    if reach is not None:
        return f"window of ±{reach}"
    with inference():
        directions = len(streams_of(encoder, [level], 1))
    return (NOTHING, "prefix", "prefix and suffix")[directions]


@inference()
def scan_vectors(
    encoder: Encoder,
    tokens_L: np.ndarray,
    places_V: np.ndarray,
    new_V: np.ndarray,
    wanted: Sequence[tuple[str, str]],
    *,
    tolerance: float = 0.0,
    residues: int = RESIDUES,
    chunk: int = CHUNK,
    progress: Callable[[int], None] | None = None,
) -> dict[tuple[str, str], np.ndarray]:
    """Return the vectors of variants, as if each were embedded alone (float rounding aside).

    Args:
        encoder: is put into evaluation mode.
        tokens_L: the wild type's tokens.
        places_V: 0-based place of each variant's one substitution, in any order.
        new_V: its token there; the wild type's own gives the wild type's vector.
        wanted: (level, pooling) pairs; poolings are `mean`, `max`, `last`, `ends`, `position` and
            `window(K)`, at the variant's place.
        tolerance: 0 is exact. Above, a run in a recurrent network ends where everything that it
            carries (hidden and cell states) differs from the wild type's, after the same residue,
            by less than this share of the largest such value in the wild type; the wild type's
            states follow from there on. The rest of the difference is then lost. A network that
            forgets makes it smaller with every residue; one that lets small differences grow does
            not, and no bound holds for it. Measured over 566 residues, as a share of the largest
            value: in a BiLSTM with random weights, nothing that rounding would not do; in six LSTMs
            and BiLSTMs trained on hemagglutinins, up to 2e-5 at 1e-6, 2e-3 at 1e-4, and anything
            (2, in one network) at 1e-2. Trained networks also gain less time. It says nothing where
            no run is shared.
        residues: budget of residues that are computed at once.
        chunk: steps of a piece of the runs.
        progress: called with the number of variants after each block.

    Returns:
        Float32 vectors_VD by (level, pooling).

    Raises:
        ConfigError: no such level or pooling, or a negative tolerance.
        ValueError: places or tokens that the protein or the alphabet does not have.
    """
    _check(encoder, tokens_L, places_V, new_V, wanted)
    if not 0 <= tolerance < 1:
        raise ConfigError("tolerance", tolerance, "a share from 0 (exact) to below 1")
    encoder.eval()
    device = next((tensor.device for tensor in encoder.parameters()), torch.device("cpu"))
    wild_L = torch.as_tensor(np.asarray(tokens_L, np.int64), device=device)
    ways = _ways(encoder, wild_L, wanted, tolerance, chunk)
    # Neighbours in the protein have runs of nearly the same length.
    order_V = np.argsort(places_V, kind="stable")
    rows = max(1, residues // max(way.width for way in ways))
    found = {
        (level, word): np.empty((len(order_V), encoder.dim(level)), np.float32)
        for level, word in wanted
    }
    for start in range(0, len(order_V), rows):
        block_B = order_V[start : start + rows]
        places_B, new_B = (
            torch.as_tensor(np.asarray(values_V[block_B], np.int64), device=device)
            for values_V in (places_V, new_V)
        )
        for way in ways:
            for pair, vectors_BD in way(places_B, new_B).items():
                found[pair][block_B] = vectors_BD.cpu().numpy()
        if progress is not None:
            progress(len(block_B))
    return found


def _check(
    encoder: Encoder, tokens_L: np.ndarray, places_V: np.ndarray, new_V: np.ndarray, wanted: Wanted
) -> None:
    for level, word in wanted:
        encoder.check_level(level)
        check_pooling(word, level, encoder.mixed_levels)
    if not wanted or not len(tokens_L) or len(places_V) != len(new_V):
        raise ValueError("a level and a pooling, a sequence, and a token for every place")
    for name, values, stop in (
        ("tokens_L", tokens_L, encoder.alphabet_size),
        ("places_V", places_V, len(tokens_L)),
        ("new_V", new_V, encoder.alphabet_size),
    ):
        if len(values) and not (0 <= np.min(values) and np.max(values) < stop):
            raise ValueError(f"{name} must lie in 0 to {stop - 1}")


def _ways(
    encoder: Encoder, tokens_L: Tensor, wanted: Wanted, tolerance: float, chunk: int
) -> list[_Way]:
    """The cheapest exact way for every level asked for."""
    local: dict[str, list[str]] = {}
    whole = []
    for level, word in dict.fromkeys(wanted):
        if encoder.reach(level) is None:
            whole.append((level, word))
        else:
            local.setdefault(level, []).append(word)
    ways: list[_Way] = [LocalWay(encoder, level, tokens_L, words) for level, words in local.items()]
    if whole:
        streams = streams_of(encoder, [level for level, _ in whole], len(tokens_L))
        ways.append(
            SharedWay(streams, tokens_L, whole, tolerance, chunk)
            if streams
            else PlainWay(encoder, tokens_L, whole)
        )
    return ways
