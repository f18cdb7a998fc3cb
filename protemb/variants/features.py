"""From the vectors of a wild type and a variant to the features of a regressor: the grid's cells.

Shape letters: N = table rows, D = features of a vector, C = columns.
"""

from dataclasses import dataclass

import numpy as np

from protemb.errors import ConfigError
from protemb.models.window import window_size
from protemb.variants.table import VariantTable

FEATURES = ("wild_type", "variant", "concatenated", "difference", "absolute_difference")
WHOLE = ("mean", "max", "last", "ends")
"""Poolings of the whole sequence."""


def pooling_reach(word: str) -> int | None:
    """How many residues to either side of the mutated one a pooling reads; None: all residues.

    >>> pooling_reach("mean"), pooling_reach("position"), pooling_reach("window(5)")
    (None, 0, 5)

    Raises:
        ConfigError: no such pooling.
    """
    if word in WHOLE:
        return None
    reach = 0 if word == "position" else window_size(word)
    if reach is None:
        raise ConfigError("pooling", word, f"one of {', '.join(WHOLE)}, position, window(K)")
    return reach


@dataclass(frozen=True)
class Cell:
    """One way from an encoder to features.

    Args:
        encoder: its name.
        level: which of its levels.
        pooling: mean, max, last, ends, position or window(K).
        features: one of `FEATURES`.

    Raises:
        ConfigError: no such pooling or features.

    >>> Cell("unirep64", "states", "position", "difference").name
    'unirep64/states/position/difference'
    """

    encoder: str
    level: str
    pooling: str
    features: str

    def __post_init__(self) -> None:
        pooling_reach(self.pooling)
        _check_features(self.features)

    @property
    def name(self) -> str:
        """The four words."""
        return f"{self.encoder}/{self.level}/{self.pooling}/{self.features}"


def check_cell(cell: Cell, table: VariantTable) -> None:
    """Raise ConfigError where a table without mutations is asked for what only a variant has."""
    if table.has_mutations:
        return
    if cell.features != "wild_type":
        raise ConfigError("features", cell.features, "wild_type: the table names no mutations")
    if pooling_reach(cell.pooling) is not None:
        expected = f"one of {', '.join(WHOLE)}: the table names no mutations"
        raise ConfigError("pooling", cell.pooling, expected)


def cell_features(wild_ND: np.ndarray, variant_ND: np.ndarray, features: str) -> np.ndarray:
    """Return float32 features_NC: 2 D columns where concatenated, D elsewhere.

    `difference` is variant - wild type. The features of the reverse mutation are those with the
    two exchanged: `cell_features(variant_ND, wild_ND, features)`.

    Raises:
        ConfigError: no such features.

    >>> wild, variant = np.array([[1.0, 2.0]]), np.array([[3.0, 1.0]])
    >>> cell_features(wild, variant, "concatenated").tolist()
    [[1.0, 2.0, 3.0, 1.0]]
    >>> cell_features(wild, variant, "difference").tolist()
    [[2.0, -1.0]]
    """
    _check_features(features)
    if wild_ND.shape != variant_ND.shape:
        raise ValueError(f"shapes {wild_ND.shape} and {variant_ND.shape} differ")
    if features == "wild_type":
        found_NC = wild_ND
    elif features == "variant":
        found_NC = variant_ND
    elif features == "concatenated":
        found_NC = np.hstack([wild_ND, variant_ND])
    else:
        found_NC = variant_ND - wild_ND
        if features == "absolute_difference":
            found_NC = np.abs(found_NC)
    return np.asarray(found_NC, np.float32)


def _check_features(features: str) -> None:
    if features not in FEATURES:
        raise ConfigError("features", features, f"one of {', '.join(FEATURES)}")
