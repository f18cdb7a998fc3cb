"""UniRep's multiplicative LSTM, written anew from the papers.

Alley et al. (2019), "Unified rational protein engineering with sequence-based deep representation
learning", Nature Methods 16:1315; the cell: Krause et al. (2016), arXiv 1609.07959; weights are
normalised by column: Salimans and Kingma (2016), arXiv 1602.07868.

Shape letters: B = sequences, L = longest of them, C = residues of a piece, D = features, H = units.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from protemb.models.batches import padding_mask
from protemb.models.encoders.base import Encoder
from protemb.models.pieces import PIECE
from protemb.models.pretrained.filling import fill
from protemb.models.pretrained.pickles import RefusedPickle
from protemb.sequences.alphabet import UNIREP

WORDS, START = 26, 24
"""Rows of the residue table (0 is a gap, a letter is its token plus 1, 25 is the stop), and the
token that begins a protein."""
LEAST = 1e-12
"""Least squared length of a column of weights."""
PARTS = {"wx": "gx", "wh": "gh", "wmx": "gmx", "wmh": "gmh"}
"""Weights, and the lengths that their columns are given."""


class MultiplicativeLSTM(nn.Module):
    """One layer; names and shapes of the weights are the published ones.

    Args:
        in_dim: features of the input.
        hidden_dim: units H.
    """

    def __init__(self, in_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        for name, shape in {
            "wx": (in_dim, 4 * hidden_dim),
            "wh": (hidden_dim, 4 * hidden_dim),
            "wmx": (in_dim, hidden_dim),
            "wmh": (hidden_dim, hidden_dim),
        }.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))
            self.register_parameter(PARTS[name], nn.Parameter(torch.ones(shape[1])))
            nn.init.xavier_uniform_(getattr(self, name))
        self.b = nn.Parameter(torch.zeros(4 * hidden_dim))

    def _weight(self, name: str) -> Tensor:
        """Columns with the lengths that were learned; these may be negative."""
        raw = getattr(self, name)
        squares = raw.square().sum(0, keepdim=True).clamp(min=LEAST)
        return getattr(self, PARTS[name]) * raw * squares.rsqrt()

    def forward(
        self, inputs_BLD: Tensor, lengths_B: Tensor, before: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return states_BLH and cells_BLH; past a sequence's end both stay as they were.

        Args:
            inputs_BLD: padded; longest sequence first.
            lengths_B: in host memory, descending.
            before: state and cell, each BH, to begin with; None for zeros.
        """
        wh, wmh = self._weight("wh"), self._weight("wmh")
        m_BLH = inputs_BLD @ self._weight("wmx")
        z_BLG = inputs_BLD @ self._weight("wx") + self.b
        if before is None:
            zero_BH = inputs_BLD.new_zeros(len(inputs_BLD), self.hidden_dim)
            before = (zero_BH, zero_BH)
        hidden_BH, cell_BH = before
        states, cells = [], []
        running = (lengths_B[None] > torch.arange(int(lengths_B.max()))[:, None]).sum(1).tolist()
        for place, rows in enumerate(running):
            m_bH = m_BLH[:rows, place] * (hidden_BH[:rows] @ wmh)
            # Input, forget, output, update: not the order of PyTorch's LSTM.
            i, f, o, u = (z_BLG[:rows, place] + m_bH @ wh).chunk(4, 1)
            new_bH = torch.sigmoid(f) * cell_BH[:rows] + torch.sigmoid(i) * torch.tanh(u)
            state_bH = torch.sigmoid(o) * torch.tanh(new_bH)
            cell_BH = torch.cat([new_bH, cell_BH[rows:]])
            hidden_BH = torch.cat([state_bH, hidden_BH[rows:]])
            states.append(hidden_BH)
            cells.append(cell_BH)
        return torch.stack(states, 1), torch.stack(cells, 1)


