"""Everything that a finished grid knows.

Shape letters: N = rows of the table, S = seeds, C = classes, V = cells, F = nested folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from protemb.apps.variants.antisymmetry import Antisymmetry, antisymmetry
from protemb.apps.variants.plan import BASELINE, Planned
from protemb.apps.variants.scoring import LEVEL, Contrast, Scorer, contrasts, interval, metrics_of
from protemb.intervals import Interval
from protemb.variants.ensembles import Choice, Ensemble, choose, ensembles
from protemb.variants.table import VariantTable

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Leak:
    """The baseline judged in ways that flatter it.

    Attributes:
        random: r under folds of random rows.
        identity: r, under these, of the mean of a protein's other rows: nothing but its name.
        rows: r under the grid's folds, with an interval over single rows.
    """

    random: Interval
    identity: Interval
    rows: Interval

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {name: getattr(self, name).as_dict() for name in ("random", "identity", "rows")}


@dataclass(frozen=True, eq=False)
class Joined:
    """Cells joined by one strategy.

    Attributes:
        made: honest predictions, and what was chosen.
        score: of them.
        gain: score minus that of the strategy `best`.
    """

    made: Ensemble
    score: Interval
    gain: Interval


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished grid.

    Attributes:
        values: the config.
        table: the rows.
        planned: cells by name, the baseline first.
        predictions: of held-out rows, by cell: predicted_SN, or probabilities_SNC of labels.
        scores: by cell and metric.
        by_seed: main score of each seed, by cell.
        contrasts: each cell against the baseline.
        reverse: what reverse mutations show, by cell; empty for labels.
        units_N: what intervals resample.
        fold_facts: what the folds are.
        leak: None for labels, without mutations, and under folds of random rows.
        choice: one cell chosen inside nested folds; None when it was not asked for.
        joined: cells joined inside them, by strategy.
    """

    values: Mapping[str, Any]
    table: VariantTable
    planned: Mapping[str, Planned]
    predictions: Mapping[str, np.ndarray]
    scores: Mapping[str, Mapping[str, Interval]]
    by_seed: Mapping[str, Sequence[float]]
    contrasts: Mapping[str, Contrast]
    reverse: Mapping[str, Antisymmetry]
    units_N: np.ndarray
    fold_facts: Mapping[str, object]
    leak: Leak | None = None
    choice: Choice | None = None
    joined: Mapping[str, Joined] | None = None

    @property
    def metric(self) -> str:
        """The main score."""
        return metrics_of(self.table)[0]

    @property
    def cells(self) -> list[str]:
        """Names of all cells but the baseline, best first."""
        names = [name for name in self.planned if name != BASELINE]
        return sorted(names, key=lambda name: -self.score(name).value)

    @property
    def objective(self) -> float:
        """Main score of the best cell, which was chosen by it."""
        return self.score(self.cells[0]).value

    def score(self, name: str) -> Interval:
        """Main score of a cell."""
        return self.scores[name][self.metric]


def score_grid(
    values: Mapping[str, Any],
    table: VariantTable,
    planned: Mapping[str, Planned],
    found: Mapping[str, Arrays],
    units_N: np.ndarray,
    fold_facts: Mapping[str, object],
    random: tuple[np.ndarray, np.ndarray] | None,
    nested: tuple[Mapping[str, Arrays], np.ndarray] | None,
) -> Outcome:
    """Score all predictions.

    Args:
        values: the config.
        table: the rows.
        planned: cells by name.
        found: `direct` predictions of held-out rows, and those of `reverse` mutations, by cell.
        units_N: what intervals resample.
        fold_facts: what the folds are.
        random: the baseline's predictions under folds of random rows, and these folds_SN.
        nested: predictions of `nested_pairs` by cell, and the nested fold of each row.
    """
    scorer = Scorer(table, units_N, values["replicates"])
    predictions = {name: arrays["direct"] for name, arrays in found.items()}
    metrics = metrics_of(table)
    main = {name: scorer.estimate(each, metrics[0]) for name, each in predictions.items()}
    scores = {
        name: {metrics[0]: interval(main[name], metrics[0])}
        | {metric: interval(scorer.estimate(each, metric), metric) for metric in metrics[1:]}
        for name, each in predictions.items()
    }
    leak = None
    # Proteins without mutations have one row each: no other rows could give their name away.
    if random is not None and table.has_mutations:
        flattered = (
            scorer.estimate(random[0], metrics[0]),
            scorer.estimate(_protein_means(table, random[1]), metrics[0]),
            _by_rows(table, values).estimate(predictions[BASELINE], metrics[0]),
        )
        leak = Leak(*(interval(each, metrics[0]) for each in flattered))
    choice, joined = _nested(scorer, nested)
    return Outcome(
        values=values,
        table=table,
        planned=planned,
        predictions=predictions,
        scores=scores,
        by_seed={
            name: [scorer.estimate(each[None], metrics[0]).value for each in predicted]
            for name, predicted in predictions.items()
        },
        contrasts=contrasts(
            {name: each for name, each in main.items() if name != BASELINE}, main[BASELINE]
        ),
        reverse={
            name: antisymmetry(arrays["direct"], arrays["reverse"], scorer)
            for name, arrays in found.items()
            if "reverse" in arrays
        },
        units_N=units_N,
        fold_facts=fold_facts,
        leak=leak,
        choice=choice,
        joined=joined,
    )


def _by_rows(table: VariantTable, values: Mapping[str, Any]) -> Scorer:
    return Scorer(table, np.arange(len(table)), values["replicates"])


def _protein_means(table: VariantTable, fold_SN: np.ndarray) -> np.ndarray:
    """Mean value of the protein's rows in the other folds; of all rows where there are none."""
    assert table.values_N is not None
    _, protein_of_N = np.unique(table.proteins_N, return_inverse=True)
    predicted_SN = np.empty(fold_SN.shape)
    for predicted_N, fold_N in zip(predicted_SN, fold_SN, strict=True):
        for fold in np.unique(fold_N):
            here_N = fold_N == fold
            seen = table.values_N[~here_N]
            counts_P = np.bincount(protein_of_N[~here_N], minlength=protein_of_N.max() + 1)
            sums_P = np.bincount(protein_of_N[~here_N], seen, minlength=len(counts_P))
            means_P = np.where(counts_P > 0, sums_P / np.maximum(counts_P, 1), seen.mean())
            predicted_N[here_N] = means_P[protein_of_N[here_N]]
    return predicted_SN


def _nested(
    scorer: Scorer,
    nested: tuple[Mapping[str, Arrays], np.ndarray] | None,
) -> tuple[Choice | None, Mapping[str, Joined] | None]:
    if nested is None:
        return None, None
    found, fold_N = nested
    table = scorer.table
    assert table.values_N is not None
    names = list(found)
    inner_FVN = np.stack([found[name]["inner"] for name in names], axis=1)
    outer_VN = np.stack([found[name]["outer"] for name in names])
    arrays = (inner_FVN, outer_VN, fold_N, table.values_N)
    rows = {"weights_N": table.weights_N}
    made = ensembles(*arrays, names, **rows)
    estimates = {
        name: scorer.estimate(each.predictions_N[None], "pearson") for name, each in made.items()
    }
    best = estimates["best"]
    return choose(*arrays, names, **rows), {
        name: Joined(made[name], interval(own, "pearson"), (own - best).interval(LEVEL)[0])
        for name, own in estimates.items()
    }
