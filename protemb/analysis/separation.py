"""How well classes come apart in some vectors: probes, cluster indices, and both against chance.

Two probes are fitted to the training part and asked about the test part: nearest neighbours (do
near vectors share a class?) and a linear one (can a plane part the classes?). Two indices describe
the test vectors in their own space, by true label: see `protemb.analysis.cluster_indices`.

Shape letters: N = records given, T = training records, M = test records, D = features,
C = classes.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from protemb.analysis.cluster_indices import Index, cluster_indices
from protemb.analysis.maps import draw_sample, require_finite
from protemb.intervals import Interval, percentile_interval
from protemb.scores import bootstrap_scores, confusion, score_difference
from protemb.sequences.grouping import assign_groups

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""Strengths (scikit-learn's C: smaller is more regularised) that the linear probe chooses from."""

FOLDS = 3
PROBE_RECORDS = 2000
INDEX_RECORDS = 1500


@dataclass(frozen=True, eq=False)
class Separation:
    """What `separation` found.

    Attributes:
        knn: balanced accuracy of the nearest neighbours on the test part.
        linear: the same of the linear probe.
        chance: balanced accuracy of guessing: 1 / classes with test records.
        silhouette: of the test records, -1 to 1, higher is better.
        davies_bouldin: of the same, 0 and above, lower is better.
        facts: plain settings, numbers of records, and the classes absent from either part.
        names: the C class names.
        labels_M: true class of each test record.
        groups_M: its group.
        predictions: probabilities_MC of `knn` (shares of the neighbours) and `linear`.
    """

    knn: Interval
    linear: Interval
    chance: float
    silhouette: Index
    davies_bouldin: Index
    facts: Mapping[str, object]
    names: tuple[str, ...]
    labels_M: np.ndarray
    groups_M: np.ndarray
    predictions: Mapping[str, np.ndarray]

    def as_dict(self) -> dict[str, object]:
        """Numbers and facts for JSON; the predictions stay behind."""
        return {
            "knn": self.knn.as_dict(),
            "linear": self.linear.as_dict(),
            "chance": self.chance,
            "silhouette": self.silhouette.as_dict(),
            "davies_bouldin": self.davies_bouldin.as_dict(),
            **self.facts,
        }


def separation(
    vectors_ND: np.ndarray,
    labels_N: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    groups_N: np.ndarray,
    names: Sequence[str],
    *,
    neighbours: int = 5,
    permutations: int = 200,
    replicates: int = 1000,
    seed: int = 0,
) -> Separation:
    """Measure how far classes come apart; nothing but the training part is fitted.

    The probes see features scaled to the training part's mean and deviation. The linear one is a
    multinomial logistic regression with balanced class weights on at most 2000 training records
    (frequent classes are thinned, rare ones are not). Its strength is the one with the best
    balanced accuracy in a cross-validation among them that keeps groups whole. The cluster indices
    are of at most 1500 test records, of each class its share.

    Args:
        vectors_ND: finite numbers.
        labels_N: class of each record, 0 to C - 1. A class without training records is never
            predicted; one without test records has no say in the scores; `facts` names both.
        train: rows to fit.
        test: rows to score, none of them in `train`.
        groups_N: records with equal values (the same sequence, say) are one observation.
        names: the C class names.
        neighbours: of the nearest-neighbour probe; all of the training part where it is smaller.
        permutations: of the labels, for the cluster indices.
        replicates: of the bootstrap.
        seed: of samples, folds, replicates and permutations.

    Raises:
        ConfigError: vectors with NaN or infinity, as a diverged training gives them.
        ValueError: arrays that do not fit together, a part without records, or common ones.
    """
    labels_N, groups_N, names = np.asarray(labels_N), np.asarray(groups_N), tuple(names)
    train, test = np.asarray(train), np.asarray(test)
    _check(vectors_ND, labels_N, train, test, groups_N)
    labels_M, groups_M, C = labels_N[test], groups_N[test], len(names)
    neighbours = min(neighbours, len(train))
    sample = train[balanced_sample(labels_N[train], PROBE_RECORDS, seed)]
    linear_MC, strength = _linear(vectors_ND, labels_N, sample, test, groups_N, C, seed)
    predictions = {
        "knn": _nearest(vectors_ND, labels_N, train, test, C, neighbours),
        "linear": linear_MC,
    }
    accuracy = {}
    for probe, probabilities_MC in predictions.items():
        values, replicates_of = bootstrap_scores(
            labels_M, probabilities_MC, groups_M, names, replicates=replicates, seed=seed
        )
        key = "balanced_accuracy"
        accuracy[probe] = percentile_interval(values[key], replicates_of[key])
    rows = draw_sample(len(test), sample=INDEX_RECORDS, seed=seed, stratify=labels_M)
    silhouette, davies_bouldin = cluster_indices(
        *(vectors_ND[test[rows]], labels_M[rows], groups_M[rows]),
        permutations=permutations,
        replicates=replicates,
        seed=seed,
    )
    facts = {
        "neighbours": neighbours,
        "strength": strength,
        "train_records": len(train),
        "linear_train_records": len(sample),
        "test_records": len(test),
        "test_groups": len(np.unique(groups_M)),
        "index_records": len(rows),
        "absent_from_train": [name for c, name in enumerate(names) if c not in labels_N[train]],
        "absent_from_test": [name for c, name in enumerate(names) if c not in labels_M],
        "permutations": permutations,
        "replicates": replicates,
        "seed": seed,
    }
    return Separation(
        **accuracy,
        chance=1 / len(np.unique(labels_M)),
        silhouette=silhouette,
        davies_bouldin=davies_bouldin,
        facts=facts,
        names=names,
        labels_M=labels_M,
        groups_M=groups_M,
        predictions=predictions,
    )


