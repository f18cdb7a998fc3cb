"""What a grid computes: its encoders' vectors, its cells, and a content key for each of them.

Shape letters: N = rows of the table, S = seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from protemb.apps.commands.arguments import counted_progress
from protemb.apps.runs import code_key
from protemb.apps.variants.config import words
from protemb.apps.variants.encoders import GridEncoder, encoder_key
from protemb.files import content_key
from protemb.variants.features import Cell, check_cell
from protemb.variants.table import VariantTable
from protemb.variants.vectors import VariantVectors, embed_variants

VECTORS = tuple(f"variants/{name}.py" for name in ("vectors", "requests", "columns"))
"""Modules of the room that decide vectors; the others decide what is made of them."""
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


def list_cells(
    values: Mapping[str, Any], table: VariantTable, encoders: Mapping[str, GridEncoder]
) -> list[Cell]:
    """Every encoder x level x pooling x features.

    Raises:
        ConfigError: no such pooling or features, or the table cannot have them.
    """
    poolings, features = (words(values[name], name) for name in ("pooling", "features"))
    cells = [
        Cell(name, level, pooling, word)
        for name, encoder in encoders.items()
        for level in encoder.levels
        for pooling in poolings
        for word in features
    ]
    for cell in cells:
        check_cell(cell, table)
    return cells


def embed_cells(
    values: Mapping[str, Any],
    table: VariantTable,
    encoders: Mapping[str, GridEncoder],
    cells: Sequence[Cell],
) -> dict[str, Planned]:
    """Embed the table with every encoder; return the cells by name, the baseline first.

    Vectors are kept in the cache for every later grid on the same table.
    """
    rows = range(len(table))
    distinct = {text for row in rows for text in (table.wild_type(row), table.variant(row))}
    found = {BASELINE: Planned()}
    for name, encoder in encoders.items():
        own = [cell for cell in cells if cell.encoder == name]
        key = vectors_key(values, table, encoder)
        with counted_progress(f"embedding with {name}", sum(map(len, distinct)), 0) as advance:
            vectors = embed_variants(
                encoder.encoder,
                encoder.alphabet,
                table,
                list(dict.fromkeys((cell.level, cell.pooling) for cell in own)),
                Path(values["paths"]["cache"]) / "variants" / "vectors" / key,
                residues=values["residues"],
                device=values["device"],
                progress=advance,
            )
        for cell in own:
            found[cell.name] = Planned(cell, vectors, key, encoder_key(encoder), encoder.trained)
    return found


def vectors_key(values: Mapping[str, Any], table: VariantTable, encoder: GridEncoder) -> str:
    """Content key of the vectors of one encoder."""
    return content_key(
        {
            "table": table.fingerprint,
            "encoder": encoder_key(encoder),
            "device": values["device"],
            "code": code_key("sequences", "models", "vectors", *VECTORS),
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
            "code": code_key("variants", "apps/variants/fits.py"),
            "versions": [version("scikit-learn"), version("numpy")],
        }
    )
