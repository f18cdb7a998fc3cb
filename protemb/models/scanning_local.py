"""Variants through encoders that share less: a neighbourhood of the place, or nothing.

Shape letters: L = residues, B = variants, W = residues of a window, M = states that may change,
D = features of a level.
"""

import torch
from torch import Tensor

from protemb.models.batches import padding_mask
from protemb.models.embedder import is_long, pool_level
from protemb.models.encoders import Encoder
from protemb.models.scanning_recurrent import Wanted
from protemb.models.scanning_wild import WildStates
from protemb.models.window import make_pooling, window_size


class LocalWay:
    """A level whose states read a limited neighbourhood: only that is computed anew.

    Args:
        encoder: reads `reach` residues to either side at this level.
        level: the level.
        tokens_L: the wild type's tokens.
        words: poolings.
    """

    def __init__(self, encoder: Encoder, level: str, tokens_L: Tensor, words: list[str]) -> None:
        reach = encoder.reach(level)
        assert reach is not None, "the caller knows that it is limited"
        self.encoder, self.level, self.tokens_L, self.words = encoder, level, tokens_L, words
        self.reach, self.length = reach, len(tokens_L)
        lengths_1 = torch.tensor([self.length])
        self.wild = WildStates(encoder(tokens_L[None], lengths_1, (level,))[level][0])
        self.width = min(self.length, 4 * reach + 1)

    def __call__(self, places_B: Tensor, new_B: Tensor) -> dict[tuple[str, str], Tensor]:
        """Return the pooled vectors_BD by level and pooling."""
        changed = _Changed(self, places_B, new_B)
        return {(self.level, word): changed.pooled(word).float() for word in self.words}

    def states(self, places_B: Tensor, new_B: Tensor) -> Tensor:
        """Return the states_BMD that may have changed; surplus rows at the ends hold anything."""
        reach, device = self.reach, places_B.device
        first_B = (places_B - 2 * reach).clamp(min=0)
        lengths_B = (places_B + 2 * reach + 1).clamp(max=self.length) - first_B
        width = int(lengths_B.max())
        index_BW = first_B[:, None] + torch.arange(width, device=device)
        tokens_BW = self.tokens_L[index_BW.clamp(max=self.length - 1)]
        tokens_BW[torch.arange(len(new_B), device=device), places_B - first_B] = new_B
        over_BW = ~padding_mask(lengths_B, width, device)
        tokens_BW = tokens_BW.masked_fill(over_BW, self.encoder.alphabet_size)
        states_BWD = self.encoder(tokens_BW, lengths_B.cpu(), (self.level,))[self.level]
        offset_B = (places_B - reach).clamp(min=0) - first_B
        index_BM = offset_B[:, None] + torch.arange(2 * reach + 1, device=device)
        index_BM = index_BM.clamp(max=width - 1)
        return states_BWD[torch.arange(len(new_B), device=device)[:, None], index_BM]


class _Changed:
    """The states of some variants that may differ from the wild type's: from `first` to `stop`."""

    def __init__(self, way: LocalWay, places_B: Tensor, new_B: Tensor) -> None:
        self.way, self.wild, self.places_B = way, way.wild, places_B
        self.first_B = (places_B - way.reach).clamp(min=0)
        self.stop_B = (places_B + way.reach + 1).clamp(max=way.length)
        self.states_BMD = way.states(places_B, new_B)
        steps_M = torch.arange(self.states_BMD.shape[1], device=places_B.device)
        self.index_BM = self.first_B[:, None] + steps_M

    def pooled(self, word: str) -> Tensor:
        """Return the vectors_BD of one pooling."""
        zero_B, size = torch.zeros_like(self.places_B), window_size(word)
        last_B, length_B = zero_B + self.way.length - 1, zero_B + self.way.length
        if word == "mean":
            return self._mean(zero_B, length_B)
        if size is not None:
            low_B = (self.places_B - size).clamp(min=0)
            return self._mean(low_B, (self.places_B + size + 1).clamp(max=self.way.length))
        if word == "max":
            return self._max()
        if word == "position":
            return self._at(self.places_B)
        backward = self.way.encoder.backward_dim(self.way.level) if word == "ends" else 0
        split = self.states_BMD.shape[2] - backward
        return torch.cat([self._at(last_B)[:, :split], self._at(zero_B)[:, split:]], 1)

    def _mean(self, low_B: Tensor, high_B: Tensor) -> Tensor:
        """Mean of the states from `low` to `high`; the place lies between them."""
        first_B, stop_B = torch.maximum(low_B, self.first_B), torch.minimum(high_B, self.stop_B)
        inside_BM = (self.index_BM >= first_B[:, None]) & (self.index_BM < stop_B[:, None])
        new_BD = (self.states_BMD * inside_BM[..., None]).sum(1, dtype=torch.float64)
        old_BD = self.wild.total(low_B, first_B) + self.wild.total(stop_B, high_B)
        return (old_BD + new_BD) / (high_B - low_B)[:, None]

    def _max(self) -> Tensor:
        over_BM = self.index_BM >= self.stop_B[:, None]
        new_BD = self.states_BMD.masked_fill(over_BM[..., None], -torch.inf).amax(1)
        old_BD = torch.maximum(self.wild.top_before(self.first_B), self.wild.top_from(self.stop_B))
        return torch.maximum(new_BD, old_BD)

    def _at(self, where_B: Tensor) -> Tensor:
        """The state at one residue of each variant, changed or not."""
        inside_B = (where_B >= self.first_B) & (where_B < self.stop_B)
        rows_B = torch.arange(len(where_B), device=where_B.device)
        new_BD = self.states_BMD[rows_B, torch.where(inside_B, where_B - self.first_B, 0)]
        return torch.where(inside_B[:, None], new_BD, self.wild.at(where_B))


class PlainWay:
    """Every variant is embedded anew.

    Args:
        encoder: any.
        tokens_L: the wild type's tokens.
        wanted: (level, pooling) pairs.
    """

    def __init__(self, encoder: Encoder, tokens_L: Tensor, wanted: Wanted) -> None:
        self.encoder, self.tokens_L, self.wanted = encoder, tokens_L, wanted
        self.poolings = {
            (level, word): make_pooling(word, encoder.dim(level), encoder.backward_dim(level))
            for level, word in wanted
        }
        self.width = len(tokens_L)

    def __call__(self, places_B: Tensor, new_B: Tensor) -> dict[tuple[str, str], Tensor]:
        """Return the pooled vectors_BD by level and pooling."""
        tokens_BL = self.tokens_L.repeat(len(places_B), 1)
        tokens_BL[torch.arange(len(new_B), device=new_B.device), places_B] = new_B
        lengths_B = torch.full((len(new_B),), self.width)
        if is_long(self.encoder, tokens_BL, lengths_B):  # in pieces: one level at a time
            return {
                (level, word): pool_level(
                    self.encoder, level, pooling, tokens_BL, lengths_B, places_B
                ).float()
                for (level, word), pooling in self.poolings.items()
            }
        levels = tuple(dict.fromkeys(level for level, _ in self.wanted))
        states = self.encoder(tokens_BL, lengths_B, levels)
        return {
            (level, word): pooling(states[level], lengths_B, places_B).float()
            for (level, word), pooling in self.poolings.items()
        }
