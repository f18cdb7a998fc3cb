"""How alike sequences are: identity by edit distance, candidates by shared k-mers.

Identity here is 1 - edit distance / length of the longer sequence: the edit distance is the
least number of substitutions, insertions and deletions of residues (global, unit costs), so
identity is 1 for equal sequences and, without gaps, the share of equal positions. It is exact
and needs no scoring matrix, but it is a measure of near relatives: unrelated proteins of equal
length reach 0.2 to 0.3, and a domain shared by proteins of unequal length counts for little.

Shape letters: R = test records, S = distinct sequences, F = k-mer features.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split
from protemb.sequences.tokens import TokenStore

K = 3
# Pairs of (test, train) whose shared k-mers are counted at a time; bounds memory.
PAIRS_AT_ONCE = 4_000_000


def edit_distance(first: np.ndarray, second: np.ndarray) -> int:
    """Least number of substituted, inserted and deleted residues between two token arrays.

    Myers' bit-parallel algorithm (J. ACM 1999, in Hyyro's form for global distance); Python's
    integers are the bit vectors, so that length has no limit.

    >>> edit_distance(np.frombuffer(b"KITTEN", np.uint8), np.frombuffer(b"SITTING", np.uint8))
    3
    """
    return _Pattern(first).distance(second)


def edit_identity(first: np.ndarray, second: np.ndarray) -> float:
    """Return 1 - edit distance / length of the longer one."""
    return _Pattern(first).identity(second)


class _Pattern:
    """One sequence, ready to be compared with many."""

    def __init__(self, tokens: np.ndarray) -> None:
        self.length = len(tokens)
        self.where = {
            int(token): int.from_bytes(np.packbits(tokens == token, bitorder="little"), "little")
            for token in np.unique(tokens)
        }

    def distance(self, tokens: np.ndarray) -> int:
        # Bit i of `up` (`down`): going down column j of the dynamic programming matrix, row i + 1
        # is one more (less) than row i. The columns are the residues of `tokens`.
        full = (1 << self.length) - 1
        up, down = full, 0
        for token in tokens.tobytes():
            equal = self.where.get(token, 0)
            diagonal = (((equal & up) + up) ^ up) | equal
            rising = down | ~(diagonal | up)
            falling = up & diagonal
            rising = rising << 1 | 1
            falling <<= 1
            vertical = equal | down
            up = (falling | ~(vertical | rising)) & full
            down = rising & vertical & full
        return len(tokens) + up.bit_count() - down.bit_count()

    def identity(self, tokens: np.ndarray) -> float:
        return 1 - self.distance(tokens) / max(self.length, len(tokens))


def kmer_table(store: TokenStore, k: int = K) -> sparse.csr_array:
    """Return counts_SF of k-mers as a 0/1 matrix: the n-th copy of a k-mer is its own feature.

    The product of two rows is the number of k-mers that two sequences share, copies counted.
    """
    n_codes = store.alphabet.size**k
    n_windows = max(len(store.tokens_T) - k + 1, 0)
    code_T = np.zeros(n_windows, np.int64)
    for shift in range(k):
        code_T = code_T * store.alphabet.size + store.tokens_T[shift : n_windows + shift]
    kmers_S = np.maximum(store.lengths_S - k + 1, 0)
    offsets_S1 = np.concatenate([[0], np.cumsum(kmers_S)])
    # W: windows that lie within a sequence.
    row_W = np.repeat(np.arange(store.n_sequences), kmers_S)
    start_W = np.arange(len(row_W)) + (store.offsets_S1[:-1] - offsets_S1[:-1])[row_W]
    key_W = np.sort(row_W * n_codes + code_T[start_W])
    starts_W = np.flatnonzero(np.diff(key_W, prepend=-1))
    copy_W = np.arange(len(key_W)) - np.repeat(starts_W, np.diff(starts_W, append=len(key_W)))
    feature_W = (copy_W * n_codes + key_W % n_codes).astype(np.int32)
    n_features = n_codes * (int(copy_W.max(initial=0)) + 1)
    entries = (np.ones(len(key_W), np.int32), feature_W, offsets_S1)
    return sparse.csr_array(entries, (store.n_sequences, n_features))


def identity_bound(length: int, lengths: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Return the highest identity that so many shared k-mers allow: an edit changes at most k."""
    longest = np.maximum(length, lengths)
    edits = np.maximum(-(-(longest - K + 1 - shared) // K), np.abs(length - lengths))
    return 1 - np.maximum(edits, 0) / longest


class Neighbours(NamedTuple):
    """Nearest training sequence of each test record, in the order of the split's test part.

    Attributes:
        identity_R: Identity (see the module) to the nearest training sequence found.
        record_R: A training record that has this sequence.
        proven_R: True where no other training sequence can be nearer.
    """

    identity_R: np.ndarray
    record_R: np.ndarray
    proven_R: np.ndarray


def nearest_identity(data: LabelledSet, split: Split, candidates: int = 8) -> Neighbours:
    """Return the nearest training neighbour of every test record.

    Of each distinct test sequence, up to `candidates` training sequences are aligned, those
    first that could be nearest: an edit changes at most k k-mers (k = 3), so the number of
    k-mers that two sequences share bounds their identity from above. The search stops when the
    bound of the next is not above the best identity found, which proves it; where it has to
    stop without (seen only when all neighbours are remote), the identity is a lower bound.
    """
    store = data.store
    test_S, inverse_R = np.unique(data.sequences_N[split.test], return_inverse=True)
    train_S, first_N = np.unique(data.sequences_N[split.train], return_index=True)
    # A sequence that is in train itself is its own neighbour.
    column = np.searchsorted(train_S, test_S).clip(max=len(train_S) - 1)
    proven = train_S[column] == test_S
    best = proven.astype(float)
    unknown = np.flatnonzero(~proven)

    kmers_SF = kmer_table(store)
    kmers_FS = kmers_SF[train_S].T.tocsr()
    rows = max(1, PAIRS_AT_ONCE // len(train_S))
    for start in range(0, len(unknown), rows):
        here = unknown[start : start + rows]
        shared = (kmers_SF[test_S[here]] @ kmers_FS).toarray()
        for row, sequence, shared_by in zip(here, test_S[here], shared, strict=True):
            bound = identity_bound(store.lengths_S[sequence], store.lengths_S[train_S], shared_by)
            best[row], column[row], proven[row] = _nearest(
                store, sequence, train_S, bound, candidates
            )
    return Neighbours(best[inverse_R], split.train[first_N[column]][inverse_R], proven[inverse_R])


def _nearest(
    store: TokenStore, sequence: int, others: np.ndarray, bound: np.ndarray, candidates: int
) -> tuple[float, int, bool]:
    """Return the best identity, its index in `others`, and whether it is proven."""
    pattern = _Pattern(store.distinct(sequence))
    best, column = -1.0, -1
    for aligned, index in enumerate(np.argsort(-bound, kind="stable")):
        if bound[index] <= best:
            break
        if aligned == candidates:
            return best, column, False
        identity = pattern.identity(store.distinct(others[index]))
        if identity > best:
            best, column = identity, index
    return best, column, True
