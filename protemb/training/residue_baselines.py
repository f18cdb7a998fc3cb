"""Baselines for residue labels that see no more than a few neighbours.

All learn from the training part of a split alone:

- `majority`: the most frequent label.
- `residue`: the label that is most frequent for this amino acid.
- `window`: multinomial logistic regression on the amino acids from seven residues before to seven
  after (one-hot, with a letter for "outside the protein"), fitted to a sample of residues.

Shape letters: T = residues of the records asked for, N = sampled residues, W = places of the
window, V = letters, C = labels.
"""

from pathlib import Path

import numpy as np
import sklearn
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from protemb import __version__
from protemb.files import cached_file, content_key
from protemb.sequences.partition import Split
from protemb.sequences.residue_set import ResidueSet
from protemb.sequences.segments import NOT_COUNTED

# Raise it when the same records are fitted in another way than before.
FORMAT = 1
NAMES = ("majority", "residue", "window")
REACH = 7
SAMPLE = 50_000
"""Residues that the regression learns from: more change the third digit and cost minutes."""
MAX_ITERATIONS = 300
CHUNK = 2**17


def fit_residue_baselines(
    data: ResidueSet, split: Split, *, seed: int, cache_dir: Path | None = None
) -> dict[str, np.ndarray]:
    """Fit the baselines to the training part and predict the test part.

    Args:
        data: The records.
        split: Their parts.
        seed: Draws the regression's sample.
        cache_dir: Results are kept here, in `baselines/`, by content.

    Returns:
        codes_T (uint8) by name; the residues of `split.test` end to end.
    """
    if cache_dir is None:
        return _fit(data, split, seed)
    parts = {
        "data": data.fingerprint,
        "split": split.fingerprint,
        "seed": seed,
        "names": list(NAMES),
        "window": [REACH, SAMPLE],
        "version": [__version__, FORMAT, sklearn.__version__],
    }
    path = cache_dir / "baselines" / f"{content_key(parts)}.npy"
    return cached_file(
        path,
        lambda part: np.save(part, np.stack(list(_fit(data, split, seed).values()))),
        lambda found: dict(zip(NAMES, np.load(found, allow_pickle=False), strict=True)),
    )


def _fit(data: ResidueSet, split: Split, seed: int) -> dict[str, np.ndarray]:
    C, V = len(data.letters), data.labelled.store.alphabet.size
    labels_T, _ = data.flat(split.train)
    centre_T, wide = _windows(data, split.train)
    counted = np.flatnonzero(labels_T != NOT_COUNTED)
    pairs = wide[centre_T[counted]].astype(np.int64) * C + labels_T[counted]
    counts_VC = np.bincount(pairs, minlength=(V + 1) * C).reshape(V + 1, C)
    majority = int(counts_VC.sum(0).argmax())
    # An amino acid that training never saw gets the label of all.
    usual_V = np.where(counts_VC.sum(1) > 0, counts_VC.argmax(1), majority).astype(np.uint8)

    sample = counted
    if len(counted) > SAMPLE:
        chosen = np.random.default_rng(seed).choice(len(counted), SAMPLE, replace=False)
        sample = counted[np.sort(chosen)]
    test_T, test_wide = _windows(data, split.test)
    return {
        "majority": np.full(len(test_T), majority, np.uint8),
        "residue": usual_V[test_wide[test_T]],
        "window": _regress(
            _one_hot(wide, centre_T[sample], V), labels_T[sample], test_wide, test_T, V
        ),
    }


def _windows(data: ResidueSet, records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of records with `REACH` places outside between them, and where each residue is."""
    store = data.labelled.store
    V = store.alphabet.size
    gap = np.full(REACH, V, np.uint8)
    pieces = [gap]
    for record in records:
        pieces += [store.tokens(record), gap]
    wide = np.concatenate(pieces)
    return np.flatnonzero(wide != V), wide


def _one_hot(wide: np.ndarray, centre_N: np.ndarray, V: int) -> sparse.csr_array:
    """Features of windows: one of V + 1 letters at each of W places."""
    shifts_W = np.arange(-REACH, REACH + 1)
    columns_NW = wide[centre_N[:, None] + shifts_W] + np.arange(len(shifts_W)) * (V + 1)
    rows = np.arange(0, columns_NW.size + 1, len(shifts_W))
    shape = (len(centre_N), len(shifts_W) * (V + 1))
    return sparse.csr_array((np.ones(columns_NW.size), columns_NW.ravel(), rows), shape)


def _regress(
    features_NF: sparse.csr_array,
    labels_N: np.ndarray,
    wide: np.ndarray,
    centre_T: np.ndarray,
    V: int,
) -> np.ndarray:
    """Fit the regression and predict residue by residue, a chunk at a time."""
    if len(np.unique(labels_N)) == 1:
        return np.full(len(centre_T), labels_N[0], np.uint8)
    with threadpool_limits(1, "blas"):
        model = LogisticRegression(max_iter=MAX_ITERATIONS).fit(features_NF, labels_N)
        return np.concatenate(
            [
                model.predict(_one_hot(wide, centre_T[start : start + CHUNK], V)).astype(np.uint8)
                for start in range(0, len(centre_T), CHUNK)
            ]
        )
