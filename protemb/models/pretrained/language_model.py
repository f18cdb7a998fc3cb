"""The language model of Bepler and Berger (2019), which others of their networks stand on.

Bepler and Berger (2019), "Learning protein sequence embeddings using information from structure",
ICLR, arXiv 1902.08661. Written anew from the paper and from the files' shapes.

Shape letters: B = sequences, L = longest of them, C = residues of a piece, D = features per
residue, H = hidden units.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from protemb.models.batches import padding_mask
from protemb.models.pieces import PIECE, both_ways
from protemb.models.recurrent import State, Step, one_direction, run_recurrent

LETTERS = 21
MASK = LETTERS
"""Token of the language model for an unknown residue; residues are their own token plus 1."""


class LanguageModel(nn.Module):
    """BiLM: next-residue prediction in both directions, by layers of LSTMs.

    Args:
        embed_dim: features of the residue table.
        hidden_dim: hidden units of a layer in one direction.
        layers: stacked LSTMs; a layer reads the states of the one below.
        tied: both directions use the same weights.
    """

    def __init__(self, *, embed_dim: int, hidden_dim: int, layers: int, tied: bool) -> None:
        super().__init__()
        self.tied, self.hidden_dim, self.out_dim = tied, hidden_dim, 2 * layers * hidden_dim
        self.embed = nn.Embedding(LETTERS + 1, embed_dim, padding_idx=MASK)
        widths = [embed_dim, *[hidden_dim] * (layers - 1)]

        def stack() -> nn.ModuleList:
            return nn.ModuleList([nn.LSTM(w, hidden_dim, batch_first=True) for w in widths])

        if tied:
            self.rnn = stack()
        else:
            self.lrnn, self.rrnn = stack(), stack()
        self.linear = nn.Linear(hidden_dim, LETTERS)

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, *, legacy_padding: bool = False
    ) -> Tensor:
        """Return states_BLD of all layers; rows past a sequence's end are zero.

        Args:
            tokens_BL: letters, padded with any token.
            lengths_B: in host memory.
            legacy_padding: read the padding, as unknown residues, before the sequence when going
                right to left, as the authors' code does since November 2020. Vectors then
                depend on the longest sequence of the batch; for old numbers alone.
        """
        length = tokens_BL.shape[1]
        mask_BL = padding_mask(lengths_B, length, tokens_BL.device)
        words_BL = (tokens_BL + 1).masked_fill(~mask_BL, MASK).clamp(max=MASK)
        read_B = torch.full_like(lengths_B, length) if legacy_padding else lengths_B
        back_BL = _backwards(read_B, length).to(tokens_BL.device)
        rightward = self._run(self._behind_stop(words_BL), lengths_B, "lrnn")
        reversed_BL = self._behind_stop(words_BL.gather(1, back_BL))
        leftward = self._run(reversed_BL, read_B, "rrnn")
        layers = []
        for forward_BLD, backward_BLD in zip(rightward, leftward, strict=True):
            index_BLD = back_BL[..., None].expand_as(backward_BLD)
            layers += [forward_BLD, backward_BLD.gather(1, index_BLD)]
        return torch.cat(layers, 2) * mask_BL[..., None]

    @staticmethod
    def _behind_stop(words_BL: Tensor) -> Tensor:
        """The stop token first, and one residue less: the state at a residue has not read it."""
        return F.pad(words_BL[:, :-1], (1, 0))

    def _run(self, words_BL: Tensor, lengths_B: Tensor, untied: str) -> list[Tensor]:
        states_BLD, found = self.embed(words_BL), []
        for layer in self.rnn if self.tied else getattr(self, untied):
            assert isinstance(layer, nn.LSTM)
            states_BLD = run_recurrent(layer, states_BLD, lengths_B)
            found.append(states_BLD)
        return found

    def pieces(self, tokens_1L: Tensor, chunk: int = PIECE) -> Iterator[Tensor]:
        """Yield the states_1CD of one sequence in pieces, from left to right."""
        words_L1 = (tokens_1L + 1).clamp(max=MASK).T
        # Each direction has read up to the neighbour, and the stop in front of its first residue.
        right_L1, left_L1 = F.pad(words_L1[:-1], (0, 0, 1, 0)), F.pad(words_L1[1:], (0, 0, 0, 1))
        rightward = self._step(self.rnn if self.tied else self.lrnn)
        leftward = self._step(self.rnn if self.tied else self.rrnn)
        pairs = zip(right_L1.split(chunk), left_L1.split(chunk), strict=True)
        for right_C1H, left_C1H in both_ways(rightward, leftward, pairs):
            ways = [states.split(self.hidden_dim, 2) for states in (right_C1H, left_C1H)]
            layers = [way for layer in zip(*ways, strict=True) for way in layer]
            yield torch.cat(layers, 2).transpose(0, 1)

    def _step(self, stack: nn.ModuleList) -> Step:
        """All layers of a direction as one: words to their states, side by side."""
        steps = [one_direction(layer, 0, "") for layer in stack if isinstance(layer, nn.LSTM)]

        def step(words_C1: Tensor, state: State | None) -> tuple[Tensor, State]:
            states_C1H, found = self.embed(words_C1), []
            after: State = ()
            for number, layer in enumerate(steps):
                before = None if state is None else state[2 * number : 2 * number + 2]
                states_C1H, own = layer(states_C1H, before)
                found.append(states_C1H)
                after += own
            return torch.cat(found, 2), after

        return step


def _backwards(lengths_B: Tensor, length: int) -> Tensor:
    """Places that reverse each sequence within its own length."""
    place_L = torch.arange(length)
    return torch.where(place_L < lengths_B[:, None], lengths_B[:, None] - 1 - place_L, place_L)
