"""What counts as one observation: records that are too alike to be independent.

Shape letters: N = all records, M = records asked for, S = distinct sequences among them.
"""

import numpy as np

from protemb.sequences.clusters import near_duplicates
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.grouping import connected_groups
from protemb.sequences.partition import Split
from protemb.sequences.tokens import TokenStore

IDENTITY = 0.99
FEWEST = 20
"""Below so many groups of a split, resampling them says nothing."""
MOST_COMPARED = 20_000
"""Above so many distinct sequences, only equal ones are taken together: all are compared."""


def resampling_units(
    data: LabelledSet, split: Split, *, identity: float = IDENTITY
) -> tuple[np.ndarray, dict[str, object]]:
    """Group the test records into the units that intervals resample.

    Sequences of at least `identity` (edits per residue, to the longest one that is not yet
    represented) are one unit. Where the split kept larger groups together (clusters, families) and
    the test part has 20 or more of them, the group is the unit.

    Args:
        data: The records.
        split: Their parts.
        identity: From above 0 to 1; 1 takes only equal sequences together.

    Returns:
        unit_M (codes from 0, rows as in `split.test`) and plain facts: `kind` (`group`, `similar`
        or `identical`), `identity`, `count` and, where there were too few, `groups`.
    """
    sequences_S, place_M = np.unique(data.sequences_N[split.test], return_inverse=True)
    similar = identity < 1 and len(sequences_S) <= MOST_COMPARED
    unit_M = _near(data.store, sequences_S, identity)[place_M] if similar else place_M
    facts: dict[str, object] = {
        "kind": "similar" if similar else "identical",
        "identity": identity if similar else 1.0,
    }
    if split.groups_N is not None:
        _, group_M = np.unique(split.groups_N[split.test], return_inverse=True)
        together_M = connected_groups(unit_M, group_M)
        groups = int(together_M.max()) + 1
        if groups < int(unit_M.max()) + 1:
            facts["groups"] = groups
            if groups >= FEWEST:
                unit_M, facts["kind"] = together_M, "group"
    return unit_M, facts | {"count": int(unit_M.max()) + 1}


def _near(store: TokenStore, sequences_S: np.ndarray, identity: float) -> np.ndarray:
    """Return the unit of each sequence, from 0."""
    chosen = TokenStore.from_sequences(
        ((str(s), store.alphabet.decode(store.distinct(s))) for s in sequences_S),
        store.alphabet,
    )
    return np.unique(near_duplicates(chosen, identity), return_inverse=True)[1]
