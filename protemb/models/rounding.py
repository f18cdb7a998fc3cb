"""Encoders that compute in 16 bits, and how far their vectors are from those in 32.

Shape letters: B = sequences, L = longest of them, D = features per residue.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from protemb.errors import ConfigError
from protemb.models.devices import inference
from protemb.models.encoders import Encoder
from protemb.models.pieces import PIECE

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class RoundedEncoder(Encoder):
    """Another encoder with its numbers in 16 bits; its states come out as float32.

    Pooling is left in float32: a sum over hundreds of residues in 16 bits would lose far more than
    the states do.

    Args:
        encoder: is copied, not changed.
        precision: `bfloat16` or `float16`.

    Raises:
        ConfigError: the encoder has no such form on this device.
    """

    def __init__(self, encoder: Encoder, precision: str) -> None:
        super().__init__()
        self.encoder = deepcopy(encoder).to(PRECISIONS[precision])
        self.levels, self.alphabet_size = encoder.levels, encoder.alphabet_size
        self.mixed_levels = encoder.mixed_levels
        device = next(encoder.parameters()).device
        tokens_1L, lengths_1 = torch.zeros((1, 2), dtype=torch.long, device=device), [2]
        try:
            with inference():
                self.encoder(tokens_1L, torch.tensor(lengths_1), self.levels)
        except (RuntimeError, NotImplementedError):
            expected = f"float32: on {device.type} this model cannot compute in {precision}"
            raise ConfigError("precision", precision, expected) from None

    def dim(self, level: str) -> int:
        """Features per residue at a level."""
        return self.encoder.dim(level)

    def backward_dim(self, level: str) -> int:
        """How many of these features were computed from right to left."""
        return self.encoder.backward_dim(level)

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, levels: Sequence[str] = ("states",)
    ) -> dict[str, Tensor]:
        """Return states_BLD for each level, rounded."""
        found = self.encoder(tokens_BL, lengths_B, levels)
        return {level: states_BLD.float() for level, states_BLD in found.items()}

    def pieces(self, tokens_1L: Tensor, level: str, chunk: int = PIECE) -> Iterator[Tensor]:
        """Yield the states_1CD of one sequence from left to right, rounded."""
        for states_1CD in self.encoder.pieces(tokens_1L, level, chunk):
            yield states_1CD.float()


@inference()
def deviation(exact: nn.Module, rounded: nn.Module, tokens: Sequence[Tensor]) -> float:
    """Largest difference of two embedders' vectors, as a share of the vector's length.

    Args:
        exact: embedder in float32.
        rounded: the same in 16 bits.
        tokens: token tensors_L, one for each sequence, on the embedders' device.
    """
    largest = 0.0
    for tokens_L in tokens:
        lengths_1 = torch.tensor([len(tokens_L)])
        vector_D = exact(tokens_L[None], lengths_1)[0]
        difference_D = rounded(tokens_L[None], lengths_1)[0] - vector_D
        largest = max(largest, float(difference_D.norm() / vector_D.norm().clamp(min=1e-30)))
    return largest
