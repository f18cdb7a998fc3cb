"""Checkpoints: weights and a plain recipe, read with `weights_only=True`.

A recipe is a dict of primitives: which encoder class with which options, pooling, level, head,
alphabet and label names. Classes are looked up among protemb's own encoders and poolings (and the
packages that you allow), so a checkpoint from a stranger can choose between them and do no more.
"""

import hashlib
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protemb.errors import CheckpointError, ProtembError
from protemb.models.classifier import SequenceClassifier
from protemb.models.embedder import Embedder
from protemb.models.encoders import Encoder
from protemb.models.pooling import Pooling
from protemb.targets import ForbiddenTarget, locate

RECIPE_VERSION = 1
RECIPE_KEY = "protemb"
ENCODERS = ("protemb.models.encoders.", "protemb.models.pretrained.", "protemb.models.tuning.")
POOLINGS = ("protemb.models.pooling.",)
# Prefix of the classifier's weights inside a training checkpoint.
WEIGHTS_PREFIX = "classifier."


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier in evaluation mode and what is needed to feed it.

    Attributes:
        model: the network.
        recipe: the checkpoint's recipe.
        sha256: hash of the checkpoint file.
    """

    model: SequenceClassifier
    recipe: Mapping[str, Any]
    sha256: str

    @property
    def label_names(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return tuple(self.recipe["labels"])


def build_classifier(recipe: Mapping[str, Any]) -> SequenceClassifier:
    """Build the untrained network that a recipe describes.

    Raises:
        ForbiddenTarget: the recipe names a class outside the lists here.
    """
    encoder = build_part(recipe["encoder"], ENCODERS, Encoder)
    make_pooling = build_part(recipe["pooling"], POOLINGS, Pooling)
    embedder = Embedder(encoder(), make_pooling, recipe["level"])
    return SequenceClassifier(embedder, len(recipe["labels"]), **recipe["head"])


def build_part(node: Mapping[str, Any], allowed: tuple[str, ...], base: type) -> Callable[..., Any]:
    """A call of the node's class, with its options given."""
    found = locate(node["_target_"], allowed)
    if not issubclass(found, base):
        raise ForbiddenTarget(node["_target_"], f"which is no {base.__name__}")
    options = {name: value for name, value in node.items() if not name.startswith("_")}
    return partial(found, **options)


def load_classifier(path: str | Path, device: str | torch.device = "cpu") -> TrainedClassifier:
    """Load a checkpoint, or the best one of a run folder, ready to predict.

    Raises:
        CheckpointError: the file is missing, damaged, foreign or does not fit its own recipe.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    content, digest = read_checkpoint(path)
    recipe = content.get(RECIPE_KEY)
    if not isinstance(recipe, dict):
        raise CheckpointError(str(path), "no protemb recipe inside: not a protemb checkpoint")
    if recipe.get("version") != RECIPE_VERSION:
        raise CheckpointError(
            str(path), f"recipe version: got {recipe.get('version')!r}, expected {RECIPE_VERSION}"
        )
    if "labels" not in recipe:
        kind = recipe.get("task") or recipe.get("kind")
        raise CheckpointError(str(path), f"a model of task {kind}: it predicts no labels")
    weights = _weights(content)
    try:
        model = build_classifier(recipe)
        model.load_state_dict(weights)
    except (
        ProtembError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(str(path), f"weights and recipe do not fit: {reason}") from error
    return TrainedClassifier(model.eval().to(device), recipe, digest)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], str]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CheckpointError(str(path), error.strerror or "cannot be read") from error
    try:
        with warnings.catch_warnings():
            # torch mentions an unusual pickle protocol; the file is refused or read all the same.
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except Exception as error:  # damage surfaces as any error of torch's reader
        raise CheckpointError(
            str(path), "damaged, or not a checkpoint of weights and plain values"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(str(path), "no protemb recipe inside: not a protemb checkpoint")
    return content, hashlib.sha256(raw).hexdigest()


def _weights(content: Mapping[str, Any]) -> dict[str, Tensor]:
    state = content.get("state_dict")
    if not isinstance(state, dict):
        return {}
    return {
        name.removeprefix(WEIGHTS_PREFIX): value
        for name, value in state.items()
        if name.startswith(WEIGHTS_PREFIX)
    }
