"""What a model knows of the order of residues: move them, and see whether its vectors move.

The two sequences below are the same two segments, one after the other in two ways. The average of
their table rows is the same, to the bit, whatever network the table was trained in: a sum has no
order. The states of the network that reads the table row by row do differ, and so does their mean.

>>> import torch
>>> from protemb.analysis.changes import embed_callable
>>> from protemb.models.embedder import Embedder
>>> from protemb.models.encoders import RecurrentEncoder
>>> from protemb.models.pooling import MeanPooling
>>> from protemb.sequences.alphabet import AA21, Tokenizer
>>> from protemb.sequences.shuffles import rotate
>>> human, swine = "MNTQILVFIACVLIEAKGDKICL", "AKGDKICLMNTQILVFIACVLIE"
>>> human_L, swine_L = (Tokenizer().encode("", text.encode()) for text in (human, swine))
>>> bool((rotate(human_L, 15) == swine_L).all())
True
>>> for cell, bidirectional in (("lstm", False), ("lstm", True), ("gru", False)):
...     _ = torch.manual_seed(0)
...     encoder = RecurrentEncoder(cell=cell, hidden_dim=8, bidirectional=bidirectional)
...     for level in ("table", "states"):
...         embed = embed_callable(Embedder(encoder, MeanPooling, level), AA21)
...         human_D, swine_D = embed([human_L, swine_L])
...         print(level, "identical" if (human_D == swine_D).all() else "different")
table identical
states different
table identical
states different
table identical
states different

`order_probe` asks this of whole sets, for every way of moving residues (`CHANGES`). It says how far
vectors move beside the distance between proteins, and beside what one replaced residue does.

Shape letters: N = sequences, S = distinct sequences, X = draws, D = features,
G = groups, R = replicates.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isnan, nan

import numpy as np

from protemb.analysis.changes import CHANGES, YARDSTICK, Tokens, changed
from protemb.intervals import Interval, bootstrap_weights, percentile_interval

TOLERANCE = 1e-5
"""Rounding, which counts as 0: up to this share of the vector's length or, where that is more, of
the typical distance."""


@dataclass(frozen=True)
class Movement:
    """How far vectors move under one change.

    Attributes:
        distance: mean of |v(x') - v(x)| over the sequences, 1 = the typical distance between two
            different sequences. NaN where there is no such distance.
        ratio: this distance over that of a single substitution in the same sequences; NaN where
            the substitution moves nothing.
        moved: share of the sequences whose vector moved at all; NaN where there are none.
        sequences: how many the change can alter. A homopolymer has no other order.
    """

    distance: Interval
    ratio: Interval
    moved: float
    sequences: int

    @property
    def unchanged(self) -> bool:
        """No vector moved by more than rounding."""
        return self.moved == 0

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "distance": self.distance.as_dict(),
            "ratio": self.ratio.as_dict(),
            "moved": None if isnan(self.moved) else self.moved,
            "sequences": self.sequences,
            "unchanged": self.unchanged,
        }


@dataclass(frozen=True)
class OrderProbe:
    """How far vectors move under each of `CHANGES`.

    Attributes:
        movements: by change.
        typical: root mean square distance between the vectors of two distinct sequences of those
            given; None where there is one only, or all have the same vector (but for rounding).
        tolerance: what counts as rounding, see `TOLERANCE`.
    """

    movements: Mapping[str, Movement]
    typical: float | None
    tolerance: float = TOLERANCE

    @property
    def order_free(self) -> bool:
        """No change of order moved any vector: exactly blind to order, as far as was seen."""
        moved = [moves.moved for name, moves in self.movements.items() if name != YARDSTICK]
        # A change that could alter no sequence (NaN) is no evidence, for or against.
        return 0 in moved and all(share == 0 or isnan(share) for share in moved)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "movements": {name: moves.as_dict() for name, moves in self.movements.items()},
            "typical": self.typical,
            "tolerance": self.tolerance,
            "order_free": self.order_free,
        }


def order_probe(
    embed: Callable[[Tokens], np.ndarray], sequences: Tokens, groups_N: np.ndarray, **options: int
) -> OrderProbe:
    """Probe one kind of vector: `embed` gives vectors_ND; all else is as in `order_probes`."""
    return order_probes(lambda tokens: {"": embed(tokens)}, sequences, groups_N, **options)[""]


def order_probes(
    embed: Callable[[Tokens], Mapping[str, np.ndarray]],
    sequences: Tokens,
    groups_N: np.ndarray,
    *,
    draws: int = 3,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, OrderProbe]:
    """Measure how far vectors move when residues do, for several kinds of vectors at once.

    The model reads about 5 * draws + 2 times as many sequences as are given: give it a sample of a
    large set. A draw that leaves the sequence as it was (a palindrome's reversal) is not counted.
    The typical distance is taken as given; intervals hold for the choice of sequences.

    Args:
        embed: N token arrays to vectors_ND by name, such as `levels_callable` makes.
        sequences: N arrays of tokens, none of them empty. What is drawn depends on the seed and the
            residues, so equal sequences are changed alike.
        groups_N: sequences with equal values (similar ones, say) are resampled together.
        draws: of each change that has more than one outcome.
        replicates: bootstrap replicates; 0 for no intervals.
        seed: of the draws and of the resampling.
    """
    if not len(sequences) == len(groups_N) > 0 or draws < 1:
        got = f"{len(sequences)} sequences, {len(groups_N)} groups and {draws} draws"
        raise ValueError(f"got {got}, expected a group for each sequence, and one of all at least")
    vectors_of = {name: _checked(rows, len(sequences)) for name, rows in embed(sequences).items()}
    firsts = list({tokens_L.tobytes(): n for n, tokens_L in enumerate(sequences)}.values())
    typical_of = {name: _typical(rows_ND[firsts]) for name, rows_ND in vectors_of.items()}

    distances: dict[str, dict[str, np.ndarray]] = {name: {} for name in vectors_of}
    for change in CHANGES:
        drawn = changed(sequences, change, draws=draws, seed=seed)
        changed_XN = np.array([list(map(_differs, copies, sequences)) for copies in drawn])
        moved = embed([tokens_L for copies in drawn for tokens_L in copies])
        for name, rows_ND in vectors_of.items():
            moved_XND = _checked(moved[name], changed_XN.size).reshape(-1, *rows_ND.shape)
            distance_XN = np.linalg.norm(moved_XND - rows_ND, axis=2)
            length_N = np.linalg.norm(rows_ND, axis=1)
            rounding_N = TOLERANCE * np.maximum(length_N, typical_of[name] or 0)
            distance_XN[distance_XN <= rounding_N] = 0
            distances[name][change] = _mean_where(distance_XN, changed_XN)

    groups = bootstrap_weights(np.asarray(groups_N), replicates=replicates, seed=seed)
    return {
        name: OrderProbe(
            {change: _movement(found, change, typical_of[name], *groups) for change in CHANGES},
            typical_of[name],
        )
        for name, found in distances.items()
    }


def _movement(
    distances: Mapping[str, np.ndarray],
    change: str,
    typical: float | None,
    group_of_N: np.ndarray,
    weights_RG: np.ndarray,
) -> Movement:
    """Sum up one change; distances_N are NaN for sequences that it cannot alter."""
    seen_N = ~np.isnan(distances[change])
    if not seen_N.any():
        return Movement(Interval(nan, nan, nan), Interval(nan, nan, nan), nan, 0)

    def sums(amount_N: np.ndarray) -> tuple[float, np.ndarray]:
        """Total over the sequences, and in each replicate."""
        total_G = np.bincount(group_of_N[seen_N], amount_N[seen_N], int(group_of_N.max()) + 1)
        return float(total_G.sum()), weights_RG @ total_G

    def quotient(
        above: tuple[float, np.ndarray], below: tuple[float, np.ndarray], scale: float
    ) -> Interval:
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0: undefined in the replicate
            value = np.float64(above[0]) / below[0] / scale
            replicates_R = above[1] / below[1] / scale
        replicates_R[below[1] == 0] = nan
        return percentile_interval(float(value) if below[0] else nan, replicates_R)

    total, count = sums(distances[change]), sums(np.ones(len(seen_N)))
    return Movement(
        quotient(total, count, nan if typical is None else typical),
        quotient(total, sums(distances[YARDSTICK]), 1),
        float((distances[change][seen_N] > 0).mean()),
        int(seen_N.sum()),
    )


def _typical(vectors_SD: np.ndarray) -> float | None:
    """Root mean square distance of two different rows, or None where they are all the same."""
    S = len(vectors_SD)
    if S < 2:
        return None
    variance = vectors_SD.var(0, ddof=1).sum()  # half the mean square distance of two rows
    typical = float(np.sqrt(2 * variance))
    longest = np.linalg.norm(vectors_SD, axis=1).max()
    return typical if typical > TOLERANCE * longest else None


def _checked(vectors_ND: np.ndarray, N: int) -> np.ndarray:
    vectors_ND = np.asarray(vectors_ND, np.float64)
    if vectors_ND.ndim != 2 or len(vectors_ND) != N:
        raise ValueError(f"vectors: got shape {vectors_ND.shape}, expected {N} rows")
    if not np.isfinite(vectors_ND).all():
        raise ValueError("vectors: got NaN or infinity, expected finite numbers")
    return vectors_ND


def _mean_where(distance_XN: np.ndarray, counted_XN: np.ndarray) -> np.ndarray:
    count_N = counted_XN.sum(0)
    sums_N = (distance_XN * counted_XN).sum(0)
    return np.divide(sums_N, count_N, out=np.full(len(count_N), nan), where=count_N > 0)


def _differs(one_L: np.ndarray, other_L: np.ndarray) -> bool:
    return bool((one_L != other_L).any())
