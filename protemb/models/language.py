"""Networks that predict residues from other residues: an encoder and what reads its states.

Both give the logarithm of each standard residue's probability at every place.

Shape letters: B = sequences, L = longest of them, D = features per residue, C = classes of the
published language model (stop token, then the standard residues), V = standard residues.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from protemb.errors import ConfigError
from protemb.models.encoders.base import Encoder
from protemb.models.pretrained.recurrent import LanguageModel, PublishedRecurrent
from protemb.sequences.shuffles import STANDARD


def next_residue_logits(lm: LanguageModel, states_BLD: Tensor) -> Tensor:
    """Return logits_BLC of both directions, added (Bepler and Berger 2019, ICLR).

    Class 0 is the stop token, class c the residue c - 1; there is none for unknown residues.

    Args:
        lm: the language model.
        states_BLD: what it gives: the topmost layer's directions come last.
    """
    top_BLD = states_BLD[..., -2 * lm.hidden_dim :]
    rightward_BLD, leftward_BLD = top_BLD.split(lm.hidden_dim, 2)
    return lm.linear(rightward_BLD) + lm.linear(leftward_BLD)


class NextResidue(nn.Module):
    """Each residue from all to its left and all to its right.

    Args:
        encoder: a bidirectional language model and nothing behind it.

    Raises:
        ConfigError: the encoder is none.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        expected = "a language model in both directions (encoder=bilm); task=masked_lm trains any"
        kind = type(encoder).__name__
        if not isinstance(encoder, PublishedRecurrent) or encoder.lm is None:
            raise ConfigError("encoder", kind, expected)
        if encoder.legacy_padding or "inner" in encoder.levels or len(encoder.layers):
            raise ConfigError("encoder", kind, "its option lm and no other")
        self.encoder, self.level = encoder, "lm"

    def forward(self, tokens_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Return log_p_BLV; what is missing to a sum of one is the stop token's."""
        lm = self.encoder.lm
        assert isinstance(lm, LanguageModel)
        states_BLD = self.encoder(tokens_BL, lengths_B, (self.level,))[self.level]
        logits_BLC = next_residue_logits(lm, states_BLD)
        return F.log_softmax(logits_BLC.float(), 2)[..., 1:]

    def head(self) -> dict[str, Tensor]:
        """Tensors that are not the encoder's: none, its own layer predicts."""
        return {}


class MaskedResidue(nn.Module):
    """Each residue from the states at its place; the input hides it by the padding token.

    Where a sequence ends is said by its length alone, so an encoder reads that token as a residue
    without features.

    Args:
        encoder: any.
        level: the level whose states a linear layer reads.

    Raises:
        ConfigError: the encoder has no such level.
    """

    def __init__(self, encoder: Encoder, level: str) -> None:
        super().__init__()
        encoder.check_level(level)
        self.encoder, self.level = encoder, level
        self.linear = nn.Linear(encoder.dim(level), STANDARD)

    def forward(self, tokens_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Return log_p_BLV."""
        states_BLD = self.encoder(tokens_BL, lengths_B, (self.level,))[self.level]
        return F.log_softmax(self.linear(states_BLD).float(), 2)

    def head(self) -> dict[str, Tensor]:
        """Tensors that are not the encoder's, by the names that a saved model gives them."""
        state = self.linear.state_dict()
        return {f"masked_lm.{name}": torch.as_tensor(value) for name, value in state.items()}


ResiduePredictor = NextResidue | MaskedResidue
