"""What simple measures tell of two proteins' likeness; each is a score, higher is more alike.

- `length`: minus the absolute difference of log lengths;
- `composition`: minus the L1 distance of amino-acid frequencies;
- `kmer3`: cosine of 3-mer counts;
- `alignment`: local alignment score (Smith and Waterman 1981), BLOSUM62, gaps -11 and -1 as BLASTP
  has them. The bit score is a growing function of it, so it ranks pairs alike.

Shape letters: P = pairs, S = distinct sequences, F = k-mer features.
"""

from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from protemb.errors import MissingExtra
from protemb.sequences.tokens import TokenStore
from protemb.training.baselines import kmer_counts

OPEN, EXTEND = -11.0, -1.0
BLOCK = 4096
"""Pairs that are compared at once."""


def pair_baselines(
    store: TokenStore, records_P2: np.ndarray, *, alignment: bool
) -> dict[str, np.ndarray]:
    """Score pairs of records by every baseline.

    Args:
        store: tokens of the records.
        records_P2: the pairs.
        alignment: align as well; needs Biopython.

    Returns:
        scores_P (float64) by the baseline's name.

    Raises:
        MissingExtra: alignment without Biopython.
    """
    sequences_S, rows_P = np.unique(store.sequence_of_N[records_P2], return_inverse=True)
    rows_P2 = rows_P.reshape(-1, 2)
    log_S = np.log(store.lengths_S[sequences_S])
    shares_SF = normalize(kmer_counts(store, sequences_S, 1), "l1").toarray()
    kmers_SF = normalize(kmer_counts(store, sequences_S, 3)).tocsr()
    composition, cosine = np.empty(len(rows_P2)), np.empty(len(rows_P2))
    for start in range(0, len(rows_P2), BLOCK):
        block = slice(start, start + BLOCK)
        first_P, second_P = rows_P2[block].T
        composition[block] = -np.abs(shares_SF[first_P] - shares_SF[second_P]).sum(1)
        cosine[block] = kmers_SF[first_P].multiply(kmers_SF[second_P]).sum(1)
    found = {
        "length": -np.abs(np.diff(log_S[rows_P2], axis=1)[:, 0]),
        "composition": composition,
        "kmer3": cosine,
    }
    if alignment:
        found["alignment"] = _alignment_scores(store, sequences_S, rows_P2)
    return found


def make_aligner() -> Any:
    """Biopython's aligner, ready for local alignments of proteins.

    Raises:
        MissingExtra: Biopython is not there.
    """
    try:
        from Bio.Align import PairwiseAligner, substitution_matrices
    except ImportError:
        raise MissingExtra("task.alignment=true", "biopython", "explain") from None
    aligner = PairwiseAligner(mode="local", open_gap_score=OPEN, extend_gap_score=EXTEND)
    aligner.substitution_matrix = substitution_matrices.load("BLOSUM62")
    return aligner


def _alignment_scores(
    store: TokenStore, sequences_S: np.ndarray, rows_P2: np.ndarray
) -> np.ndarray:
    aligner = make_aligner()
    texts = [store.alphabet.decode(store.distinct(s)) for s in sequences_S]
    return np.array([aligner.score(texts[a], texts[b]) for a, b in rows_P2])
