"""An embedder and a head: sequences in, class logits out.

Shape letters: B = sequences, L = longest of them, C = classes.
"""

from collections.abc import Callable

from torch import Tensor, nn

from protemb.models.embedder import Embedder


class SequenceClassifier(nn.Module):
    """Linear softmax classifier over sequence vectors, with an optional dense layer before it.

    Args:
        embedder: sequences to vectors.
        classes: number of classes C.
        hidden: width of a dense ReLU layer between vector and logits; None for none.
        dropout: on the head's input, while training.
    """

    def __init__(
        self, embedder: Embedder, classes: int, *, hidden: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedder = embedder
        self.known: Callable[..., Tensor] | None = None
        """Looks up what a frozen embedder would compute; only while training."""
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        width = embedder.out_dim
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
