"""Scores of residue labels, each with a bootstrap interval over groups of proteins.

All scores look at residues that count. Where two runs of a label are compared, a residue that does
not count ends a run. Per protein means leave out proteins without a residue that counts.

Segment overlap is SOV'99 of Zemla, Venclovas, Fidelis and Rost, Proteins 34:220 (1999), as a
share. With s1 a true and s2 a predicted run of the label i, and S(i) all pairs that overlap,

    SOV = 1/N * sum over i, S(i) of (minov + delta) / maxov * len(s1)
    delta = min(maxov - minov, minov, int(len(s1) / 2), int(len(s2) / 2))

minov is the length of their overlap and maxov that of their union. N adds up len(s1) over all
pairs of all labels, and over the true runs that no predicted run of the label overlaps.

A topology is right when the numbers of true and predicted membrane segments are equal and each
pair of them, from left to right, has one label and shares five residues or more (Bepler and
Berger, ICLR 2019). The kind of a protein is right when the marks that its predicted
labels make are those of the true ones.

Shape letters: T = residues of all proteins, P = proteins, C = labels, G = groups, F = counts,
R = bootstrap replicates, S = pairs of runs.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from protemb.intervals import Interval, bootstrap_weights, percentile_interval
from protemb.sequences.segments import (
    NOT_COUNTED,
    SHORTEST,
    Segments,
    find_segments,
    present_marks,
)


class Tagging(NamedTuple):
    """Labels of some proteins, and what of them is scored.

    Attributes:
        codes_T: true labels, proteins end to end; 255 does not count.
        offsets_P1: where each protein begins.
        letters: the C labels.
        segments: codes of membrane segments; none for no topology.
        marks: the codes that make each mark; none for no kinds.
    """

    codes_T: np.ndarray
    offsets_P1: np.ndarray
    letters: str
    segments: Sequence[int] = ()
    marks: Sequence[Sequence[int]] = ()

    @property
    def proteins(self) -> int:
        """P."""
        return len(self.offsets_P1) - 1

    @property
    def protein_T(self) -> np.ndarray:
        """The protein of each residue."""
        return np.repeat(np.arange(self.proteins), np.diff(self.offsets_P1))

    def masked(self, predicted_T: np.ndarray) -> np.ndarray:
        """Predictions without those of residues that do not count."""
        if predicted_T.shape != self.codes_T.shape:
            got = f"got {predicted_T.shape} predictions"
            raise ValueError(f"{got}, expected {self.codes_T.shape}, one per residue")
        return np.where(self.codes_T == NOT_COUNTED, np.uint8(NOT_COUNTED), predicted_T)


def tagging_scores(
    tagging: Tagging,
    predicted_T: np.ndarray,
    groups_P: np.ndarray,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Score predicted labels, with intervals that resample whole groups of proteins.

    Args:
        tagging: true labels.
        predicted_T: uint8 code of every residue.
        groups_P: proteins with equal values (like sequences) are resampled together.
        replicates: bootstrap replicates; 0 for no intervals.
        seed: of the resampling; the same groups and seed draw the same replicates.

    Returns:
        `accuracy` (share of all residues), `protein_accuracy` (mean over proteins), `macro_f1`
        (mean over the labels that occur), `f1/LETTER`, `sov` (mean over proteins); with membrane
        segments `topology` (share of proteins) and `membrane_topology` (of those that have a
        segment); with marks `kind` (share of proteins) and `balanced_kind` (mean over kinds).
    """
    values, replicates_of = bootstrap_tagging(
        tagging, predicted_T, groups_P, replicates=replicates, seed=seed
    )
    return {name: percentile_interval(value, replicates_of[name]) for name, value in values.items()}


