"""Runs of one label along proteins, and what kind of protein they make.

Labels stand end to end, as codes; 255 is a residue that does not count, and ends a run.
Shape letters: T = residues of all proteins, P = proteins, G = runs, K = marks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NOT_COUNTED = 255
"""Code of a residue whose label is unknown, or which is masked."""
SHORTEST = 5
"""Residues of a run that make a mark, and that two membrane segments share at least."""


class Segments(NamedTuple):
    """Longest runs of one counted label inside one protein, from left to right.

    Attributes:
        protein_G: number of the protein.
        code_G: the label.
        start_G: first residue, counted over all proteins.
        stop_G: one past the last.
    """

    protein_G: np.ndarray
    code_G: np.ndarray
    start_G: np.ndarray
    stop_G: np.ndarray

    @property
    def length_G(self) -> np.ndarray:
        """Residues of each run."""
        return self.stop_G - self.start_G


def find_segments(codes_T: np.ndarray, offsets_P1: np.ndarray) -> Segments:
    """Cut the labels of proteins into runs.

    Args:
        codes_T: uint8 labels, proteins end to end.
        offsets_P1: protein p is codes_T[offsets_P1[p] : offsets_P1[p + 1]], never empty.

    >>> found = find_segments(np.array([1, 1, 0, 255, 0, 0], np.uint8), np.array([0, 5, 6]))
    >>> found.protein_G.tolist(), found.code_G.tolist(), found.length_G.tolist()
    ([0, 0, 0, 1], [1, 0, 0, 0], [2, 1, 1, 1])
    """
    begins_T = np.ones(len(codes_T), bool)
    begins_T[1:] = codes_T[1:] != codes_T[:-1]
    begins_T[offsets_P1[:-1]] = True
    start_G = np.flatnonzero(begins_T)
    stop_G = np.append(start_G[1:], len(codes_T))
    counted_G = codes_T[start_G] != NOT_COUNTED
    start_G, stop_G = start_G[counted_G], stop_G[counted_G]
    protein_G = np.searchsorted(offsets_P1, start_G, side="right") - 1
    return Segments(protein_G, codes_T[start_G], start_G, stop_G)


def present_marks(
    segments: Segments, proteins: int, marks_K: Sequence[Sequence[int]], shortest: int = SHORTEST
) -> np.ndarray:
    """Say which marks each protein bears: runs of `shortest` residues or more of a label.

    A single stray residue is no helix through a membrane, so it makes no membrane protein.

    Args:
        segments: runs of all proteins.
        proteins: P.
        marks_K: the codes that make each mark.
        shortest: residues that such a run has at least.

    Returns:
        present_PK, bool.
    """
    present_PK = np.zeros((proteins, len(marks_K)), bool)
    for k, codes in enumerate(marks_K):
        bearing_G = np.isin(segments.code_G, list(codes)) & (segments.length_G >= shortest)
        present_PK[segments.protein_G[bearing_G], k] = True
    return present_PK
