"""What vectors say about labels or values, beside what can be said without them.

Shape letters: N = rows, D = features of a vector, S = seeds, C = classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold

from protemb.apps.variants.scoring import (
    CORRELATIONS,
    LEVEL,
    Scorer,
    interval,
    main_metric,
    metrics_of,
    trivial_predictions,
)
from protemb.errors import ConfigError
from protemb.intervals import Interval
from protemb.variants.evaluation import CellData, out_of_fold, out_of_fold_labels
from protemb.variants.regressors import CLASSIFIERS, REGRESSORS

USUAL = {"values": "ridge", "labels": "logistic"}


@dataclass(frozen=True, eq=False)
class ProbeTargets:
    """Vectors with what is known of their records; serves `Scorer` as its targets.

    Attributes:
        ids: of the records.
        vectors_ND: float32.
        groups_N: what folds and intervals keep together.
        values_N: float64; None for labels.
        labels_N: int64, places in `label_names`; None for values.
        label_names: sorted.
    """

    ids: Sequence[str]
    vectors_ND: np.ndarray
    groups_N: np.ndarray
    values_N: np.ndarray | None = None
    labels_N: np.ndarray | None = None
    label_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.values_N is None) == (self.labels_N is None):
            raise ValueError("expected values or labels, one of them")

    @property
    def weights_N(self) -> np.ndarray:
        """Every row counts the same."""
        return np.ones(len(self.ids))

    @property
    def proteins_N(self) -> np.ndarray:
        """What scores within proteins are of: the groups."""
        return self.groups_N

    @property
    def kind(self) -> str:
        """`values` or `labels`."""
        return "values" if self.labels_N is None else "labels"


@dataclass(frozen=True, eq=False)
class Probe:
    """Scores of a regressor or classifier that reads nothing but the vectors.

    Attributes:
        targets: what was predicted.
        regressor: its word.
        seeds: S.
        fold_N: of each row.
        predicted: predicted_SN of values, probabilities_SNC of labels; of held-out rows.
        scores: by metric.
        trivial: the same of the mean value or the majority class; of values without correlations,
            which a constant does not have.
        difference: of the main score to the trivial one; of values, the correlation itself.
        p: two-sided, that the difference is 0.
    """

    targets: ProbeTargets
    regressor: str
    seeds: tuple[int, ...]
    fold_N: np.ndarray
    predicted: np.ndarray
    scores: Mapping[str, Interval]
    trivial: Mapping[str, Interval]
    difference: Interval
    p: float

    @property
    def metric(self) -> str:
        """The main score."""
        return main_metric(self.targets)

    @property
    def outcome(self) -> str:
        """Whether the difference's interval is `above` 0, `below` it, or `unclear`."""
        if self.difference.low > 0:
            return "above"
        return "below" if self.difference.high < 0 else "unclear"


def probe(
    targets: ProbeTargets,
    regressor: str | None,
    folds: int,
    seeds: Sequence[int],
    replicates: int,
) -> Probe:
    """Predict every row by a model that was fitted without its fold, and score.

    Groups are dealt to folds largest first (scikit-learn's `GroupKFold`). Intervals resample
    groups, see `protemb.analysis.estimates`.

    Args:
        targets: vectors and what is to be predicted.
        regressor: of `REGRESSORS`, or of `CLASSIFIERS` for labels; None for ridge or logistic
            regression, whose strength is chosen inside the training folds.
        folds: how many.
        seeds: of the regressor.
        replicates: of the bootstrap.

    Raises:
        ConfigError: an unknown regressor, fewer groups than folds, fewer than two folds, or nothing
            to tell apart.
    """
    word = _word(targets, regressor)
    _check_targets(targets)
    fold_N = _folds(targets.groups_N, folds)
    predicted = _predict(targets, word, fold_N, seeds)
    scorer = Scorer(targets, targets.groups_N, replicates)
    constant = trivial_predictions(targets, len(seeds))
    metrics = metrics_of(targets)
    main = scorer.estimate(predicted, metrics[0])
    difference, p = (main - scorer.estimate(constant, metrics[0])).interval(LEVEL)
    scores = {name: interval(scorer.estimate(predicted, name), name) for name in metrics[1:]}
    defined = [name for name in metrics if not name.endswith(CORRELATIONS)]
    return Probe(
        targets=targets,
        regressor=word,
        seeds=tuple(seeds),
        fold_N=fold_N,
        predicted=predicted,
        scores={metrics[0]: interval(main, metrics[0]), **scores},
        trivial={name: interval(scorer.estimate(constant, name), name) for name in defined},
        difference=difference,
        p=p,
    )


