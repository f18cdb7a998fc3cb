"""Groups of records that must stay together, and their assignment to parts.

Shape letters: N = records, G = groups, C = classes, P = parts.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse


def connected_groups(first_N: np.ndarray, second_N: np.ndarray) -> np.ndarray:
    """Unite records that share a value in either column, directly or through others.

    Args:
        first_N: Codes from 0 (int).
        second_N: Codes from 0 (int).

    Returns:
        group_of_N, codes from 0.

    >>> connected_groups(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])).tolist()
    [0, 0, 0, 1]
    """
    n_first = int(first_N.max()) + 1
    nodes = n_first + int(second_N.max()) + 1
    edges = (np.ones(len(first_N), bool), (first_N, n_first + second_N))
    graph = sparse.coo_array(edges, (nodes, nodes))
    _, component = sparse.csgraph.connected_components(graph, directed=False)
    return component[first_N].astype(np.int64)


def assign_groups(
    groups_N: np.ndarray,
    labels_N: np.ndarray,
    shares_P: Sequence[float],
    rng: np.random.Generator,
    *,
    first_has_all: bool,
) -> np.ndarray:
    """Deal whole groups out so that every part gets about its share of every class.

    1. Groups of two or more come first, large before small. Until half of the records are
       placed, a group goes to a part drawn in proportion to what it lacks of the group's
       classes, among the parts that have room for it; later to the part that lacks most.
    2. Groups of one record fill up what is lacking.
    3. Where a part still has nothing of a class, the group moves to it that costs least in
       balance, from a part in which at least as much of every class of the group stays behind.

    Args:
        groups_N: Group code of each record (int).
        labels_N: Class code of each record (int).
        shares_P: Share of each part; they add up to 1.
        rng: Every random choice comes from it.
        first_has_all: The first part gets every class before the others, and wherever it comes
            from.

    Returns:
        part_of_N, index of the part of each record.
    """
    _, groups_N = np.unique(groups_N, return_inverse=True)
    deal = _Deal(groups_N, labels_N, np.asarray(shares_P, float), rng)
    deal.place_large_groups()
    deal.place_single_records()
    if first_has_all:
        for c in deal.rare_first:
            deal.give(c, 0, at_any_cost=True)
    for c in deal.rare_first:
        # The part that lacks most records comes first: many small classes then even out.
        for part in np.argsort(-deal.lacking_PC[:, ALL]):
            deal.give(c, int(part))
    return deal.part_of_G[groups_N]


ALL = -1  # the last column of a class axis counts records of all classes, as one more class
TINY = 1e-9  # rounding error of amounts; one record of 10 million is 1e-7


class _Deal:
    """State of one assignment; amounts are in units of a class's total."""

    def __init__(
        self,
        groups_N: np.ndarray,
        labels_N: np.ndarray,
        shares_P: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        n, C = len(groups_N), int(labels_N.max()) + 1
        columns = np.concatenate([labels_N, np.full(n, C)])
        entries = (np.ones(2 * n), (np.tile(groups_N, 2), columns))
        self.amounts_GC = sparse.coo_array(entries).tocsr()  # same (group, class): added up
        self.sizes_G = self.amounts_GC.sum(axis=1) / 2
        totals_C = self.amounts_GC.sum(axis=0)
        self.amounts_GC.data /= totals_C[self.amounts_GC.indices]
        self.members_CG = self.amounts_GC.T.tocsr()
        self.shares_P, self.rng = shares_P, rng
        self.lacking_PC = np.repeat(shares_P[:, None], C + 1, axis=1)
        self.part_of_G = np.full(len(self.sizes_G), -1, np.int64)
        n_groups_C = np.diff(self.members_CG.indptr)
        present = np.flatnonzero(n_groups_C)
        self.rare_first = present[np.argsort(n_groups_C[present], kind="stable")]

    def place_large_groups(self) -> None:
        groups = np.flatnonzero(self.sizes_G > 1)
        self.rng.shuffle(groups)
        # Halving size classes: large first, yet in another order with every seed.
        groups = groups[np.argsort(-np.floor(np.log2(self.sizes_G[groups])), kind="stable")]
        late_G = np.cumsum(self.sizes_G[groups]) > self.sizes_G.sum() / 2
        table = self.amounts_GC
        chances = self.rng.random(len(groups))
        for group, late, chance in zip(groups, late_G, chances, strict=True):
            here = slice(table.indptr[group], table.indptr[group + 1])
            classes, amounts = table.indices[here], table.data[here]
            # The squared distance to all shares falls most where this is largest.
            lacking_P = self.lacking_PC[:, classes] @ amounts
            room_P = np.where(lacking_P > amounts @ amounts - TINY, lacking_P, 0)
            if late or not room_P.any():
                part = np.argmax(lacking_P)
            else:
                edges_P = np.cumsum(room_P)
                part = np.searchsorted(edges_P, chance * edges_P[-1], side="right")
            self.lacking_PC[part, classes] -= amounts
            self.part_of_G[group] = part

    def place_single_records(self) -> None:
        groups = np.flatnonzero(self.sizes_G == 1)
        self.rng.shuffle(groups)
        single = self.amounts_GC[groups]
        class_of = single.indices[single.indptr[:-1]]  # two entries in a row: its class, ALL
        for c in np.unique(class_of):
            members = groups[class_of == c]
            numbers_P = _apportion(self.lacking_PC[:, c].clip(0), len(members), self.rng)
            self.part_of_G[members] = np.repeat(np.arange(len(numbers_P)), numbers_P)
            for column in (c, ALL):
                self.lacking_PC[:, column] -= numbers_P * self.amounts_GC[members[0], column]

    def give(self, c: int, part: int, at_any_cost: bool = False) -> None:
        """Move a group of class `c` to `part` if it has none and one is free to move."""
        if self.shares_P[part] - self.lacking_PC[part, c] > TINY:
            return
        members = self.members_CG.indices[slice(*self.members_CG.indptr[c : c + 2])]
        giver_M, amounts_MC = self.part_of_G[members], self.amounts_GC[members]
        # Half of what the squared distance to all shares grows by.
        gain_MP = amounts_MC @ (self.lacking_PC[part] - self.lacking_PC).T
        cost_M = (amounts_MC**2).sum(axis=1) - gain_MP[np.arange(len(members)), giver_M]
        if not at_any_cost:
            row_E, class_E = amounts_MC.nonzero()
            held_E = self.shares_P[giver_M[row_E]] - self.lacking_PC[giver_M[row_E], class_E]
            cost_M[row_E[held_E < 2 * amounts_MC.data - TINY]] = np.inf
        best = np.lexsort((self.rng.random(len(members)), cost_M))[0]
        if cost_M[best] < np.inf:
            moved_C = amounts_MC[[best]].toarray()[0]
            self.lacking_PC[part] -= moved_C
            self.lacking_PC[giver_M[best]] += moved_C
            self.part_of_G[members[best]] = part


def _apportion(weights_P: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """Return whole numbers that add up to `total`, in proportion to the weights.

    What cannot be divided is drawn with the remainders as probabilities: over many small
    classes, parts keep their shares.

    >>> _apportion(np.array([0.7, 0.1, 0.2]), 20, np.random.default_rng(0)).tolist()
    [14, 2, 4]
    """
    exact_P = total * weights_P / weights_P.sum()
    numbers_P = np.floor(exact_P + TINY).astype(np.int64)
    left = total - int(numbers_P.sum())
    order = rng.permutation(len(weights_P))
    edges = np.cumsum((exact_P - numbers_P)[order])
    drawn = np.searchsorted(edges, rng.random() + np.arange(left), side="right")
    numbers_P[order[drawn.clip(max=len(order) - 1)]] += 1
    return numbers_P
