"""A fitted model in a run's folder: a regressor, and everything it needs to score new mutations.

Shape letters: N = rows of the table or mutations, C = columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from protemb.apps.variants.encoders import GridEncoder, encoder_key, open_encoder
from protemb.apps.variants.fits import Task
from protemb.apps.variants.outcome import Outcome
from protemb.errors import CheckpointError, ConfigError
from protemb.files import whole_folder
from protemb.variants.base import BaseColumns
from protemb.variants.evaluation import fit_rows
from protemb.variants.features import Cell
from protemb.variants.mutations import Mutation
from protemb.variants.regressor_files import load_regressor, save_regressor
from protemb.variants.regressors import join_columns

REGRESSOR = "regressor.skops"


@dataclass(frozen=True, eq=False)
class FittedModel:
    """Scores mutations of any protein.

    Attributes:
        encoder: with the weights that it was fitted with.
        cell: which vectors it reads.
        base: what it reads beside them.
        regressor: fitted to a whole table.
        facts: what it was fitted on, and what its score was worth.
    """

    encoder: GridEncoder
    cell: Cell
    base: BaseColumns
    regressor: Pipeline
    facts: Mapping[str, Any]

    def predict(
        self,
        mutations: Sequence[Mutation],
        covariates: Mapping[str, np.ndarray],
        features_NC: np.ndarray,
    ) -> np.ndarray:
        """Return scores_N of mutations with their covariates and vectors."""
        base_NB, _ = self.base.features(mutations, covariates)
        return self.regressor.predict(join_columns(base_NB, features_NC))


def save_fitted(outcome: Outcome, folder: Path) -> str | None:
    """Fit the best cell to all rows, with the first seed; tables of labels have no such model.

    Returns:
        The cell's name, or None.
    """
    table, values = outcome.table, outcome.values
    if table.values_N is None or not table.has_mutations:
        return None
    name = outcome.cells[0]
    planned = outcome.planned[name]
    assert planned.cell is not None
    task = Task(table, values["regressor"], tuple(values["seeds"]), values["augment"])
    fitted = fit_rows(
        task.regressor,
        task.data(planned.cell, planned.vectors),
        table.values_N,
        table.groups_N,
        table.weights_N,
        task.seeds[0],
        task.augment,
    )
    cell = planned.cell
    node = dict(values["encoders"][cell.encoder])
    if "weights" in node:
        node["weights"] = str(Path(node["weights"]).absolute())
    facts = {
        "cell": [cell.encoder, cell.level, cell.pooling, cell.features],
        "encoder": node,
        "encoder_key": planned.encoder_key,
        "base": BaseColumns.of(table).as_dict(),
        "regressor": task.regressor,
        "table": {"name": values["table"]["name"], "fingerprint": table.fingerprint},
        "metric": outcome.metric,
        "score": outcome.score(name).as_dict(),
        "nested_score": outcome.choice.honest if outcome.choice else None,
    }
    with whole_folder(folder) as part:
        save_regressor(part / REGRESSOR, fitted, facts)
    return name


def load_fitted(
    path: str | PathLike[str], *, weights: str | None = None, device: str = "cpu"
) -> FittedModel:
    """Load the fitted model of a run.

    Args:
        path: the run's folder, or its `model` folder.
        weights: where the encoder's weights are now, when they were moved.
        device: where the encoder will run.

    Raises:
        CheckpointError: nothing of the kind is there, it is damaged, or the encoder's weights are
            not those that it was fitted with.
    """
    folder = Path(path)
    file = next((p for p in (folder / "model" / REGRESSOR, folder / REGRESSOR) if p.exists()), None)
    if file is None:
        raise CheckpointError(str(path), "holds no fitted model of variants.py")
    regressor, facts = load_regressor(file)
    try:
        cell, node = Cell(*facts["cell"]), dict(facts["encoder"])
        base, key = BaseColumns.from_dict(facts["base"]), str(facts["encoder_key"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(str(file), f"its facts cannot be read: {error}") from None
    if weights is not None:
        if "weights" not in node:
            raise ConfigError("--weights", weights, f"nothing: {cell.encoder} has no weights file")
        node["weights"] = weights
    encoder = open_encoder(cell.encoder, node, cell.level, device)
    if encoder_key(encoder) != key:
        raise CheckpointError(
            node.get("weights", str(file)), "not the encoder that the model was fitted with"
        )
    return FittedModel(encoder, cell, base, regressor, facts)
