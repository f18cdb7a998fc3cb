"""Poolings for variants: of the whole sequence, or around the mutated residues.

Shape letters: B = sequences, L = longest of them, D = features, R = requests, P = places (a request
and one of its residues); see `requests`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protemb.models.encoders import Encoder
from protemb.models.loading import make_embedder
from protemb.models.pooling import Pooling
from protemb.variants.features import pooling_reach
from protemb.variants.requests import Places


@dataclass(frozen=True, eq=False)
class Column:
    """One pooling of one level.

    Attributes:
        level: of the encoder.
        word: the pooling's word.
        dim: features of a vector.
        whole: pools the whole sequence; None where mutated residues are read.
        reach: how many residues to either side of a mutated one are read with it.
    """

    level: str
    word: str
    dim: int
    whole: Pooling | None
    reach: int = 0

    def rows(self, states_BLD: Tensor, lengths_B: Tensor, places: Places) -> np.ndarray:
        """Return float32 vectors_RD, one for each request."""
        if self.whole is not None:
            return _host(self.whole(states_BLD, lengths_B))[places.owner_R]
        around_PD = _host(mean_around(states_BLD, lengths_B, places, self.reach))
        sums_RD = np.add.reduceat(around_PD, places.starts_R, axis=0)
        counts_R = np.diff(places.starts_R, append=len(around_PD)).astype(np.float32)
        return sums_RD / counts_R[:, None]


def make_columns(encoder: Encoder, wanted: Sequence[tuple[str, str]]) -> list[Column]:
    """Build the columns, each once, in the order asked for.

    Raises:
        ConfigError: no such level or pooling, or one that the level cannot be read with.
    """
    columns = []
    for level, word in dict.fromkeys(wanted):
        encoder.check_level(level)
        reach = pooling_reach(word)
        if reach is None:
            embedder = make_embedder(encoder, level, word)
            columns.append(Column(level, word, embedder.out_dim, embedder.pooling))
        else:
            columns.append(Column(level, word, encoder.dim(level), None, reach))
    return columns


def mean_around(states_BLD: Tensor, lengths_B: Tensor, places: Places, reach: int) -> Tensor:
    """Return means_PD of the states within `reach` residues of each place, cut at the ends.

    One residue after another, so nothing as large as places x residues is ever made, and in the
    same order whatever else is asked for.
    """
    device = states_BLD.device
    owner_P = torch.from_numpy(places.owner_P).to(device)
    place_P = torch.from_numpy(places.place_P).to(device)
    last_P = lengths_B.to(device)[owner_P] - 1
    reach = min(reach, states_BLD.shape[1])
    sums_PD = states_BLD.new_zeros(len(place_P), states_BLD.shape[2])
    counts_P = states_BLD.new_zeros(len(place_P))
    for step in range(-reach, reach + 1):
        at_P = place_P + step
        inside_P = (at_P >= 0) & (at_P <= last_P)
        there_PD = states_BLD[owner_P, torch.minimum(at_P.clamp(min=0), last_P)]
        sums_PD += there_PD * inside_P[:, None]
        counts_P += inside_P
    return sums_PD / counts_P[:, None]


def _host(rows: Tensor) -> np.ndarray:
    return rows.float().cpu().numpy()
