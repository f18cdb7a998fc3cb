"""Fitted regressors on disk, without pickle: skops writes arrays and plain values into a zip file.

Reading makes objects of the types that are listed here and of those that skops itself holds for
harmless, and of no other. The file belongs to the version of scikit-learn that wrote it.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import skops.io
from sklearn.pipeline import Pipeline

from protemb.errors import CheckpointError
from protemb.files import whole_file

FORMAT = 1
TRUSTED = (
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
)
"""What our regressors and classifiers are made of beyond the types that skops trusts anyway."""


def save_regressor(path: str | Path, fitted: Pipeline, facts: Mapping[str, object]) -> None:
    """Write a regressor and plain facts about it, whole or not at all.

    Args:
        path: of the file.
        fitted: of `protemb.variants.regressors`.
        facts: anything that JSON can hold.
    """
    text = json.dumps({"format": FORMAT, "facts": dict(facts)}, sort_keys=True, allow_nan=False)
    content = {"protemb": text, "regressor": fitted}
    with whole_file(path) as part, open(part, "wb") as file:
        skops.io.dump(content, file, compression=zipfile.ZIP_DEFLATED)


def load_regressor(path: str | Path) -> tuple[Pipeline, dict[str, Any]]:
    """Read what `save_regressor` wrote: the regressor and the facts.

    Raises:
        CheckpointError: the file is missing, damaged, foreign, or holds other types.
    """
    place = str(path)
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(place, error.strerror or "cannot be read") from error
    try:
        foreign = set(skops.io.get_untrusted_types(data=raw)) - set(TRUSTED)
        content = None if foreign else skops.io.loads(raw, trusted=list(TRUSTED))
    except Exception as error:  # damage surfaces as any error of the readers
        raise CheckpointError(place, "damaged, or not a stored regressor") from error
    if foreign:
        names = ", ".join(sorted(foreign))
        raise CheckpointError(place, f"holds types that no regressor needs: {names}")
    return _parts(place, content)


def _parts(place: str, content: object) -> tuple[Pipeline, dict[str, Any]]:
    if not isinstance(content, dict) or set(content) != {"protemb", "regressor"}:
        raise CheckpointError(place, "not a stored regressor of protemb")
    try:
        head = json.loads(content["protemb"])
        version, facts = head["format"], dict(head["facts"])
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError(place, "its facts cannot be read") from error
    if version != FORMAT:
        raise CheckpointError(place, f"format: got {version!r}, expected {FORMAT}")
    if not isinstance(content["regressor"], Pipeline):
        raise CheckpointError(place, "holds no regressor")
    return content["regressor"], facts