def compare_taggings(
    tagging: Tagging,
    predictions: Mapping[str, np.ndarray],
    groups_P: np.ndarray,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[dict[str, dict[str, Interval]], dict[str, tuple[str, Interval]]]:
    """Score several predictions on the same replicates, and the first against the best other.

    Args:
        tagging: true labels.
        predictions: codes_T by name, ours first.
        groups_P: as in `tagging_scores`.
        replicates: bootstrap replicates.
        seed: of the resampling.

    Returns:
        The scores by name, and for every score that is not of a single label: the name of the best
        other prediction by that score, and the difference of ours to it, paired by replicate.
    """
    found = {
        name: bootstrap_tagging(tagging, codes_T, groups_P, replicates=replicates, seed=seed)
        for name, codes_T in predictions.items()
    }
    scores = {
        name: {key: percentile_interval(value, drawn[key]) for key, value in values.items()}
        for name, (values, drawn) in found.items()
    }
    own, *others = found
    differences = {}
    for key in [key for key in scores[own] if "/" not in key] if others else []:
        rival = max(others, key=lambda name: np.nan_to_num(found[name][0][key], nan=-1.0))
        (value, drawn), (other, other_drawn) = found[own], found[rival]
        gap = percentile_interval(value[key] - other[key], drawn[key] - other_drawn[key])
        differences[key] = rival, gap
    return scores, differences


def bootstrap_tagging(
    tagging: Tagging,
    predicted_T: np.ndarray,
    groups_P: np.ndarray,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The scores, and replicates_R of each, by name."""
    sums = _Sums(tagging, predicted_T)
    group_of_P, weights_RG = bootstrap_weights(groups_P, replicates=replicates, seed=seed)
    sums_GF = np.zeros((weights_RG.shape[1], sums.counts_PF.shape[1]))
    np.add.at(sums_GF, group_of_P, sums.counts_PF)
    values = sums.scores(sums_GF.sum(0, keepdims=True))
    drawn = sums.scores(weights_RG.astype(np.float64) @ sums_GF)
    return {name: float(value_1[0]) for name, value_1 in values.items()}, drawn


def confusion_counts(tagging: Tagging, predicted_T: np.ndarray) -> np.ndarray:
    """Counts_CC of residues by true (rows) and predicted label (columns)."""
    C, counted_T = len(tagging.letters), tagging.codes_T != NOT_COUNTED
    pairs = tagging.codes_T[counted_T].astype(np.int64) * C + predicted_T[counted_T]
    return np.bincount(pairs, minlength=C * C).reshape(C, C)


class _Sums:
    """Counts of each protein, of whose sums every score is a function."""

    def __init__(self, tagging: Tagging, predicted_T: np.ndarray) -> None:
        self.letters = tagging.letters
        C, P = len(tagging.letters), tagging.proteins
        predicted_T = tagging.masked(predicted_T)
        true, predicted = (
            find_segments(codes_T, tagging.offsets_P1) for codes_T in (tagging.codes_T, predicted_T)
        )
        counted_T = tagging.codes_T != NOT_COUNTED
        pairs = tagging.codes_T[counted_T].astype(np.int64) * C + predicted_T[counted_T]
        key = tagging.protein_T[counted_T] * (C * C) + pairs
        counts_PE = np.bincount(key, minlength=P * C * C).reshape(P, C * C)
        size_P = counts_PE.sum(1)
        right_P = counts_PE[:, :: C + 1].sum(1)
        scored_P = size_P > 0
        columns = {
            "scored": scored_P,
            "share": np.divide(right_P, size_P, out=np.zeros(P), where=scored_P),
            "sov": segment_overlap(tagging, predicted_T),
        }
        if len(tagging.segments):
            member_P = np.zeros(P, bool)
            member_P[true.protein_G[np.isin(true.code_G, list(tagging.segments))]] = True
            right = _topologies(true, predicted, tagging.segments, P) & scored_P
            columns |= {"topology": right, "members": member_P, "member_topology": right & member_P}
        self.kinds = 0
        if tagging.marks:
            powers_K = 2 ** np.arange(len(tagging.marks))
            true_P, predicted_P = (
                present_marks(found, P, tagging.marks) @ powers_K for found in (true, predicted)
            )
            kinds, code_P = np.unique(true_P, return_inverse=True)
            self.kinds = len(kinds)
            for kind in range(len(kinds)):
                own_P = (code_P == kind) & scored_P
                columns[f"kind/{kind}"] = own_P
                columns[f"right kind/{kind}"] = own_P & (true_P == predicted_P)
        self.names = list(columns)
        self.counts_PF = np.column_stack([counts_PE, *columns.values()]).astype(np.float64)

    def scores(self, sums_RF: np.ndarray) -> dict[str, np.ndarray]:
        """Every score from sums of `counts_PF`, a row at a time."""
        C = len(self.letters)
        counts_RCC = sums_RF[:, : C * C].reshape(-1, C, C)
        sums = dict(zip(self.names, sums_RF[:, C * C :].T, strict=True))
        true_RC, predicted_RC = counts_RCC.sum(2), counts_RCC.sum(1)
        right_RC = np.einsum("rcc->rc", counts_RCC)
        # A label that does not occur has no F1: it is left out of the mean.
        f1_RC = np.where(true_RC > 0, _ratio(2 * right_RC, true_RC + predicted_RC), np.nan)
        found: dict[str, np.ndarray] = {
            "accuracy": _ratio(right_RC.sum(1), true_RC.sum(1)),
            "protein_accuracy": _ratio(sums["share"], sums["scored"]),
            "macro_f1": _mean_defined(f1_RC),
            "sov": _ratio(sums["sov"], sums["scored"]),
        }
        if "topology" in sums:
            found["topology"] = _ratio(sums["topology"], sums["scored"])
            found["membrane_topology"] = _ratio(sums["member_topology"], sums["members"])
        if self.kinds:
            own_RK = np.column_stack([sums[f"kind/{k}"] for k in range(self.kinds)])
            right_RK = np.column_stack([sums[f"right kind/{k}"] for k in range(self.kinds)])
            found["kind"] = _ratio(right_RK.sum(1), own_RK.sum(1))
            found["balanced_kind"] = _mean_defined(_ratio(right_RK, own_RK))
        return found | {f"f1/{letter}": f1_RC[:, c] for c, letter in enumerate(self.letters)}


def segment_overlap(tagging: Tagging, predicted_T: np.ndarray) -> np.ndarray:
    """SOV'99 of each protein, sov_P, as a share (the paper gives per cent); 0 where none counts."""
    predicted_T = tagging.masked(predicted_T)
    P, offsets_P1 = tagging.proteins, tagging.offsets_P1
    true, predicted = (find_segments(codes, offsets_P1) for codes in (tagging.codes_T, predicted_T))
    # Two runs overlap in one stretch, and every stretch of agreement lies in one run of each.
    agreed_T = np.where(tagging.codes_T == predicted_T, tagging.codes_T, NOT_COUNTED)
    shared = find_segments(agreed_T.astype(np.uint8), offsets_P1)
    true_S = np.searchsorted(true.start_G, shared.start_G, side="right") - 1
    predicted_S = np.searchsorted(predicted.start_G, shared.start_G, side="right") - 1
    first_S, second_S = true.length_G[true_S], predicted.length_G[predicted_S]
    minov_S = shared.length_G
    maxov_S = first_S + second_S - minov_S
    delta_S = np.minimum.reduce([maxov_S - minov_S, minov_S, first_S // 2, second_S // 2])
    gained_P = np.bincount(shared.protein_G, (minov_S + delta_S) / maxov_S * first_S, minlength=P)
    missed_G = np.ones(len(true.start_G), bool)
    missed_G[true_S] = False
    size_P = np.bincount(shared.protein_G, first_S, minlength=P) + np.bincount(
        true.protein_G[missed_G], true.length_G[missed_G], minlength=P
    )
    return _ratio(gained_P, size_P, nothing=0.0)


def _topologies(
    true: Segments, predicted: Segments, codes: Sequence[int], proteins: int
) -> np.ndarray:
    """Whether each protein's membrane segments are right, right_P."""
    true, predicted = (
        Segments(*(column[np.isin(found.code_G, list(codes))] for column in found))
        for found in (true, predicted)
    )
    number_P, other_P = (
        np.bincount(found.protein_G, minlength=proteins) for found in (true, predicted)
    )
    right_P = number_P == other_P
    # Where the numbers are equal, the segments stand in pairs in the same order.
    (code_G, start_G, stop_G), (code2_G, start2_G, stop2_G) = (
        [column[right_P[found.protein_G]] for column in found[1:]] for found in (true, predicted)
    )
    shared_G = np.minimum(stop_G, stop2_G) - np.maximum(start_G, start2_G)
    wrong_G = (shared_G < SHORTEST) | (code_G != code2_G)
    right_P[true.protein_G[right_P[true.protein_G]][wrong_G]] = False
    return right_P


def _ratio(part: np.ndarray, whole: np.ndarray, nothing: float = np.nan) -> np.ndarray:
    empty = np.full(np.broadcast_shapes(part.shape, whole.shape), nothing)
    return np.divide(part, whole, out=empty, where=whole > 0)


def _mean_defined(values_RC: np.ndarray) -> np.ndarray:
    """Mean of each row without NaN; NaN where nothing is left."""
    defined_RC = ~np.isnan(values_RC)
    return _ratio(np.where(defined_RC, values_RC, 0).sum(1), defined_RC.sum(1))
