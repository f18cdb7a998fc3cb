"""Sequences changed in a known way: what they keep says what a model can have read.

| change               | composition | dipeptides          | order of residues        |
|----------------------|-------------|---------------------|--------------------------|
| `rotate`             | kept        | all but 1           | kept on each side        |
| `swap_segments`      | kept        | all but 4 at most   | kept inside the pieces   |
| `reverse`            | kept        | each read backwards | read backwards           |
| `shuffle_dipeptides` | kept        | kept                | lost beyond neighbours   |
| `shuffle_residues`   | kept        | lost                | lost                     |
| `substitute`         | all but 1   | all but 2           | kept                     |

Lengths are kept by all. Every function returns a new array of the same type, and takes a sequence
of any length, none at all included.

Shape letters: L = residues, N = records.
"""

import hashlib
from collections.abc import Callable

import numpy as np

from protemb.errors import ConfigError
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.tokens import TokenStore

STANDARD = 20
"""Tokens below this are the standard residues; the alphabet's X comes after them."""


def rotate(tokens_L: np.ndarray, by: int) -> np.ndarray:
    """Move the first `by` residues to the end; any whole number will do.

    >>> rotate(np.array([1, 2, 3, 4], np.uint8), 1).tolist()
    [2, 3, 4, 1]
    """
    return np.roll(tokens_L, -by)


def swap_segments(tokens_L: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let two disjoint segments change places; each pair of segments is equally likely.

    The segments have one residue or more and may touch. A single residue stays as it is.
    """
    L = len(tokens_L)
    if L < 2:
        return tokens_L.copy()
    # 0 <= a < b <= c < d <= L are as many choices as four different numbers below L + 2.
    a, b, c, d = np.sort(rng.choice(L + 2, 4, replace=False)) - [0, 0, 1, 1]
    pieces = (tokens_L[:a], tokens_L[c:d], tokens_L[b:c], tokens_L[a:b], tokens_L[d:])
    return np.concatenate(pieces)


def reverse(tokens_L: np.ndarray) -> np.ndarray:
    """Read the sequence from its end to its start."""
    return tokens_L[::-1].copy()


def shuffle_residues(tokens_L: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put the residues into a random order, every order equally likely."""
    return tokens_L[rng.permutation(len(tokens_L))]


def shuffle_dipeptides(tokens_L: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a sequence with the same dipeptide counts, first and last residue.

    Every such sequence is equally likely. Residues are nodes, dipeptides are edges, and a sequence
    is a path over all edges (Altschul and Erickson 1985, Mol Biol Evol 2:526). The last exits of
    all residues but the final one form a tree towards the final one. Given the tree, the other
    exits may come in any order. The tree is drawn by loop-erased random walks (Wilson 1996, STOC,
    p. 296), which give the distribution that redrawing the exits until they form a tree gives.
    Time grows with L; the walks are short beside it.
    """
    if len(tokens_L) < 4:  # the ends are fixed, and one residue between them has one place
        return tokens_L.copy()
    sources, targets = tokens_L[:-1], tokens_L[1:]
    by_source = np.argsort(sources, kind="stable")
    stops = np.cumsum(np.bincount(sources, minlength=int(tokens_L.max()) + 1))
    exits_of = np.split(targets[by_source], stops[:-1])
    last_of = _last_exits(exits_of, int(tokens_L[-1]), rng)

    walks = [iter(_exit_order(exits, last_of.get(v), rng)) for v, exits in enumerate(exits_of)]
    residue = int(tokens_L[0])
    path = [residue]
    for _ in range(len(sources)):
        residue = next(walks[residue])
        path.append(residue)
    return np.array(path, tokens_L.dtype)


def _last_exits(exits_of: list[np.ndarray], final: int, rng: np.random.Generator) -> dict[int, int]:
    """Draw a tree towards `final`: the residue that follows each residue for the last time."""
    last_of: dict[int, int] = {}
    reached = {final}
    for start, exits in enumerate(exits_of):
        if not len(exits):
            continue
        here = start
        while here not in reached:
            # A later visit overwrites the exit, and with it the loop since the earlier one.
            last_of[here] = int(exits_of[here][rng.integers(len(exits_of[here]))])
            here = last_of[here]
        here = start
        while here not in reached:
            reached.add(here)
            here = last_of[here]
    return last_of


def _exit_order(exits: np.ndarray, last: int | None, rng: np.random.Generator) -> list[int]:
    """Put the exits of one residue into a random order; `last` takes the last place."""
    if last is None:
        return rng.permutation(exits).tolist()
    # Taken out before the shuffle: any rule by place afterwards would favour some orders.
    others = np.delete(exits, np.flatnonzero(exits == last)[0])
    return [*rng.permutation(others).tolist(), last]


def substitute(tokens_L: np.ndarray, rng: np.random.Generator, count: int = 1) -> np.ndarray:
    """Change `count` residues, each to another of the 20 standard residues.

    An X can be changed; nothing becomes an X. A shorter sequence is changed everywhere.
    """
    changed_L = tokens_L.copy()
    places = rng.choice(len(tokens_L), min(count, len(tokens_L)), replace=False)
    old = tokens_L[places].astype(np.int64)
    new = rng.integers(STANDARD - (old < STANDARD))
    changed_L[places] = new + (new >= old)  # leaves out the old one
    return changed_L


SHUFFLES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "residues": shuffle_residues,
    "dipeptides": shuffle_dipeptides,
}


def shuffled_set(data: LabelledSet, kind: str, seed: int) -> LabelledSet:
    """Shuffle every sequence of a set; ids, labels, fields and the order of records stay.

    The shuffle of a sequence depends on the seed and its residues alone, so identical sequences
    stay identical, whatever else is in the set. Different sequences can become the same one.

    Args:
        data: the set; it is left as it is.
        kind: one of `SHUFFLES`: what is kept, besides the composition.
        seed: 0 or above.

    Returns:
        A set in memory; its report has `shuffled`: the kind, the seed, and how many distinct
        sequences came out as they were.

    Raises:
        ConfigError: no such kind.
    """
    if kind not in SHUFFLES:
        raise ConfigError("shuffle", kind, f"one of {', '.join(SHUFFLES)}")
    store = data.store
    shuffled, unchanged = [], 0
    for sequence in range(store.n_sequences):
        tokens_L = store.distinct(sequence)
        content = int.from_bytes(hashlib.blake2b(tokens_L.tobytes(), digest_size=16).digest())
        shuffled_L = SHUFFLES[kind](tokens_L, np.random.default_rng((seed, content)))
        shuffled.append(store.alphabet.decode(shuffled_L))
        unchanged += bool((shuffled_L == tokens_L).all())
    texts = (shuffled[sequence] for sequence in store.sequence_of_N)
    copy = TokenStore.from_sequences(zip(store.ids(), texts, strict=True), store.alphabet)
    fact = {"kind": kind, "seed": seed, "unchanged": unchanged}
    report = {**data.report, "distinct_sequences": copy.n_sequences, "shuffled": fact}
    return LabelledSet(copy, data.labels_N, data.label_names, data.fields, report)
