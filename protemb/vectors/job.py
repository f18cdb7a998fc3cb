"""Embed every distinct sequence of a store into a log on disk: once each, the largest first.

Shape letters: S = distinct sequences, B = sequences in a batch, L = longest of them, R = rows
(one for each sequence, or one for each residue), D = features.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from protemb.errors import OutOfMemory
from protemb.models.batches import TokenBatch, collate, plan_batches
from protemb.models.devices import inference
from protemb.models.embedder import Embedder, is_long
from protemb.sequences.tokens import TokenStore
from protemb.vectors.log import RowLog


@dataclass
class EmbedJob:
    """Vectors, or states, of a store's distinct sequences.

    Args:
        embedder: in evaluation mode, on its device; its pooling is not used for states.
        store: the sequences.
        residues: budget of padded residues in a batch.
        per_residue: a row for each residue instead of one for each sequence.
        dtype: of the numbers on disk, `float32` or `float16`.
        device: where the embedder is.
    """

    embedder: Embedder
    store: TokenStore
    residues: int
    per_residue: bool = False
    dtype: str = "float32"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        self.batches = plan_batches(self.store.lengths_S, residues=self.residues)
        self.fits: int | None = None
        """Padded residues that did fit after memory ran out; None while it never did."""

    def open_log(self, folder: Path) -> RowLog:
        """The rows that are there already; batches that `run` has still to do are not."""
        lengths_S = self.store.lengths_S
        rows_S = lengths_S if self.per_residue else np.ones_like(lengths_S)
        encoder, level = self.embedder.encoder, self.embedder.level
        width = encoder.dim(level) if self.per_residue else self.embedder.out_dim
        return RowLog(folder, self.batches, rows_S, width, self.dtype)

    def done(self, log: RowLog) -> int:
        """Residues of the batches that are there already."""
        return sum(int(self.store.lengths_S[batch].sum()) for batch in self.batches[: log.done])

    def run(self, log: RowLog, progress: Callable[[int], None]) -> None:
        """Compute the batches that the log lacks.

        Args:
            log: from `open_log`.
            progress: called with a number of residues whenever so many more are done.

        Raises:
            OutOfMemory: one sequence alone does not fit.
        """
        for batch in self.batches[log.done :]:
            log.append(self._rows(batch))
            progress(int(self.store.lengths_S[batch].sum()))

    def _rows(self, sequences_B: np.ndarray) -> Iterator[np.ndarray]:
        """Rows of a batch in pieces_RD; in smaller batches when memory runs out.

        What was computed before is not computed again: the batch is cut, its rows are the same.
        """
        longest = int(self.store.lengths_S[sequences_B[0]])
        if (
            len(sequences_B) > 1
            and self.fits is not None
            and len(sequences_B) * longest > self.fits
        ):
            yield from self._cut(sequences_B, max(1, self.fits // longest))
            return
        try:
            yield from self._compute(sequences_B)
            return
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(sequences_B) == 1:
                record = int(np.argmax(self.store.sequence_of_N == sequences_B[0]))
                raise OutOfMemory(self.store.id(record), longest, str(self.device)) from None
        # Outside of the handler, whose traceback holds the tensors that were too much.
        torch.cuda.empty_cache()
        self.fits = len(sequences_B) * longest // 2
        yield from self._cut(sequences_B, max(1, len(sequences_B) // 2))

    def _cut(self, sequences_B: np.ndarray, size: int) -> Iterator[np.ndarray]:
        for start in range(0, len(sequences_B), size):
            yield from self._rows(sequences_B[start : start + size])

    def _compute(self, sequences_B: np.ndarray) -> Iterator[np.ndarray]:
        """Rows of one batch; those of a long sequence's residues in several pieces."""
        store, embedder = self.store, self.embedder
        tokens = collate(
            [store.distinct(sequence) for sequence in sequences_B], store.alphabet.size
        ).to(self.device)
        with inference():
            if not self.per_residue:
                yield _host(embedder(tokens.tokens_BL, tokens.lengths_B))
            elif is_long(embedder.encoder, tokens.tokens_BL, tokens.lengths_B):
                for states_1CD in embedder.encoder.pieces(tokens.tokens_BL, embedder.level):
                    yield _host(states_1CD[0])
            else:
                yield from self._residues(tokens)

    def _residues(self, tokens: TokenBatch) -> Iterator[np.ndarray]:
        level = self.embedder.level
        states_BLD = self.embedder.encoder(tokens.tokens_BL, tokens.lengths_B, (level,))[level]
        for states_LD, length in zip(states_BLD, tokens.lengths_B.tolist(), strict=True):
            yield _host(states_LD[:length])


def _host(rows_RD: Tensor) -> np.ndarray:
    return rows_RD.float().cpu().numpy()


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch had too little memory; on a CPU it says so in words alone."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)
