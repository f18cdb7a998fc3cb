"""The fits of a grid: what one job computes for one cell.

Shape letters: N = rows of the table, S = seeds, C = classes, F = nested folds.
"""

from dataclasses import dataclass

import numpy as np

from protemb.apps.variants.scoring import is_bare, trivial_predictions
from protemb.variants.base import base_features
from protemb.variants.evaluation import CellData, nested_pairs, out_of_fold, out_of_fold_labels
from protemb.variants.features import Cell, cell_features
from protemb.variants.table import VariantTable
from protemb.variants.vectors import VariantVectors


@dataclass(frozen=True, eq=False)
class Task:
    """What all cells of a grid have in common.

    Attributes:
        table: targets, groups and weights.
        regressor: its word.
        seeds: of the regressor, S of them.
        augment: train on reverse mutations too.
    """

    table: VariantTable
    regressor: str
    seeds: tuple[int, ...]
    augment: bool

    def data(self, cell: Cell | None, vectors: VariantVectors | None) -> CellData:
        """What a regressor reads in one cell; None is the baseline, which has no vectors."""
        base_NB, reverse_base_NB, _ = base_features(self.table)
        reverse = reverse_base_NB if self.table.has_mutations else None
        if cell is None or vectors is None:
            return CellData(base_NB, None, reverse)
        wild_ND = vectors.wild(cell.level, cell.pooling)
        variant_ND = vectors.variant(cell.level, cell.pooling)
        features_NC = cell_features(wild_ND, variant_ND, cell.features)
        if reverse is None:
            return CellData(base_NB, features_NC)
        reverse_NC = cell_features(variant_ND, wild_ND, cell.features)
        return CellData(base_NB, features_NC, reverse, reverse_NC)

    def predict(
        self, cell: Cell | None, vectors: VariantVectors | None, fold_SN: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Out-of-fold predictions of one cell by each seed; a bare baseline says always the same.

        See `trivial_predictions`.
        """
        table, data = self.table, self.data(cell, vectors)
        if cell is None and is_bare(table):
            return {"direct": trivial_predictions(table, len(self.seeds))}
        if table.labels_N is not None:
            probabilities_SNC = out_of_fold_labels(
                self.regressor,
                data,
                table.labels_N,
                len(table.label_names),
                fold_SN,
                self.seeds,
                table.groups_N,
                table.weights_N,
            )
            return {"direct": probabilities_SNC}
        assert table.values_N is not None
        found = out_of_fold(
            self.regressor,
            data,
            table.values_N,
            fold_SN,
            self.seeds,
            table.groups_N,
            table.weights_N,
            self.augment,
        )
        reverse = {} if found.reverse_SN is None else {"reverse": found.reverse_SN}
        return {"direct": found.direct_SN, **reverse}

    def nested(
        self, cell: Cell | None, vectors: VariantVectors | None, fold_N: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Predictions of one cell for choosing inside nested folds, by the first seed."""
        table = self.table
        assert table.values_N is not None
        inner_FN, outer_N = nested_pairs(
            self.regressor,
            self.data(cell, vectors),
            table.values_N,
            fold_N,
            self.seeds[0],
            table.groups_N,
            table.weights_N,
            self.augment,
        )
        return {"inner": inner_FN, "outer": outer_N}
