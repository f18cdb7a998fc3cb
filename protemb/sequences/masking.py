"""Which residues of a sequence are to be guessed, and what is shown in their place.

Shape letters: L = residues of the sequence.
"""

import numpy as np

from protemb.sequences.shuffles import STANDARD

NO_TARGET = 255
"""Stands where nothing is to be guessed: unknown residues are no target, and no mistake."""

MASKED, RANDOM = 0.8, 0.1
"""Of the chosen residues, so many are masked and changed at random; the rest is shown."""


def all_targets(tokens_L: np.ndarray) -> np.ndarray:
    """Every standard residue is a target.

    >>> all_targets(np.array([3, 20, 0], np.uint8)).tolist()
    [3, 255, 0]
    """
    return np.where(tokens_L < STANDARD, tokens_L, NO_TARGET).astype(np.uint8)


def mask_residues(
    tokens_L: np.ndarray, share: float, mask: int, rng: np.random.Generator, *, show: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Choose standard residues to be guessed and hide them (Devlin et al. 2019, section 3.1).

    Args:
        tokens_L: the sequence.
        share: of its standard residues, that are chosen; one at least, if there is one.
        mask: token that hides a residue.
        rng: every random choice comes from it.
        show: of the chosen ones hide 80 %, change 10 % at random and show 10 % as they are, so
            that states of residues which are not hidden are learned as well. Without it, all are
            hidden: what is to be guessed is then not seen, neither by a network nor by a baseline.

    Returns:
        inputs_L and targets_L (uint8): what is shown, and the chosen residues or `NO_TARGET`.
    """
    inputs_L, targets_L = tokens_L.copy(), np.full(len(tokens_L), NO_TARGET, np.uint8)
    standard = np.flatnonzero(tokens_L < STANDARD)
    if not len(standard):
        return inputs_L, targets_L
    count = max(1, round(share * len(standard)))
    chosen = rng.permutation(standard)[:count]
    targets_L[chosen] = tokens_L[chosen]
    if not show:
        inputs_L[chosen] = mask
        return inputs_L, targets_L
    draws, others = rng.random(count), rng.integers(STANDARD, size=count)
    inputs_L[chosen[draws < MASKED]] = mask
    changed = (draws >= MASKED) & (draws < MASKED + RANDOM)
    inputs_L[chosen[changed]] = others[changed]
    return inputs_L, targets_L
