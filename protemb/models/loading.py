"""Any model that embeds, from its path: a run, a checkpoint, a converted model."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from protemb.errors import CheckpointError, ConfigError
from protemb.models.checkpoint import TrainedClassifier, load_classifier
from protemb.models.embedder import Embedder
from protemb.models.encoders import Encoder
from protemb.models.pooling import POOLINGS, AttentionPooling
from protemb.models.pretrained.library import is_pretrained, load_pretrained
from protemb.sequences.alphabet import ALPHABETS, Alphabet

MODEL = "model"
"""Folder of the converted form inside the run folder of a task that trains encoders."""


@dataclass(frozen=True)
class EmbeddingModel:
    """An encoder, the letters that it reads, and the vectors that it was made for.

    Attributes:
        encoder: in evaluation mode.
        alphabet: the letters that it reads.
        level: the level that it was trained or published with.
        pooling: the pooling that it was trained with, `mean` for published ones.
        name: for people.
        sha256: hash of its weights' file.
        node: plain values that build the encoder.
        own: the embedder that was trained, when there was one.
    """

    encoder: Encoder
    alphabet: Alphabet
    level: str
    pooling: str
    name: str
    sha256: str
    node: Mapping[str, Any]
    own: Embedder | None = None

    def embedder(self, level: str | None = None, pooling: str | None = None) -> Embedder:
        """The trained embedder, or one on the same encoder at another level or pooling.

        Raises:
            ConfigError: no such level or pooling, or an attention pooling that was never trained.
        """
        level, pooling = level or self.level, pooling or self.pooling
        if self.own is not None and (level, pooling) == (self.level, self.pooling):
            return self.own
        return make_embedder(self.encoder, level, pooling)


def load_model(path: str | PathLike[str], device: str | torch.device = "cpu") -> EmbeddingModel:
    """Load a converted model's folder, a run folder or a checkpoint.

    Raises:
        CheckpointError: nothing of the kind is there, or it is damaged.
    """
    path = Path(path)
    if is_pretrained(path / MODEL):
        path = path / MODEL
    if is_pretrained(path):
        found = load_pretrained(path)
        recipe, encoder = found.recipe, found.encoder.eval().to(device)
        source = recipe["source"]["name"]
        return EmbeddingModel(
            encoder,
            found.alphabet,
            recipe["level"],
            "mean",
            source,
            found.sha256,
            recipe["encoder"],
        )
    return embedding_model(load_classifier(path, device), str(path))


def embedding_model(trained: TrainedClassifier, source: str) -> EmbeddingModel:
    """The embedding part of a trained classifier.

    Raises:
        CheckpointError: its alphabet has other letters here; `source` is named.
    """
    recipe, own = trained.recipe, trained.model.embedder
    alphabet = ALPHABETS.get(recipe.get("alphabet", ""))
    if alphabet is None or alphabet.fingerprint != recipe.get("alphabet_fingerprint"):
        name = recipe.get("alphabet")
        raise CheckpointError(source, f"its alphabet {name!r} is not known here")
    return EmbeddingModel(
        own.encoder,
        alphabet,
        own.level,
        own.pooling_name,
        str(recipe.get("label", source)),
        trained.sha256,
        recipe["encoder"],
        own,
    )


def make_embedder(encoder: Encoder, level: str, pooling: str) -> Embedder:
    """An embedder whose pooling needs no training.

    Raises:
        ConfigError: no such level or pooling, or an attention pooling.
    """
    encoder.check_level(level)
    if pooling not in POOLINGS:
        raise ConfigError("pooling", pooling, f"one of {', '.join(POOLINGS)}")
    if POOLINGS[pooling] is AttentionPooling:
        raise ConfigError("pooling", pooling, f"one that needs no training at level {level!r}")
    return Embedder(encoder, POOLINGS[pooling], level).eval()
