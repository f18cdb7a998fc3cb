"""States of every residue of a store's sequences, one after the other or kept in a file.

Shape letters: L = residues, D = features, N = records, S = distinct sequences, T = their residues.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protemb.models.batches import collate, plan_batches
from protemb.models.devices import inference
from protemb.models.encoders.base import Encoder
from protemb.sequences.tokens import TokenStore

LEVEL = "projection"
"""The level that the published models compare."""


def sequence_states(
    encoder: Encoder, store: TokenStore, level: str, *, residues: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield each distinct sequence of a store and its states_LD (float32), longest first.

    Args:
        encoder: in evaluation mode; the states are where it is.
        store: the records.
        level: one of the encoder's.
        residues: budget of padded residues in a batch.
    """
    device, lengths_S = _device(encoder), store.lengths_S
    for batch in plan_batches(lengths_S, residues=residues):
        tokens = collate([store.distinct(s) for s in batch], store.alphabet.size).to(device)
        with inference():
            found = encoder(tokens.tokens_BL, tokens.lengths_B, (level,))[level].float()
        for sequence, states_LD in zip(batch.tolist(), found, strict=True):
            yield sequence, states_LD[: lengths_S[sequence]]


def _device(encoder: Encoder) -> torch.device:
    return next((tensor.device for tensor in encoder.parameters()), torch.device("cpu"))


@dataclass(frozen=True, eq=False)
class ResidueStates:
    """States of every residue of a store's distinct sequences, in a nameless temporary file.

    Attributes:
        states_TD: float32, distinct sequences end to end.
        offsets_S1: sequence s has the rows `offsets_S1[s]` to `offsets_S1[s + 1]`.
        sequence_of_N: the distinct sequence of each record.
        device: where states are handed out.
    """

    states_TD: np.ndarray
    offsets_S1: np.ndarray
    sequence_of_N: np.ndarray
    device: str | torch.device = "cpu"

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        store: TokenStore,
        level: str = LEVEL,
        *,
        residues: int = 32_768,
        means: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> "ResidueStates":
        """Run an encoder over a store, each distinct sequence once.

        Args:
            encoder: in evaluation mode, on the device that later compares too.
            store: the records.
            level: one of the encoder's.
            residues: budget of padded residues in a batch.
            means: keep the mean state of each sequence alone, all that `me` and `coarse` need.
            progress: called with the number of residues of each sequence.
        """
        lengths_S = store.lengths_S
        kept_S = np.ones_like(lengths_S) if means else lengths_S
        offsets_S1 = np.concatenate([[0], np.cumsum(kept_S)])
        shape = int(offsets_S1[-1]), encoder.dim(level)
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):
                # A disk that gets full later would end the process without a word.
                os.posix_fallocate(file.fileno(), 0, max(1, 4 * shape[0] * shape[1]))
            # The mapping keeps the file until the array goes.
            states_TD = np.memmap(file, np.float32, "w+", shape=shape).view(np.ndarray)
        for sequence, states_LD in sequence_states(encoder, store, level, residues=residues):
            rows_LD = states_LD.mean(0, keepdim=True) if means else states_LD
            place = slice(offsets_S1[sequence], offsets_S1[sequence + 1])
            states_TD[place] = rows_LD.cpu().numpy()
            if progress is not None:
                progress(len(states_LD))
        device = _device(encoder)
        return cls(states_TD, offsets_S1, store.sequence_of_N, device)

    @property
    def means(self) -> bool:
        """Whether each sequence has one row."""
        return len(self.states_TD) == len(self.offsets_S1) - 1

    def distinct(self, sequence: int) -> Tensor:
        """States of one distinct sequence."""
        start, stop = self.offsets_S1[sequence], self.offsets_S1[sequence + 1]
        return torch.from_numpy(self.states_TD[start:stop]).to(self.device)
