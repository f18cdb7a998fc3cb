"""What a grid shows, in plain sentences that follow from its intervals."""

import numpy as np

from protemb.apps.variants.outcome import Outcome
from protemb.apps.variants.plan import BASELINE
from protemb.apps.variants.scoring import is_bare, share_of_largest
from protemb.intervals import Interval
from protemb.variants.table import VariantTable

NAMES = {"pearson": "Pearson's r", "balanced_accuracy": "balanced accuracy"}


SMALL = 1e-6
"""Gains below it are rounding."""


def verdict(outcome: Outcome) -> tuple[str, ...]:
    """The sentences, the most important first."""
    said = [_cells(outcome), *_controls(outcome), *_choice(outcome), *_leak(outcome)]
    return (*said, *_reverse(outcome))


def metric_name(outcome: Outcome) -> str:
    """The main score as readers know it."""
    return NAMES[outcome.metric]


def base_words(table: VariantTable) -> str:
    """What a regressor reads beside a cell's vectors."""
    parts = ["covariates"] * bool(table.covariates)
    parts += ["wild-type and new residue"] * table.has_mutations
    return ", ".join(parts) or "nothing"


def _baseline(outcome: Outcome) -> str:
    table, baseline = outcome.table, outcome.score(BASELINE)
    kind, folds = outcome.fold_facts["kind"], outcome.fold_facts["folds"]
    where = f"in {folds} folds by {kind}"
    if not is_bare(table):
        return f"Without any vectors the baseline has {metric_name(outcome)} {baseline} {where}."
    if table.labels_N is None:
        return (
            "Without any vectors there is only the mean value to say, which ranks nothing: its "
            f"{metric_name(outcome)} counts as 0. Cells were scored {where}."
        )
    largest = np.bincount(table.labels_N, table.weights_N).argmax()
    return (
        f"Without any vectors there is only the majority to say, {table.label_names[largest]}: "
        f"{metric_name(outcome)} {baseline.value:.3f}. Cells were scored {where}."
    )


def _cells(outcome: Outcome) -> str:
    marked = [name for name in outcome.cells if outcome.contrasts[name].corrected.low > 0]
    below = [name for name in outcome.cells if outcome.contrasts[name].corrected.high < 0]
    best = outcome.cells[0]
    count = len(outcome.cells)
    if not marked:
        second = (
            f"None of {count} cells is shown to be above it once their number is accounted for "
            f"(Holm); the largest, {best}, differs by {outcome.contrasts[best].difference}."
        )
    else:
        second = (
            f"{len(marked)} of {count} cells are above it, also after Holm's correction for their "
            f"number; the largest, {marked[0]}, by {outcome.contrasts[marked[0]].difference}."
        )
    third = (
        f" {len(below)} {'is' if len(below) == 1 else 'are'} shown to be below it." if below else ""
    )
    return f"{_baseline(outcome)} {second}{third}"


def _controls(outcome: Outcome) -> list[str]:
    """Is anything that was trained above what was not?"""
    trained = [name for name in outcome.cells if outcome.planned[name].trained]
    others = [name for name in outcome.cells if not outcome.planned[name].trained]
    if not trained or not others:
        return []
    return [
        f"The best cell of a trained encoder, {trained[0]}, has {outcome.score(trained[0])}; the "
        f"best of the controls, which learned nothing, {others[0]}, has "
        f"{outcome.score(others[0])}."
    ]


def _choice(outcome: Outcome) -> list[str]:
    choice, joined = outcome.choice, outcome.joined
    if choice is None or joined is None:
        return []
    best, others = joined["best"], {k: x for k, x in joined.items() if k != "best"}
    top = max(others, key=lambda name: others[name].score.value)
    return [
        f"The best cell looks like {choice.naive:.3f} on the folds that chose it. Chosen inside "
        f"nested folds it promised {choice.choosing:.3f} there and keeps {best.score} on proteins "
        f"that had no say.",
        f"Of the joined cells, {top.replace('_', ' ')} does best, with {others[top].score}; "
        f"{_against(others[top].gain)} the chosen single cell.",
    ]


def _against(gain: Interval) -> str:
    if gain.low > SMALL:
        return f"above by {gain}"
    if gain.high < -SMALL:
        return f"below by {Interval(-gain.value, -gain.high, -gain.low)}"
    return f"no difference is shown ({gain}) to"


def _leak(outcome: Outcome) -> list[str]:
    leak, baseline = outcome.leak, outcome.score(BASELINE)
    if leak is None:
        return []
    width = (baseline.high - baseline.low) / (leak.rows.high - leak.rows.low)
    three = share_of_largest(outcome.table.proteins_N)
    return [
        f"Under random folds the same baseline would have {leak.random.value:.3f}, and the mean of "
        f"a protein's other rows, which knows nothing but its name, {leak.identity.value:.3f}.",
        f"Three proteins hold {three:.0%} of the rows: the interval over proteins is {width:.1f} "
        f"times as wide as one over rows.",
    ]


def _reverse(outcome: Outcome) -> list[str]:
    if not outcome.reverse:
        return []
    best = outcome.cells[0]
    found = outcome.reverse[best]
    return [
        f"Reverse mutations: {best} predicts them with r {found.reverse} (direct "
        f"{found.direct.value:.3f}); direct and reverse predictions correlate by {found.between} "
        f"(−1 would be antisymmetric) with a bias of {found.bias}."
    ]