def _word(targets: ProbeTargets, regressor: str | None) -> str:
    known = REGRESSORS if targets.labels_N is None else CLASSIFIERS
    word = regressor or USUAL[targets.kind]
    if word not in known:
        expected = f"one of {', '.join(known)} for {targets.kind}"
        raise ConfigError("--regressor", word, expected)
    return word


def _check_targets(targets: ProbeTargets) -> None:
    if targets.values_N is not None and np.ptp(targets.values_N) == 0:
        raise ConfigError("--value", float(targets.values_N[0]), "values that are not all equal")
    if targets.labels_N is not None and len(targets.label_names) < 2:
        raise ConfigError("--label", targets.label_names[0], "two classes at least")


def _folds(groups_N: np.ndarray, folds: int) -> np.ndarray:
    groups = len(np.unique(groups_N))
    if not 2 <= folds <= groups:
        raise ConfigError("--folds", folds, f"2 to {groups}, as there are {groups} groups")
    fold_N = np.empty(len(groups_N), np.int64)
    for fold, (_, held_out) in enumerate(GroupKFold(folds).split(groups_N, groups=groups_N)):
        fold_N[held_out] = fold
    return fold_N


def _predict(
    targets: ProbeTargets, word: str, fold_N: np.ndarray, seeds: Sequence[int]
) -> np.ndarray:
    # Nothing stands beside the vectors: a base without columns.
    data = CellData(np.zeros((len(targets.ids), 0), np.float32), targets.vectors_ND)
    fold_SN = np.tile(fold_N, (len(seeds), 1))
    groups_N, weights_N = targets.groups_N, targets.weights_N
    if targets.labels_N is None:
        assert targets.values_N is not None
        found = out_of_fold(word, data, targets.values_N, fold_SN, seeds, groups_N, weights_N)
        return found.direct_SN
    classes = len(targets.label_names)
    return out_of_fold_labels(
        word, data, targets.labels_N, classes, fold_SN, seeds, groups_N, weights_N
    )


def probe_facts(found: Probe) -> dict[str, Any]:
    """Plain values for JSON: every score, and each row's fold and prediction (mean over seeds)."""
    targets, mean = found.targets, found.predicted.mean(0)
    facts: dict[str, Any] = {
        "rows": len(targets.ids),
        "width": int(targets.vectors_ND.shape[1]),
        "groups": len(np.unique(targets.groups_N)),
        "folds": int(found.fold_N.max()) + 1,
        "regressor": found.regressor,
        "seeds": list(found.seeds),
        "kind": targets.kind,
        "metric": found.metric,
        "scores": {name: score.as_dict() for name, score in found.scores.items()},
        "trivial": {name: score.as_dict() for name, score in found.trivial.items()},
        "difference": found.difference.as_dict(),
        "p": None if np.isnan(found.p) else found.p,
        "outcome": found.outcome,
        "predictions": {
            "id": list(targets.ids),
            "group": targets.groups_N.tolist(),
            "fold": found.fold_N.tolist(),
            "predicted": mean.tolist(),
        },
    }
    if targets.labels_N is None:
        assert targets.values_N is not None
        return facts | {"values": targets.values_N.tolist()}
    counts_C = np.bincount(targets.labels_N, minlength=len(targets.label_names)).tolist()
    labels = [targets.label_names[label] for label in targets.labels_N.tolist()]
    return facts | {
        "classes": dict(zip(targets.label_names, counts_C, strict=True)),
        "labels": labels,
    }