def separation_difference(
    first: Separation, second: Separation, *, replicates: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Balanced accuracy of the first minus that of the second, by probe, paired by replicate.

    Raises:
        ValueError: the two are not of the same test records.
    """
    one, other = ((found.labels_M, found.groups_M) for found in (first, second))
    if first.names != second.names or not all(map(np.array_equal, one, other)):
        raise ValueError("separations: got two of different test records, expected the same")
    return {
        probe: score_difference(
            *(first.labels_M, first.predictions[probe], second.predictions[probe]),
            *(first.groups_M, first.names),
            replicates=replicates,
            seed=seed,
        )
        for probe in first.predictions
    }


def _check(
    vectors_ND: np.ndarray,
    labels_N: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    groups_N: np.ndarray,
) -> None:
    lengths = len(vectors_ND), len(labels_N), len(groups_N)
    if len(set(lengths)) > 1:
        raise ValueError(f"vectors, labels, groups: got {lengths} rows, expected equally many")
    if not len(train) or not len(test) or len(np.intersect1d(train, test)):
        raise ValueError("train, test: expected records in both, and none of them in common")
    require_finite(vectors_ND[np.concatenate([train, test])])


def _scaled(
    vectors_ND: np.ndarray, fit: np.ndarray, ask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return fit_TD and ask_MD, scaled to mean 0 and deviation 1 of the former."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(vectors_ND[fit].astype(np.float64))
    return tuple(scaler.transform(vectors_ND[rows].astype(np.float64)) for rows in (fit, ask))


def _nearest(
    vectors_ND: np.ndarray,
    labels_N: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    C: int,
    neighbours: int,
) -> np.ndarray:
    """Return probabilities_MC: shares of the classes among the nearest training records."""
    from sklearn.neighbors import KNeighborsClassifier

    fit_TD, ask_MD = _scaled(vectors_ND, train, test)
    model = KNeighborsClassifier(neighbours, algorithm="brute").fit(fit_TD, labels_N[train])
    probabilities_MC = np.zeros((len(test), C))
    probabilities_MC[:, model.classes_] = model.predict_proba(ask_MD)
    return probabilities_MC


def balanced_sample(labels_T: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Rows of at most `most` records: all of the rare classes, equally many of the others."""
    sizes_C = np.bincount(labels_T)
    totals = np.minimum(sizes_C[:, None], np.arange(1, most + 1)).sum(0)
    quota = max(1, int(np.searchsorted(totals, most, side="right")))
    order_T = np.random.default_rng(seed).permutation(len(labels_T))
    chosen = [order_T[labels_T[order_T] == c][:quota] for c in range(len(sizes_C))]
    return np.sort(np.concatenate(chosen))


def _linear(
    vectors_ND: np.ndarray,
    labels_N: np.ndarray,
    sample: np.ndarray,
    test: np.ndarray,
    groups_N: np.ndarray,
    C: int,
    seed: int,
) -> tuple[np.ndarray, float]:
    """Return probabilities_MC of a logistic regression, and the strength that it chose.

    Folds are scored together, because a rare class need not be in each of them.
    """
    fit_TD, ask_MD = _scaled(vectors_ND, sample, test)
    labels_T = labels_N[sample]
    shares, rng = [1 / FOLDS] * FOLDS, np.random.default_rng(seed)
    fold_T = assign_groups(groups_N[sample], labels_T, shares, rng, first_has_all=False)
    guesses_ST = np.zeros((len(STRENGTHS), len(sample)), np.int64)
    folds = np.unique(fold_T)
    for fold in folds if len(folds) > 1 else ():
        out_T = fold_T == fold
        found_SMC = _regress(fit_TD[~out_T], labels_T[~out_T], fit_TD[out_T], C, STRENGTHS)
        guesses_ST[:, out_T] = found_SMC.argmax(2)
    counts_SCC = np.stack([confusion(labels_T, guesses_T, C) for guesses_T in guesses_ST])
    present = np.unique(labels_T)
    recalls_SC = counts_SCC[:, present, present] / counts_SCC[:, present].sum(2)
    # The first of equals: the most regularised. It is also what one group alone gets.
    best = int(recalls_SC.mean(1).argmax())
    # By the same way as in the folds: from strong to weak regularisation, as far as the best.
    found_SMC = _regress(fit_TD, labels_T, ask_MD, C, STRENGTHS[: best + 1])
    return found_SMC[-1], STRENGTHS[best]


def _regress(
    fit_TD: np.ndarray,
    labels_T: np.ndarray,
    ask_MD: np.ndarray,
    C: int,
    strengths: Sequence[float],
) -> np.ndarray:
    """Return probabilities_SMC for each strength; each fit starts from the one before."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    probabilities_SMC = np.zeros((len(strengths), len(ask_MD), C))
    present = np.unique(labels_T)
    if len(present) == 1:
        probabilities_SMC[:, :, present] = 1
        return probabilities_SMC
    model = LogisticRegression(class_weight="balanced", warm_start=True, tol=1e-3, max_iter=300)
    with warnings.catch_warnings():
        # A fit that is stopped early is a somewhat more regularised one.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for probabilities_MC, strength in zip(probabilities_SMC, strengths, strict=True):
            model.set_params(C=strength).fit(fit_TD, labels_T)
            probabilities_MC[:, model.classes_] = model.predict_proba(ask_MD)
    return probabilities_SMC
