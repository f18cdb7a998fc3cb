"""An embedder and a head: sequences in, class logits out.

Shape letters: B = sequences, L = longest of them, C = classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from protemb.models.batches import TokenBatch
from protemb.models.counts import CountBatch
from protemb.models.embedder import Embedder

LEAST = 1e-9
"""A feature with a smaller share of the largest deviation is constant."""


class SequenceClassifier(nn.Module):
    """Linear softmax classifier over sequence vectors, with an optional dense layer before it.

    Args:
        embedder: sequences to vectors.
        classes: number of classes C.
        hidden: width of a dense ReLU layer between vector and logits; None for none.
        dropout: on the head's input, while training.
        standardise: put a `Standardise` in front of the head.
    """

    def __init__(
        self,
        embedder: Embedder,
        classes: int,
        *,
        hidden: int | None = None,
        dropout: float = 0.0,
        standardise: bool = False,
    ) -> None:
        super().__init__()
        self.embedder = embedder
        self.known: Callable[..., Tensor] | None = None
        """Looks up what a frozen embedder would compute; only while training."""
        width = embedder.out_dim
        layers: list[nn.Module] = [Standardise(width)] if standardise else []
        layers.append(nn.Dropout(dropout))
        if hidden is not None:
            layers += [nn.Linear(width, hidden), nn.ReLU()]
            width = hidden
        self.head = nn.Sequential(*layers, nn.Linear(width, classes))

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, positions_B: Tensor | None = None
    ) -> Tensor:
        """Return logits_BC."""
        embed = self.known or self.embedder
        return self.head(embed(tokens_BL, lengths_B, positions_B))

    def of(self, batch: TokenBatch | CountBatch) -> Tensor:
        """Return logits_BC of a batch; counts only where they suffice the embedder."""
        if isinstance(batch, CountBatch):
            return self.head(self.embedder.of_counts(batch.counts_BV, batch.lengths_B))
        return self(batch.tokens_BL, batch.lengths_B, batch.positions_B)


class Standardise(nn.Module):
    """Gives every feature the mean 0 and the standard deviation 1 that it has in some vectors.

    Features of a network that others trained may be of any size, and a head on top of them that is
    trained from random weights would take as long as the smallest of them.

    Args:
        width: features D.
    """

    mean_D: Tensor
    scale_D: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean_D", torch.zeros(width))
        self.register_buffer("scale_D", torch.ones(width))

    def fit(self, vectors_ND: Tensor) -> None:
        """Take means and deviations of these vectors; a constant feature keeps its size."""
        deviation_D = vectors_ND.double().std(0, correction=0)
        deviation_D[deviation_D < LEAST * deviation_D.max().clamp(min=LEAST)] = 1
        self.mean_D.copy_(vectors_ND.double().mean(0))
        self.scale_D.copy_(deviation_D)

    def forward(self, vectors_BD: Tensor) -> Tensor:
        """Return the vectors, standardised."""
        return (vectors_BD - self.mean_D) / self.scale_D
