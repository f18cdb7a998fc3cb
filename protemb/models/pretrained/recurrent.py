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

Shape letters: B = sequences, L = longest of them, C = residues of a piece, D = features per
residue.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from protemb.models.batches import padding_mask
from protemb.models.encoders.base import Encoder
from protemb.models.pieces import PIECE, recurrent_pieces
from protemb.models.pretrained.language_model import LETTERS, LanguageModel
from protemb.models.recurrent import run_recurrent


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
        one_way = ("onehot", "inner") if self.lm is None else ("onehot",)
        self.mixed_levels = tuple(
            level
            for level in widths
            if level not in one_way and level != "states" and not level.startswith("layer")
        )

    def dim(self, level: str) -> int:
        """Features per residue at a level."""
        self.check_level(level)
        return self.widths[level]

    def backward_dim(self, level: str) -> int:
        """Right-to-left features: half of a bidirectional layer's."""
        return self.widths[level] // 2 if level == "states" or level.startswith("layer") else 0

    def reach(self, level: str) -> int | None:
        """Residues to either side that a state reads: none where there is only a table's row."""
        return 0 if level == "onehot" or (level == "inner" and self.lm is None) else None

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

    def pieces(self, tokens_1L: Tensor, level: str, chunk: int = PIECE) -> Iterator[Tensor]:
        """Yield the states_1CD of one sequence in pieces, from left to right.

        `lm` is never held, and no more than one bidirectional layer is; at `all`, and where the
        projection reads everything below it, what these need of the layers below is held as well.
        """
        self.check_level(level)
        if self.reach(level) == 0:
            yield from super().pieces(tokens_1L, level, chunk)
            return
        joins = level == "all" or (level == "projection" and self.skip)
        parts, top = self._parts(tokens_1L, level, chunk, hold=joins)
        if not joins:
            for states_1CD in parts[top]:
                yield self.project(states_1CD) if level == "projection" else states_1CD
            return
        names = [part for part in self.parts if part != "projection"]
        for states in zip(*(parts[name] for name in names), strict=True):
            below_1CD = torch.cat(states, 2)
            if level == "projection":
                yield self.project(below_1CD)
            elif "projection" in self.parts:
                projected_1CD = self.project(states[names.index(top)])
                yield torch.cat([below_1CD, projected_1CD], 2)
            else:
                yield below_1CD

    def _parts(
        self, tokens_1L: Tensor, level: str, chunk: int, *, hold: bool
    ) -> tuple[dict[str, Iterable[Tensor]], str]:
        """Pieces of the parts up to a level, computed as they are read, and the topmost's name.

        Each can be read once; what a layer reads can be read again where it is held.
        """
        parts: dict[str, Iterable[Tensor]] = {"onehot": super().pieces(tokens_1L, "onehot", chunk)}
        top = "onehot"
        if self.lm is not None:
            parts["lm"] = self.lm.pieces(tokens_1L.clamp(max=LETTERS - 1), chunk)
        if level == "lm":
            return parts, "lm"
        if "inner" in self.levels:
            parts["inner"], top = self._inner(tokens_1L, parts.get("lm"), chunk), "inner"
        depth = int(level[5:]) if level.startswith("layer") else len(self.layers)
        for number, layer in enumerate(self.layers[: 0 if level == "inner" else depth], 1):
            assert isinstance(layer, nn.LSTM)
            if hold:
                parts[top] = list(parts[top])
            below, top = parts[top], f"layer{number}"
            parts[top] = _layer_pieces(layer, below)
        return parts, top

    def _inner(
        self, tokens_1L: Tensor, lm_pieces: Iterable[Tensor] | None, chunk: int
    ) -> Iterator[Tensor]:
        """Pieces of `inner`: the wide ones of the language model are mixed as they come."""
        if self.mix is None or lm_pieces is None:
            yield from super().pieces(tokens_1L, "inner", chunk)
            return
        words = tokens_1L.clamp(max=LETTERS - 1).split(chunk, 1)
        for words_1C, lm_1CD in zip(words, lm_pieces, strict=True):
            yield torch.relu(self.embed(words_1C) + self.mix(lm_1CD))


def _layer_pieces(layer: nn.LSTM, below: Iterable[Tensor]) -> Iterator[Tensor]:
    states = recurrent_pieces(layer, (states_1CD.transpose(0, 1) for states_1CD in below))
    return (states_C1H.transpose(0, 1) for states_C1H in states)
