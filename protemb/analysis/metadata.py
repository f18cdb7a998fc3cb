"""Labels guessed from what is written beside a sequence, without looking at the sequence.

Host, subtype and year go together in real collections. A network that recognises the subtype
gets as far as these baselines by that alone; only what it scores above them can be about hosts.

Shape letters: N = records, M = test records, V = values of a field, C = classes.
"""

from collections.abc import Sequence

import numpy as np

from protemb.errors import ConfigError
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split

NOT_METADATA = ("position", "split")
"""Fields that say what to do with a record, nothing about it."""

SMOOTHING = 1.0
"""Records, in the shares of the classes, that are added to those of every value."""

BINS = 40
"""For years; on the influenza set, validation scores rise up to about so many and then stay."""


def metadata_baselines(
    data: LabelledSet,
    split: Split,
    fields: Sequence[Sequence[str]] | None = None,
    *,
    bins: int = BINS,
    balanced: bool = True,
) -> dict[str, np.ndarray]:
    """Predict labels from fields alone, learned from the training part alone.

    - One field: the class frequencies among training records with the same value, with one record
      in the shares of all classes added (additive smoothing). A value that training has not is
      answered with the prior.
    - Several fields: logistic regression (scikit-learn, C = 1) on one indicator per value. A value
      that training has not is ignored; where all are, the answer is the prior.

    Years are cut into bins with about equal numbers of training records; a year before or after
    all of them falls into the first or last bin. No year (0 or less) and an empty text are values
    of their own.

    Args:
        data: The records.
        split: Their parts; the validation part is not used.
        fields: Sets of fields to predict from. None: each field alone, and all together.
        bins: At most so many for years.
        balanced: Weigh classes equally, as training does: posteriors are divided by the shares of
            the classes (one field), or records weighted by their inverse (several). The prior is
            then equal for all classes that training has, otherwise their shares.

    Returns:
        probabilities_MC by name, the fields joined with "+"; rows as in `split.test`, columns as
        in `data.label_names`. Empty where the data has no fields.

    Raises:
        ConfigError: The data has no such field, or a set is empty.
    """
    known = [name for name in data.fields if name not in NOT_METADATA]
    if fields is None:
        fields = [[name] for name in known] + ([known] if len(known) > 1 else [])
    codes = {}
    for name in dict.fromkeys(name for names in fields for name in names):
        if name not in data.fields:
            given = ", ".join(known) or "none"
            raise ConfigError("metadata.fields", name, f"a field of the data (it has {given})")
        codes[name] = _codes(data.fields[name], split.train, bins)
    counts_C = np.bincount(data.labels_N[split.train], minlength=len(data.label_names))
    share_C = counts_C / len(split.train)
    predicted = {}
    for names in fields:
        if not len(names):
            raise ConfigError("metadata.fields", list(names), "one name or more in each set")
        predict = _frequencies if len(names) == 1 else _regression
        codes_NF = np.stack([codes[name] for name in names], axis=1)
        predicted["+".join(names)] = predict(codes_NF, data.labels_N, split, share_C, balanced)
    return predicted


def _codes(column_N: np.ndarray, train: np.ndarray, bins: int) -> np.ndarray:
    """Return a code for each record's value, from 0; years by bin, 0 for none."""
    if not np.issubdtype(column_N.dtype, np.number):
        return np.unique(column_N, return_inverse=True)[1]
    years = column_N[train][column_N[train] > 0]
    shares = np.arange(1, bins) / bins
    # The last year of each bin. Frequent years can fill several; those bins are one.
    last = np.unique(np.quantile(years, shares, method="inverted_cdf")) if len(years) else years
    return np.where(column_N > 0, 1 + np.searchsorted(last, column_N), 0)


def _frequencies(
    codes_NF: np.ndarray, labels_N: np.ndarray, split: Split, share_C: np.ndarray, balanced: bool
) -> np.ndarray:
    """Return probabilities_MC from the training records with the same value."""
    code_N = codes_NF[:, 0]
    counts_VC = np.zeros((code_N.max() + 1, len(share_C)))
    np.add.at(counts_VC, (code_N[split.train], labels_N[split.train]), 1)
    smoothed_MC = (counts_VC + SMOOTHING * share_C)[code_N[split.test]]
    if balanced:
        smoothed_MC = _divide(smoothed_MC, share_C)
    return smoothed_MC / smoothed_MC.sum(1, keepdims=True)


def _regression(
    codes_NF: np.ndarray, labels_N: np.ndarray, split: Split, share_C: np.ndarray, balanced: bool
) -> np.ndarray:
    """Return probabilities_MC from a logistic regression on indicators of the values."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import OneHotEncoder

    prior_C = (share_C > 0) / (share_C > 0).sum() if balanced else share_C
    probabilities_MC = np.tile(prior_C, (len(split.test), 1))
    present = np.flatnonzero(share_C)
    encoder = OneHotEncoder(handle_unknown="ignore").fit(codes_NF[split.train])
    test_MV = encoder.transform(codes_NF[split.test])
    seen = np.flatnonzero(test_MV.sum(1))
    if len(present) > 1 and len(seen):
        model = LogisticRegression(
            max_iter=5000, class_weight="balanced" if balanced else None, random_state=0
        )
        model.fit(encoder.transform(codes_NF[split.train]), labels_N[split.train])
        probabilities_MC[np.ix_(seen, present)] = model.predict_proba(test_MV[seen])
    return probabilities_MC


def _divide(amount_C: np.ndarray, share_C: np.ndarray) -> np.ndarray:
    """Divide by the shares of the classes; 0 stays for classes without any."""
    return np.divide(amount_C, share_C, out=np.zeros_like(amount_C), where=share_C > 0)
