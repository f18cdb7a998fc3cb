"""Stored predictions of several runs, brought into one order of records.

Shape letters: N = records of a part, C = classes, G = groups of a part, V = runs on a part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protemb.errors import InputError


@dataclass(frozen=True, eq=False)
class RunPredictions:
    """What one trained model predicted for one test part.

    Args:
        model: name that the model's runs share.
        ids_N: names of the records, each once; any order.
        labels_N: true class, 0 to C - 1.
        groups_N: any values; records with equal ones (identical or similar sequences) are
            resampled together, over all parts.
        probabilities_NC: rows that add up to 1.
        seed: tells the runs of a model on a part from each other.
        part: name of the test part, such as a fold.
    """

    model: str
    ids_N: np.ndarray
    labels_N: np.ndarray
    groups_N: np.ndarray
    probabilities_NC: np.ndarray
    seed: int = 0
    part: str = ""

    def __str__(self) -> str:
        on_part = f" on part {self.part!r}" if self.part else ""
        return f"predictions of {self.model!r}, seed {self.seed}{on_part}"


@dataclass(frozen=True, eq=False)
class AlignedPart:
    """The runs on one part, all with the same records in the same order.

    Args:
        labels_N: true class.
        groups_G: the distinct groups, sorted.
        group_of_N: place of each record's group among them.
        probabilities_VNC: one array_NC per run, ordered by seed within a model.
        rows: numbers of the runs of each model.
    """

    labels_N: np.ndarray
    groups_G: np.ndarray
    group_of_N: np.ndarray
    probabilities_VNC: list[np.ndarray]
    rows: dict[str, list[int]]


def align(runs: Sequence[RunPredictions], names: Sequence[str]) -> list[AlignedPart]:
    """Sort the records of all runs by id, and check that the runs of a part agree on them.

    Raises:
        InputError: There are no runs; a run has an id twice or predictions that are no
            probabilities; two runs disagree on ids, labels or groups, or share model, seed and
            part; a model lacks a part.
        ValueError: Arrays do not fit each other or the names.
    """
    if not runs:
        raise InputError("predictions", "no runs to compare")
    of_part: dict[str, list[RunPredictions]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        of_part.setdefault(run.part, []).append(_by_id(run, len(names)))
    models = {run.model: run for run in runs}
    for part, members in of_part.items():
        missing = models.keys() - {run.model for run in members}
        if missing:
            raise InputError(
                f"predictions of {min(missing)!r}",
                f"none on part {part!r}, which {members[0].model!r} has",
            )
    return [_aligned(members) for _, members in sorted(of_part.items())]


def _aligned(runs: Sequence[RunPredictions]) -> AlignedPart:
    reference, seen, rows = runs[0], set(), dict[str, list[int]]()
    for v, run in enumerate(runs):
        if (run.model, run.seed) in seen:
            raise InputError(str(run), "given twice; runs of a model differ in their seed")
        seen.add((run.model, run.seed))
        rows.setdefault(run.model, []).append(v)
        _check_same_records(run, reference)
    groups_G, group_of_N = np.unique(reference.groups_N, return_inverse=True)
    return AlignedPart(
        reference.labels_N, groups_G, group_of_N, [run.probabilities_NC for run in runs], rows
    )


def _by_id(run: RunPredictions, C: int) -> RunPredictions:
    ids_N = np.asarray(run.ids_N)
    arrays = [np.asarray(x) for x in (run.labels_N, run.groups_N, run.probabilities_NC)]
    N = len(ids_N)
    if N == 0 or [x.shape for x in arrays] != [(N,), (N,), (N, C)]:
        shapes = [x.shape for x in arrays]
        raise ValueError(
            f"{run}: got labels, groups and probabilities of shapes {shapes}, expected a row for "
            f"each of {N} ids (one at least) and a column for each of {C} names"
        )
    labels_N, groups_N, rows_NC = arrays
    if labels_N.min() < 0 or labels_N.max() >= C:
        raise ValueError(
            f"{run}: got labels {labels_N.min()} to {labels_N.max()}, expected 0 to {C - 1}"
        )
    order_N = np.argsort(ids_N, kind="stable")
    ids_N = ids_N[order_N]
    if (twice_N := ids_N[1:] == ids_N[:-1]).any():
        raise InputError(str(run), "the record is there twice", record=_first(ids_N[1:], twice_N))
    rows_NC = rows_NC[order_N].astype(np.float64)
    # Written so that NaN, what a diverged training predicts, fails too.
    good_N = (rows_NC >= 0).all(1) & (np.abs(rows_NC.sum(1) - 1) < 1e-3)
    if not good_N.all():
        raise InputError(
            str(run),
            "probabilities are not numbers from 0 that add up to 1",
            record=_first(ids_N, ~good_N),
        )
    labels_N, groups_N = labels_N[order_N], groups_N[order_N]
    return RunPredictions(run.model, ids_N, labels_N, groups_N, rows_NC, run.seed, run.part)


def _check_same_records(run: RunPredictions, reference: RunPredictions) -> None:
    ours, theirs = run.ids_N, reference.ids_N
    if not np.array_equal(ours, theirs):
        extra = np.setdiff1d(ours, theirs)
        problem = f"the {reference} do not have this record"
        if not extra.size:
            extra = np.setdiff1d(theirs, ours)
            problem = f"the record is missing; the {reference} have it"
        raise InputError(str(run), problem, record=str(extra[0]))
    for what in ("label", "group"):
        mine_N, other_N = (getattr(side, f"{what}s_N") for side in (run, reference))
        if (differs_N := mine_N != other_N).any():
            problem = (
                f"{what} {_first(mine_N, differs_N)}, but "
                f"{_first(other_N, differs_N)} in the {reference}"
            )
            raise InputError(str(run), problem, record=_first(ours, differs_N))


def _first(values_N: np.ndarray, where_N: np.ndarray) -> str:
    return str(values_N[where_N][0])
