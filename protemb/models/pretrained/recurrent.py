"""The recurrent families of Bepler and Berger: BiLM, StackedRNN, Linear (2019) and ProSE (2021).

Written anew from the papers and from the files' shapes:
Bepler and Berger (2019), "Learning protein sequence embeddings using information from structure",
ICLR, arXiv 1902.08661; Bepler and Berger (2021), "Learning the protein language", Cell Systems 12.

Levels, from the input on; each network has those that it can give:

- `onehot`: one column per letter;
- `lm`: states of the language model, layer by layer [left-to-right | right-to-left]; the state at a
  residue has read everything up to its neighbour, not the residue itself;
- `inner`: the language model's states, brought to the width of the residue table, plus that table;
- `layer1` ...: states of each bidirectional layer;
- `states`: the last of them;
- `projection`: the published low-dimensional vector;
- `all`: one-hot, inner, every layer and (in 2019's) the projection, side by side.

Shape letters: B = sequences, L = longest of them, D = features per residue.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from protemb.models.batches import padding_mask
from protemb.models.encoders.base import Encoder
from protemb.models.recurrent import run_recurrent

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
        self.tied, self.out_dim = tied, 2 * layers * hidden_dim
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


def _backwards(lengths_B: Tensor, length: int) -> Tensor:
    """Places that reverse each sequence within its own length."""
    place_L = torch.arange(length)
    return torch.where(place_L < lengths_B[:, None], lengths_B[:, None] - 1 - place_L, place_L)


class PublishedRecurrent(Encoder):
    """One network of the family; what is left out of the options is not part of it.

    Args:
        lm: options of the `LanguageModel`; None for none.
        inner_dim: width of the residue table behind the language model; None for ProSE, whose
            layers read one-hot letters, and for a language model alone.
        hidden_dim: units of each bidirectional layer, per direction.
        layers: bidirectional layers.
        out_dim: width of the projection; None for a language model alone.
        skip: the projection reads everything below it (ProSE) instead of the last layer.
        legacy_padding: see `LanguageModel`.
    """

    alphabet_size = LETTERS

    def __init__(
        self,
        *,
        lm: dict[str, Any] | None = None,
        inner_dim: int | None = None,
        hidden_dim: int = 0,
        layers: int = 0,
        out_dim: int | None = None,
        skip: bool = False,
        legacy_padding: bool = False,
    ) -> None:
        super().__init__()
        self.legacy_padding, self.skip = legacy_padding, skip
        self.options = {
            "lm": lm,
            "inner_dim": inner_dim,
            "hidden_dim": hidden_dim,
            "layers": layers,
            "out_dim": out_dim,
            "skip": skip,
        }
        self.lm = None if lm is None else LanguageModel(**lm)
        widths = {"onehot": LETTERS}
        if self.lm is not None:
            widths["lm"] = self.lm.out_dim
        if inner_dim is not None:
            self.embed = nn.Embedding(LETTERS, inner_dim, padding_idx=LETTERS - 1)
            self.mix = None if self.lm is None else nn.Linear(self.lm.out_dim, inner_dim)
            widths["inner"] = inner_dim
        below = inner_dim or LETTERS
        self.layers = nn.ModuleList()
        for number in range(1, layers + 1):
            self.layers.append(nn.LSTM(below, hidden_dim, batch_first=True, bidirectional=True))
            below = widths[f"layer{number}"] = 2 * hidden_dim
        self.parts = tuple(name for name in widths if name != "lm" or inner_dim is None)
        if layers:
            widths["states"] = 2 * hidden_dim
        everything = sum(widths[part] for part in self.parts)
        if out_dim is not None:
            self.project = nn.Linear(everything if skip else below, out_dim)
            widths["projection"] = out_dim
            if not skip:
                self.parts += ("projection",)
                everything += out_dim
        widths["all"] = everything
        self.widths, self.levels = widths, tuple(widths)

    def dim(self, level: str) -> int:
        """Features per residue at a level."""
        self.check_level(level)
        return self.widths[level]

    def backward_dim(self, level: str) -> int:
        """Right-to-left features: half of a bidirectional layer's."""
        return self.widths[level] // 2 if level == "states" or level.startswith("layer") else 0

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, levels: Sequence[str] = ("states",)
    ) -> dict[str, Tensor]:
        """Return states_BLD for each level asked for; rows past a sequence's end are zero."""
        for level in levels:
            self.check_level(level)
        mask_BL1 = padding_mask(lengths_B, tokens_BL.shape[1], tokens_BL.device)[..., None]
        tokens_BL = tokens_BL.clamp(max=LETTERS - 1)
        dtype = next(self.parameters()).dtype
        found = {"onehot": F.one_hot(tokens_BL, LETTERS).to(dtype) * mask_BL1}
        # What stands above the highest level asked for is not computed.
        depth = max(self.levels.index(level) for level in levels)
        if "lm" in self.levels and depth >= self.levels.index("lm"):
            assert self.lm is not None
            found["lm"] = self.lm(tokens_BL, lengths_B, legacy_padding=self.legacy_padding)
        if "inner" in self.levels and depth >= self.levels.index("inner"):
            inner_BLD = self.embed(tokens_BL)
            if self.mix is not None:
                inner_BLD = torch.relu(inner_BLD + self.mix(found["lm"]))
            found["inner"] = inner_BLD * mask_BL1
        states_BLD = found.get("inner", found["onehot"])
        for number, layer in enumerate(self.layers, 1):
            if depth >= self.levels.index(f"layer{number}"):
                assert isinstance(layer, nn.LSTM)
                states_BLD = run_recurrent(layer, states_BLD, lengths_B)
                found[f"layer{number}"] = found["states"] = states_BLD
        if "projection" in self.levels and depth >= self.levels.index("projection"):
            below_BLD = self._join(found) if self.skip else states_BLD
            found["projection"] = self.project(below_BLD) * mask_BL1
        if "all" in levels:
            found["all"] = self._join(found)
        return {level: found[level] for level in levels}

    def _join(self, found: dict[str, Tensor]) -> Tensor:
        return torch.cat([found[part] for part in self.parts], 2)
