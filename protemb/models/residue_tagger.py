"""A label for every residue: an encoder and a head, and their checkpoints.

Shape letters: B = sequences, L = longest of them, D = features per residue, C = labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from protemb.errors import CheckpointError, ProtembError
from protemb.models.checkpoint import (
    ENCODERS,
    RECIPE_KEY,
    RECIPE_VERSION,
    build_part,
    read_checkpoint,
)
from protemb.models.encoders import Encoder
from protemb.models.residue_crf import LabelChain

KIND = "residue"
# Prefix of the tagger's weights inside a training checkpoint.
WEIGHTS_PREFIX = "tagger."


class ResidueTagger(nn.Module):
    """Linear softmax classifier over the states of single residues.

    Args:
        encoder: residues to states.
        level: the encoder's level that is read.
        classes: number of labels C.
        hidden: width of a dense ReLU layer between state and logits; None for none.
        dropout: on the states, while training.
        crf: put a conditional random field over the labels of neighbours.

    Raises:
        ConfigError: the encoder has no such level.
        MissingExtra: `crf` without its package.
    """

    def __init__(
        self,
        encoder: Encoder,
        level: str,
        classes: int,
        *,
        hidden: int | None = None,
        dropout: float = 0.0,
        crf: bool = False,
    ) -> None:
        super().__init__()
        encoder.check_level(level)
        self.encoder, self.level = encoder, level
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        width = encoder.dim(level)
        if hidden is not None:
            layers += [nn.Linear(width, hidden), nn.ReLU()]
            width = hidden
        self.head = nn.Sequential(*layers, nn.Linear(width, classes))
        self.chain = LabelChain(classes) if crf else None

    def forward(self, tokens_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Return logits_BLC; those past a sequence's end mean nothing."""
        return self.head(self.encoder(tokens_BL, lengths_B, (self.level,))[self.level])

    def decode(self, logits_BLC: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the predicted labels_BL, those of the most probable sequence with a CRF."""
        if self.chain is None:
            return logits_BLC.argmax(2)
        return self.chain.decode(logits_BLC, lengths_B)


@dataclass(frozen=True)
class TrainedTagger:
    """A tagger in evaluation mode and what is needed to feed and read it.

    Attributes:
        model: the network.
        recipe: the checkpoint's recipe.
        sha256: hash of the checkpoint file.
    """

    model: ResidueTagger
    recipe: Mapping[str, Any]
    sha256: str


def build_tagger(recipe: Mapping[str, Any]) -> ResidueTagger:
    """Build the untrained network that a recipe describes.

    Raises:
        ForbiddenTarget: the recipe names a class that is no encoder of ours.
    """
    encoder = build_part(recipe["encoder"], ENCODERS, Encoder)
    return ResidueTagger(encoder(), recipe["level"], len(recipe["letters"]), **recipe["head"])


def is_tagger(path: str | Path) -> bool:
    """Whether a checkpoint, or the best one of a run folder, labels residues.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    path = Path(path)
    content, _ = read_checkpoint(path / "checkpoints" / "best.ckpt" if path.is_dir() else path)
    recipe = content.get(RECIPE_KEY)
    return isinstance(recipe, dict) and recipe.get("kind") == KIND


def load_tagger(path: str | Path, device: str | torch.device = "cpu") -> TrainedTagger:
    """Load a checkpoint, or the best one of a run folder, ready to predict.

    Raises:
        CheckpointError: the file is missing, damaged, of another task or does not fit its recipe.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    content, digest = read_checkpoint(path)
    recipe = content.get(RECIPE_KEY)
    if not isinstance(recipe, dict) or recipe.get("kind") != KIND:
        raise CheckpointError(str(path), "no recipe of residue labels inside (task=residue)")
    if recipe.get("version") != RECIPE_VERSION:
        raise CheckpointError(
            str(path), f"recipe version: got {recipe.get('version')!r}, expected {RECIPE_VERSION}"
        )
    state = content.get("state_dict")
    weights = {
        name.removeprefix(WEIGHTS_PREFIX): value
        for name, value in (state if isinstance(state, dict) else {}).items()
        if name.startswith(WEIGHTS_PREFIX)
    }
    try:
        model = build_tagger(recipe)
        model.load_state_dict(weights)
    except (ProtembError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(str(path), f"weights and recipe do not fit: {reason}") from error
    return TrainedTagger(model.eval().to(device), recipe, digest)
