"""Residues predicted by counting: what a language model must beat to have learned more than that.

All count in the training part alone, every record once:

- `uniform`: all standard residues are equally likely.
- `unigram`: how frequent each residue is.
- `bigram`: how frequent it is behind the residue to the left.
- `neighbours`: how frequent it is between the residues to the left and to the right.

Counts are made smooth by pseudo-counts of the next simpler baseline, as in the hierarchical
Dirichlet model of MacKay and Peto (1995), Natural Language Engineering 1. For `neighbours` that is
p(x | left) p(x | right) / p(x), what holds where neighbours are independent given x, as in a
first-order Markov chain.

Shape letters: K = what can stand beside a residue: the alphabet's letters, then the mask and the
end of the sequence; V = standard residues; L = residues of a record; M = records.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from protemb.sequences.shuffles import STANDARD
from protemb.sequences.tokens import TokenStore
from protemb.training.language_scores import RecordSums

NAMES = ("uniform", "unigram", "bigram", "neighbours")
PSEUDO = 20.0
"""Pseudo-counts of a context."""
BLOCK = 1 << 20
"""Residues that are counted at a time."""

Tables = Mapping[str, np.ndarray]
"""log_p_KKV by baseline: of each residue, between what stands to the left and to the right."""


def beside(tokens_L: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray]:
    """What stands to the left and to the right of each residue.

    >>> [side.tolist() for side in beside(np.array([5, 6, 7]), end=22)]
    [[22, 5, 6], [6, 7, 22]]
    """
    padded = np.concatenate([[end], tokens_L, [end]])
    return padded[:-2], padded[2:]


def count_neighbours(store: TokenStore, records_M: np.ndarray) -> np.ndarray:
    """Return counts_KKV of the standard residues; a mask beside them stands for anything."""
    size = store.alphabet.size
    K = size + 2
    counts = np.zeros(K * K * STANDARD, np.int64)
    for tokens_L, left_L, right_L in _blocks(store, records_M, end=size + 1):
        known_L = tokens_L < STANDARD
        place = (left_L[known_L] * K + right_L[known_L]) * STANDARD + tokens_L[known_L]
        counts += np.bincount(place, minlength=len(counts))
    counts_KKV = counts.reshape(K, K, STANDARD)
    counts_KKV[size] = counts_KKV.sum(0)
    counts_KKV[:, size] = counts_KKV.sum(1)
    return counts_KKV


def _blocks(
    store: TokenStore, records_M: Iterable[int], end: int
) -> Iterator[tuple[np.ndarray, ...]]:
    """Residues of many records, with what stands to their left and right."""
    rows: list[tuple[np.ndarray, ...]] = []
    residues = 0
    for record in records_M:
        tokens_L = store.tokens(record).astype(np.int64)
        rows.append((tokens_L, *beside(tokens_L, end)))
        residues += len(tokens_L)
        if residues >= BLOCK:
            yield tuple(map(np.concatenate, zip(*rows, strict=True)))
            rows, residues = [], 0
    if rows:
        yield tuple(map(np.concatenate, zip(*rows, strict=True)))


def baseline_tables(store: TokenStore, records_M: np.ndarray) -> Tables:
    """Count in the training records and return the tables of all `NAMES`."""
    counts_KKV = count_neighbours(store, records_M)
    mask = store.alphabet.size
    flat_V = np.full(STANDARD, 1 / STANDARD)
    unigram_V = _smooth(counts_KKV[mask, mask], flat_V)
    left_KV = _smooth(counts_KKV[:, mask], unigram_V)
    right_KV = _smooth(counts_KKV[mask], unigram_V)
    independent_KKV = left_KV[:, None] * right_KV[None] / unigram_V
    independent_KKV /= independent_KKV.sum(2, keepdims=True)
    found = {
        "uniform": flat_V,
        "unigram": unigram_V,
        "bigram": left_KV[:, None],
        "neighbours": _smooth(counts_KKV, independent_KKV),
    }
    return {name: np.broadcast_to(np.log(table), counts_KKV.shape) for name, table in found.items()}


def _smooth(counts_V: np.ndarray, simpler_V: np.ndarray) -> np.ndarray:
    return (counts_V + PSEUDO * simpler_V) / (counts_V.sum(-1, keepdims=True) + PSEUDO)


def score_baselines(
    tables: Tables,
    example: Callable[[int], tuple[np.ndarray, np.ndarray]],
    records_M: np.ndarray,
    end: int,
) -> dict[str, RecordSums]:
    """Predict the same targets as the network, from what it is shown.

    Args:
        tables: of the baselines.
        example: gives what is shown of a record, and its targets.
        records_M: the records.
        end: what stands beside the first and the last residue.
    """
    sums = {name: RecordSums.zeros(len(records_M)) for name in tables}
    best = {name: table.argmax(2) for name, table in tables.items()}
    for row, record in enumerate(records_M):
        shown_L, targets_L = example(int(record))
        left_L, right_L = beside(shown_L.astype(np.int64), end)
        at = np.flatnonzero(targets_L < STANDARD)
        left, right, targets = left_L[at], right_L[at], targets_L[at]
        for name, table in tables.items():
            sums[name].nats_M[row] = -table[left, right, targets].sum()
            right_guesses = (best[name][left, right] == targets).sum()
            # Nothing is preferred: a guess is right by chance.
            sums[name].right_M[row] = len(at) / STANDARD if name == "uniform" else right_guesses
            sums[name].residues_M[row] = len(at)
    return sums