class UniRep(Encoder):
    """The published network; its three vectors are poolings of its levels.

    Levels: `layer1` ... and `states`, the last of them; `cells`, the last layer's memory; and
    `average`, states whose mean over the residues is the authors' average, which counts the state
    behind the start token as well. So the authors' `h_avg` is `average/mean`, `h_final` is
    `states/last` and `c_final` is `cells/last`.

    Args:
        hidden_dim: units: 1900, 256 or 64 in the published ones.
        layers: 1 in the published one of 1900 units, 4 in the others.
        embed_dim: features of the residue table.
    """

    alphabet_size = UNIREP.size

    def __init__(self, *, hidden_dim: int = 1900, layers: int = 1, embed_dim: int = 10) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.options = {"hidden_dim": hidden_dim, "layers": layers, "embed_dim": embed_dim}
        self.embed = nn.Embedding(WORDS, embed_dim)
        widths = [embed_dim, *[hidden_dim] * (layers - 1)]
        self.layers = nn.ModuleList([MultiplicativeLSTM(width, hidden_dim) for width in widths])
        names = [f"layer{number}" for number in range(1, layers + 1)]
        self.levels = (*names, "states", "cells", "average")

    def dim(self, level: str) -> int:
        """Features per residue: the units, at every level."""
        self.check_level(level)
        return self.hidden_dim

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, levels: Sequence[str] = ("states",)
    ) -> dict[str, Tensor]:
        """Return states_BLD for each level asked for; rows past a sequence's end are zero."""
        for level in levels:
            self.check_level(level)
        mask_BL1 = padding_mask(lengths_B, tokens_BL.shape[1], tokens_BL.device)[..., None]
        order_B = torch.argsort(lengths_B, descending=True, stable=True)
        back_B = torch.argsort(order_B)
        words_BL = F.pad(tokens_BL[order_B] + 1, (1, 0), value=START)
        behind_BLD = self.embed(words_BL)
        found, start_B1H, cells_BLH = {}, behind_BLD, behind_BLD
        for number, layer in enumerate(self.layers, 1):
            behind_BLD, cells_BLH = layer(behind_BLD, lengths_B[order_B] + 1)
            start_B1H = behind_BLD[back_B, :1]
            width = tokens_BL.shape[1] + 1 - behind_BLD.shape[1]
            states_BLH = F.pad(behind_BLD[back_B, 1:], (0, 0, 0, width))
            found[f"layer{number}"] = states_BLH * mask_BL1
        found["states"] = found[f"layer{len(self.layers)}"]
        if "cells" in levels:
            width = tokens_BL.shape[1] + 1 - cells_BLH.shape[1]
            found["cells"] = F.pad(cells_BLH[back_B, 1:], (0, 0, 0, width)) * mask_BL1
        if "average" in levels:
            length_B11 = lengths_B.to(tokens_BL.device)[:, None, None]
            share_BLH = (found["states"] * length_B11 + start_B1H) / (length_B11 + 1)
            found["average"] = share_BLH * mask_BL1
        return {level: found[level] for level in levels}

    def pieces(self, tokens_1L: Tensor, level: str, chunk: int = PIECE) -> Iterator[Tensor]:
        """Yield the states_1CD of one sequence in pieces, from left to right."""
        self.check_level(level)
        # `states`, `cells` and `average` stand behind all layers.
        layers = self.layers[: self.levels.index(level) + 1]
        carried: list[tuple[Tensor, Tensor] | None] = [None] * len(layers)
        start_11H, length = None, tokens_1L.shape[1]
        start_11 = tokens_1L.new_full((1, 1), START)
        for words_1C in (start_11, *(tokens_1L + 1).split(chunk, 1)):
            lengths_1, states_1CH = torch.tensor([words_1C.shape[1]]), self.embed(words_1C)
            for number, layer in enumerate(layers):
                states_1CH, cells_1CH = layer(states_1CH, lengths_1, carried[number])
                carried[number] = states_1CH[:, -1], cells_1CH[:, -1]
            if start_11H is None:
                start_11H = states_1CH  # behind the start token, which is no residue
            elif level == "average":
                yield (states_1CH * length + start_11H) / (length + 1)
            else:
                yield cells_1CH if level == "cells" else states_1CH


def unirep_network(arrays: Mapping[str, np.ndarray]) -> UniRep:
    """Build the network from published arrays: `embedding`, `mlstm.I.wx` and so on.

    Raises:
        RefusedPickle: arrays are missing, of other shapes, or not finite.
    """
    tensors = {
        "embed.weight" if name == "embedding" else name.replace("mlstm.", "layers.", 1): array
        for name, array in arrays.items()
        if not name.startswith("dense.")
    }
    layers = sum(name.endswith(".wmh") for name in tensors)
    try:
        network = UniRep(
            hidden_dim=len(tensors["layers.0.wmh"]),
            layers=layers,
            embed_dim=tensors["embed.weight"].shape[1],
        )
    except (KeyError, IndexError, ValueError) as error:
        raise RefusedPickle(f"its arrays are not those of UniRep ({error})") from None
    fill(network, tensors)
    return network
