"""What a grid computes: its encoders' vectors, its cells, and a content key for each of them.

Shape letters: N = rows of the table, S = seeds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from protemb.apps.runs import code_key
from protemb.apps.variants.config import words
from protemb.apps.variants.encoders import GridEncoder, encoder_key
from protemb.files import content_key
from protemb.variants.features import Cell
from protemb.variants.table import VariantTable
from protemb.variants.vectors import VariantVectors, embed_variants

BASELINE = "baseline"
"""Name of the cell without vectors."""


@dataclass(frozen=True, eq=False)
class Planned:
    """A cell of the grid and what it reads; the baseline has neither cell nor vectors.

    Attributes:
        cell: encoder, level, pooling, features.
        vectors: of its encoder.
        vectors_key: content key of everything that these depend on.
        encoder_key: content key of the encoder alone.
        trained: whether they come from something that was trained.
    """

    cell: Cell | None = None
    vectors: VariantVectors | None = None
    vectors_key: str = ""
    encoder_key: str = ""
    trained: bool = False


def plan_cells(
    values: Mapping[str, Any],
    table: VariantTable,
    encoders: Mapping[str, GridEncoder],
    progress: Callable[[str], Callable[[int], None]],
) -> dict[str, Planned]:
    """Embed the table with every encoder, and list the cells by name, the baseline first.

    Vectors are kept in the cache for every later grid on the same table.

    Args:
        values: the config.
        table: wild types and mutations.
        encoders: by name.
        progress: called with an encoder's name; gives what counts the residues that are done.
    """
    poolings, features = (words(values[name], name) for name in ("pooling", "features"))
    found = {BASELINE: Planned()}
    for name, encoder in encoders.items():
        wanted = [(level, pooling) for level in encoder.levels for pooling in poolings]
        key = vectors_key(values, table, encoder)
        vectors = embed_variants(
            encoder.encoder,
            encoder.alphabet,
            table,
            wanted,
            Path(values["paths"]["cache"]) / "variants" / "vectors" / key,
            residues=values["residues"],
            device=values["device"],
            progress=progress(name),
        )
        for level, pooling in wanted:
            for word in features:
                cell = Cell(name, level, pooling, word)
                found[cell.name] = Planned(
                    cell, vectors, key, encoder_key(encoder), encoder.trained
                )
    return found


def vectors_key(values: Mapping[str, Any], table: VariantTable, encoder: GridEncoder) -> str:
    """Content key of the vectors of one encoder."""
    return content_key(
        {
            "table": table.fingerprint,
            "encoder": encoder_key(encoder),
            "device": values["device"],
            "code": code_key("sequences", "models", "vectors", "variants"),
            "versions": [version("torch")],
        }
    )


def prediction_key(
    values: Mapping[str, Any],
    table: VariantTable,
    planned: Planned,
    folds: np.ndarray,
    kind: str,
) -> str:
    """Content key of a cell's predictions.

    Args:
        values: the config.
        table: targets.
        planned: the cell.
        folds: of each row, for each seed or for nesting.
        kind: what is computed.
    """
    return content_key(
        {
            "kind": kind,
            "table": table.fingerprint,
            "cell": planned.cell.name if planned.cell else BASELINE,
            "vectors": planned.vectors_key,
            "residues": values["residues"] if planned.cell else 0,
            "folds": folds.tolist(),
            "seeds": values["seeds"],
            "regressor": values["regressor"],
            "augment": values["augment"],
            "code": code_key("variants"),
            "versions": [version("scikit-learn"), version("numpy")],
        }
    )
