"""A smaller training part, for learning curves over the amount of data."""

from dataclasses import replace

import numpy as np

from protemb.errors import ConfigError
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split


def thin(data: LabelledSet, split: Split, share: float, *, seed: int = 0) -> Split:
    """Keep a share of the distinct training sequences of each label; the other parts stay.

    A smaller share is a subset of a larger one with the same seed, and each label keeps one
    sequence at least. A sequence with several labels counts with its most frequent one.

    Args:
        data: The records.
        split: Their parts.
        share: Above 0, at most 1.
        seed: Order in which sequences are left out.

    Raises:
        ConfigError: a share out of range.
    """
    if not 0 < share <= 1:
        raise ConfigError("train_share", share, "a share above 0, at most 1")
    if share == 1:
        return split
    sequences_S, place_N = np.unique(data.sequences_N[split.train], return_inverse=True)
    counts_SC = np.zeros((len(sequences_S), len(data.label_names)), np.int64)
    np.add.at(counts_SC, (place_N, data.labels_N[split.train]), 1)
    label_S = counts_SC.argmax(1)
    order = np.random.default_rng(seed).permutation(len(sequences_S))
    kept_S = np.zeros(len(sequences_S), bool)
    for c in np.flatnonzero(counts_SC.any(0)):
        own = order[label_S[order] == c]
        if not len(own):  # never the most frequent label: the first sequence that has it
            own = order[counts_SC[order, c] > 0][:1]
        kept_S[own[: max(1, round(share * len(own)))]] = True
    parameters = {**split.parameters, "train_share": share, "train_share_seed": seed}
    return replace(split, train=split.train[kept_S[place_N]], parameters=parameters)
