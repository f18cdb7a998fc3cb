"""Baselines that see no order of residues, or next to none: floors for every encoder.

All learn from the training part of a split alone:

- `majority`: the shares of the classes.
- `length`: logistic regression on the logarithm of the length.
- `composition`: logistic regression on residue frequencies.
- `kmer3`: logistic regression on 3-mer frequencies, rare 3-mers weighing more (TF-IDF).
- `nearest`: the labels of the training sequence with the nearest (cosine) 3-mer frequencies.

Shape letters: N = training records, M = test records, S = distinct sequences of both, C = classes,
F = features, P = pairs of sequence and class, W = windows of k residues.
"""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import sklearn
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler, normalize
from threadpoolctl import threadpool_limits

from protemb import __version__
from protemb.errors import ConfigError
from protemb.files import cached_file, content_key
from protemb.scores import confusion
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.grouping import assign_groups
from protemb.sequences.partition import Split
from protemb.sequences.tokens import TokenStore

# Raise it when the same records are fitted in another way than before.
FORMAT = 1
NAMES = ("majority", "length", "composition", "kmer3", "nearest")
FOLDS = 3
STRENGTHS = (1.0, 10.0, 100.0)
MAX_ITERATIONS = 5000

Features: TypeAlias = np.ndarray | sparse.csr_array  # features_SF

log = logging.getLogger(__name__)


def fit_baselines(
    data: LabelledSet,
    split: Split,
    *,
    seed: int,
    names: Sequence[str] = NAMES,
    cache_dir: Path | None = None,
) -> dict[str, np.ndarray]:
    """Fit baselines to the training part and predict the test part.

    The regressions choose their regularisation and class weights (none or balanced) by balanced
    accuracy in a cross-validation inside the training part that keeps identical sequences
    together; the validation part is not used. Balanced weights give rare classes more probability
    than their share. The probabilities of `nearest` are 0 and 1, except where the nearest
    sequence has several labels, so its log loss says little.

    Args:
        data: The records.
        split: Their parts.
        seed: Deals the folds of the cross-validation.
        names: Some of `NAMES`.
        cache_dir: Results are kept here, in `baselines/`, by content.

    Returns:
        probabilities_MC by name; rows as in `split.test`, columns as in `data.label_names`.
    """
    unknown = set(names) - set(NAMES)
    if unknown:
        raise ConfigError("baselines", sorted(unknown), f"some of {', '.join(NAMES)}")
    if cache_dir is None or not names:
        return _fit(data, split, seed, names)
    parts = {
        "data": data.fingerprint,
        "split": split.fingerprint,
        "seed": seed,
        "names": list(names),
        "version": [__version__, FORMAT, sklearn.__version__],
    }
    path = cache_dir / "baselines" / f"{content_key(parts)}.npy"
    return cached_file(
        path,
        lambda part: np.save(part, np.stack(list(_fit(data, split, seed, names).values()))),
        lambda found: dict(zip(names, np.load(found, allow_pickle=False), strict=True)),
    )


class _Task(NamedTuple):
    """A split's training and test records as rows of a table of distinct sequences."""

    store: TokenStore
    sequences_S: np.ndarray  # index in the store
    train_N: np.ndarray  # row of each training record
    labels_N: np.ndarray
    test_M: np.ndarray  # row of each test record
    C: int


class _Choice(NamedTuple):
    strength: float  # scikit-learn's C: smaller is more regularised
    balanced: bool


