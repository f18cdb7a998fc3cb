"""Which rows are held out together.

Shape letters: N = rows of the table, P = proteins, G = groups.
"""

from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

from protemb.errors import ConfigError
from protemb.sequences.clusters import find_clusters
from protemb.sequences.grouping import connected_groups
from protemb.sequences.tokens import TokenStore
from protemb.variants.table import VariantTable

KINDS = ("protein", "cluster", "group", "random")

Facts = dict[str, object]


def make_folds(
    kind: str,
    table: VariantTable,
    folds: int,
    seed: int,
    *,
    identity: float = 0.5,
    cache_dir: Path | None = None,
    option: str = "folds.count",
) -> tuple[np.ndarray, Facts]:
    """Deal the rows out to folds; whole groups go together, except with `random`.

    - `protein`: rows of one protein, and of proteins with the same wild type, stay together.
    - `cluster`: so do those of similar wild types, see `protemb.sequences.clusters.find_clusters`.
    - `group`: as the table's own groups say; where it has none, as `protein`.
    - `random`: row by row. Rows of one protein are then on both sides, so that a model which only
      recognises the protein seems to predict: for showing this leak, and for nothing else.

    Groups are dealt largest first to the smallest fold (scikit-learn's `GroupKFold`), without
    chance: the folds are the same for every seed, which only `random` uses.

    Args:
        kind: one of `KINDS`.
        table: the rows.
        folds: how many.
        seed: of `random`.
        identity: from which on two wild types belong to one cluster.
        cache_dir: where clusters are kept.
        option: that said how many folds.

    Returns:
        fold_N (int64, from 0) and plain facts.

    Raises:
        ConfigError: an unknown kind, fewer than two folds, or fewer groups than folds.
    """
    if kind not in KINDS:
        raise ConfigError("folds.kind", kind, f"one of {', '.join(KINDS)}")
    if folds < 2:
        raise ConfigError(option, folds, "at least 2")
    group_of_N, facts = fold_groups(kind, table, identity, cache_dir)
    groups = len(np.unique(group_of_N))
    if groups < folds:
        unit = {"random": "rows", "protein": "distinct proteins"}.get(kind, f"{kind}s")
        if groups < 2:
            raise ConfigError("folds.kind", kind, f"another one: there is but one of {unit}")
        raise ConfigError(option, folds, f"at most {groups}, as there are {groups} {unit}")
    fold_N = np.empty(len(table), np.int64)
    for fold, held_out in enumerate(_parts(kind, group_of_N, folds, seed)):
        fold_N[held_out] = fold
    rows = np.bincount(fold_N, minlength=folds)
    return fold_N, facts | {
        "kind": kind,
        "folds": folds,
        "groups": groups,
        "largest_fold_share": float(rows.max() / rows.sum()),
        "rows_per_fold": rows.tolist(),
    }


def _parts(kind: str, group_of_N: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
    if kind == "random":
        splitter = KFold(folds, shuffle=True, random_state=seed).split(group_of_N)
    else:
        splitter = GroupKFold(folds).split(group_of_N, groups=group_of_N)
    return [held_out for _, held_out in splitter]


def fold_groups(
    kind: str, table: VariantTable, identity: float, cache_dir: Path | None
) -> tuple[np.ndarray, Facts]:
    """The group of each row, and how clusters were found."""
    if kind == "random":
        return np.arange(len(table)), {}
    if kind == "group" and (table.groups_N != table.proteins_N).any():
        return table.groups_N, {}
    names_P, protein_of_N = np.unique(table.proteins_N, return_inverse=True)
    wild_types = [table.wild_types[name] for name in names_P.tolist()]
    facts: Facts = {}
    if kind in ("protein", "group"):  # without a column of groups, a group is a protein
        code_of_P = np.unique(wild_types, return_inverse=True)[1]
    else:
        store = TokenStore.from_sequences(zip(names_P.tolist(), wild_types, strict=True))
        cluster_of_S, facts = find_clusters(store, identity=identity, cache_dir=cache_dir)
        code_of_P = cluster_of_S[store.sequence_of_N]
    component_P = connected_groups(np.arange(len(names_P)), code_of_P)
    # Named by their first protein: where each protein is a group of its own, the folds are those
    # that scikit-learn makes of the proteins' names.
    _, first_G, group_of_P = np.unique(component_P, return_index=True, return_inverse=True)
    return names_P[first_G[group_of_P][protein_of_N]], facts