def _fit(data: LabelledSet, split: Split, seed: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    records = np.concatenate([split.train, split.test])
    sequences_S, rows = np.unique(data.sequences_N[records], return_inverse=True)
    train_N, test_M = np.split(rows, [len(split.train)])
    labels_N = data.labels_N[split.train]
    task = _Task(data.store, sequences_S, train_N, labels_N, test_M, len(data.label_names))
    # Their vectors are too small for BLAS threads, which fight with the threads of `_tune`
    # (measured: several times the CPU time).
    with threadpool_limits(1, "blas"):
        return {name: _predict(name, task, seed) for name in names}


def _predict(name: str, task: _Task, seed: int) -> np.ndarray:
    if name == "majority":
        return _majority(task)
    if name == "nearest":
        return _nearest(task)
    features_SF = _FEATURES[name](task)
    choice, score = _tune(task, features_SF, seed)
    log.info(
        "baseline %s: C = %g, class weights %s, balanced accuracy inside training %.3f",
        *(name, choice.strength, "balanced" if choice.balanced else "none", score),
    )
    return _regress(features_SF, task.train_N, task.labels_N, task.test_M, task.C, choice)


def _majority(task: _Task) -> np.ndarray:
    shares_C = np.bincount(task.labels_N, minlength=task.C) / len(task.labels_N)
    return np.tile(shares_C, (len(task.test_M), 1))


def _nearest(task: _Task) -> np.ndarray:
    frequencies_SF = normalize(kmer_counts(task.store, task.sequences_S, 3))
    train_S, test_S = np.unique(task.train_N), np.unique(task.test_M)
    search = NearestNeighbors(n_neighbors=1).fit(frequencies_SF[train_S])
    neighbour_S = np.empty(len(task.sequences_S), np.int64)
    # Between vectors of length 1, the nearest by distance is the nearest by cosine.
    found = search.kneighbors(frequencies_SF[test_S], return_distance=False)[:, 0]
    neighbour_S[test_S] = train_S[found]
    counts_SC = np.zeros((len(task.sequences_S), task.C))
    np.add.at(counts_SC, (task.train_N, task.labels_N), 1)
    counts_MC = counts_SC[neighbour_S[task.test_M]]
    return counts_MC / counts_MC.sum(1, keepdims=True)


def kmer_counts(store: TokenStore, sequences_S: np.ndarray, k: int) -> sparse.csr_array:
    """Count the k-mers of some distinct sequences of a store.

    Returns:
        counts_SF; the k-mer of tokens (a, b, c) is feature (a * V + b) * V + c, where V is the
        size of the alphabet.
    """
    V = store.alphabet.size
    windows_S = np.maximum(store.lengths_S[sequences_S] - k + 1, 0)
    offsets_S1 = np.concatenate([[0], np.cumsum(windows_S)])
    first_S = store.offsets_S1[sequences_S] - offsets_S1[:-1]
    start_W = np.arange(offsets_S1[-1]) + np.repeat(first_S, windows_S)
    code_W = np.zeros(len(start_W), np.int32)
    for shift in range(k):
        code_W = code_W * V + store.tokens_T[start_W + shift]
    counts_SF = sparse.csr_array(
        (np.ones(len(code_W)), code_W, offsets_S1), (len(sequences_S), V**k)
    )
    counts_SF.sum_duplicates()
    return counts_SF


def _log_length(task: _Task) -> np.ndarray:
    log_SF = np.log(task.store.lengths_S[task.sequences_S, None])
    return StandardScaler().fit(log_SF[np.unique(task.train_N)]).transform(log_SF)


def _composition(task: _Task) -> np.ndarray:
    frequencies_SF = normalize(kmer_counts(task.store, task.sequences_S, 1), "l1").toarray()
    return StandardScaler().fit(frequencies_SF[np.unique(task.train_N)]).transform(frequencies_SF)


def _rare_kmers(task: _Task) -> sparse.csr_array:
    counts_SF = kmer_counts(task.store, task.sequences_S, 3)
    train_S = np.unique(task.train_N)
    seen_F = counts_SF[train_S].sum(0) > 0
    seen_F[0] = True  # one column at least, should no sequence have three residues
    counts_SF = counts_SF[:, seen_F]
    return TfidfTransformer().fit(counts_SF[train_S]).transform(counts_SF)


_FEATURES: dict[str, Callable[[_Task], Features]] = {
    "length": _log_length,
    "composition": _composition,
    "kmer3": _rare_kmers,
}


def _tune(task: _Task, features_SF: Features, seed: int) -> tuple[_Choice, float]:
    """Return the choice with the best balanced accuracy in cross-validation, and that accuracy.

    It is taken over all folds together, because a rare class need not be in each of them.
    """
    shares, rng = [1 / FOLDS] * FOLDS, np.random.default_rng(seed)
    fold_N = assign_groups(task.train_N, task.labels_N, shares, rng, first_has_all=False)
    folds = np.unique(fold_N)  # fewer than FOLDS when there are fewer sequences
    choices = [_Choice(*pair) for pair in product(STRENGTHS, (False, True))]
    if len(folds) == 1:
        return choices[0], np.nan

    def held_out(job: tuple[_Choice, int]) -> np.ndarray:
        choice, fold = job
        fit_N, out_N = fold_N != fold, fold_N == fold
        rows_N, labels_N = task.train_N[fit_N], task.labels_N[fit_N]
        return _regress(features_SF, rows_N, labels_N, task.train_N[out_N], task.C, choice)

    # Sparse products release the interpreter lock, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        probabilities = list(pool.map(held_out, product(choices, folds)))
    labels_N = np.concatenate([task.labels_N[fold_N == fold] for fold in folds])
    scores = []
    for start in range(0, len(probabilities), len(folds)):
        predicted_N = np.concatenate(probabilities[start : start + len(folds)]).argmax(1)
        counts_CC = confusion(labels_N, predicted_N, task.C)
        present = np.unique(labels_N)
        scores.append(np.mean(counts_CC[present, present] / counts_CC[present].sum(1)))
    best = int(np.argmax(scores))  # the first of equals: strongly regularised, no weights
    return choices[best], scores[best]


def _regress(
    features_SF: Features,
    rows_N: np.ndarray,
    labels_N: np.ndarray,
    targets_M: np.ndarray,
    C: int,
    choice: _Choice,
) -> np.ndarray:
    """Fit logistic regression to some rows and return probabilities_MC of others.

    Records with the same sequence and class are one weighted row: the same problem, less work.
    """
    pairs_P, count_P = np.unique(rows_N * C + labels_N, return_counts=True)
    row_P, class_P = np.divmod(pairs_P, C)
    probabilities_MC = np.zeros((len(targets_M), C))
    present = np.unique(class_P)
    if len(present) == 1:
        probabilities_MC[:, present] = 1
        return probabilities_MC
    weight_P = count_P.astype(np.float64)
    if choice.balanced:
        size_C = np.bincount(labels_N, minlength=C)
        weight_P *= len(labels_N) / len(present) / size_C[class_P]
    model = LogisticRegression(C=choice.strength, max_iter=MAX_ITERATIONS)
    model.fit(features_SF[row_P], class_P, weight_P)
    probabilities_MC[:, model.classes_] = model.predict_proba(features_SF[targets_M])
    return probabilities_MC
