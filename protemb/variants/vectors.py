"""Vectors of a table's wild types and variants: one pass of the encoder for all cells of a grid.

Each distinct sequence goes through the encoder once, whatever levels and poolings are asked for, in
batches of near-equal lengths. Only pooled rows are kept, in a log that survives a kill.

Shape letters: N = table rows, B = sequences in a batch, L = longest of them, R = requests (a
sequence and the residues that matter in it), W = features of all columns side by side, D = features
of one column.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from protemb.claims import claim
from protemb.files import content_key
from protemb.models.batches import collate, plan_batches
from protemb.models.devices import inference
from protemb.models.encoders import Encoder
from protemb.sequences.alphabet import Alphabet
from protemb.variants.columns import Column, make_columns
from protemb.variants.requests import VARIANT, WILD, Requests, plan_requests
from protemb.variants.table import VariantTable
from protemb.vectors.embed import RESIDUES
from protemb.vectors.log import RowLog

FORMAT = 1


class VariantVectors:
    """Vectors of one encoder for one table, on disk; what is asked for is read.

    Args:
        path: the rows, float32 and complete.
        row_N2: row of each table row's wild type and variant.
        columns: what stands side by side in a row.
    """

    def __init__(self, path: Path, row_N2: np.ndarray, columns: Sequence[Column]) -> None:
        ends = list(accumulate(column.dim for column in columns))
        self._row_N2 = row_N2
        self._slices = {
            (column.level, column.word): slice(end - column.dim, end)
            for column, end in zip(columns, ends, strict=True)
        }
        # A plain view: slicing a numpy.memmap gives memmaps.
        self._rows_RW = np.memmap(path, np.float32, "r").view(np.ndarray).reshape(-1, ends[-1])

    @property
    def wanted(self) -> tuple[tuple[str, str], ...]:
        """The (level, pooling) pairs that are there."""
        return tuple(self._slices)

    def wild(self, level: str, pooling: str) -> np.ndarray:
        """Return wild_ND, the wild type's vector of each table row; KeyError if not asked for."""
        return self._read(WILD, level, pooling)

    def variant(self, level: str, pooling: str) -> np.ndarray:
        """Return variant_ND, the variant's vector of each table row; KeyError if not asked for."""
        return self._read(VARIANT, level, pooling)

    def _read(self, side: int, level: str, pooling: str) -> np.ndarray:
        return self._rows_RW[:, self._slices[level, pooling]][self._row_N2[:, side]]


def embed_variants(
    encoder: Encoder,
    alphabet: Alphabet,
    table: VariantTable,
    wanted: Sequence[tuple[str, str]],
    folder: Path,
    *,
    residues: int = RESIDUES,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] | None = None,
) -> VariantVectors:
    """Embed a table, or go on where an earlier call was ended; what is complete is only checked.

    Two processes on one folder wait for each other. A batch whose bytes were damaged is computed
    again, with those behind it.

    Args:
        encoder: on its device; it is put into evaluation mode.
        alphabet: the letters that it reads.
        table: wild types and mutations.
        wanted: (level, pooling) pairs; poolings are mean, max, last, ends, position, window(K).
        folder: named by whatever decides the encoder's numbers. Sequences, mutations, `wanted` and
            `residues` choose a folder inside it.
        residues: budget of padded residues in a batch.
        device: where the encoder is.
        progress: called with the number of residues of each batch, and first with that of all
            batches that are there already.

    Raises:
        ConfigError: no such level or pooling, or a row has no mutation and its place is wanted.
        UnknownResidue: a letter that the alphabet does not have.
    """
    if not wanted:
        raise ValueError("wanted: no (level, pooling) pair")
    encoder.eval()
    columns = make_columns(encoder, wanted)
    placed = any(column.whole is None for column in columns)
    requests = plan_requests(table, alphabet, placed=placed)
    lengths_S = requests.store.lengths_S
    batches = plan_batches(lengths_S, residues=residues)
    asked = [requests.of(batch) for batch in batches]
    path = Path(folder) / _key(requests, columns, residues)
    width = sum(column.dim for column in columns)
    report = progress or (lambda residues: None)
    ones_R = np.ones(len(requests), np.int64)
    with claim(path / "lock", wait=True), RowLog(path, asked, ones_R, width) as log:
        if log.done:
            report(sum(int(lengths_S[batch].sum()) for batch in batches[: log.done]))
        for batch in batches[log.done :]:
            log.append([_rows(encoder, columns, requests, batch, device)])
            report(int(lengths_S[batch].sum()))
    row_R = np.empty(len(requests), np.int64)
    row_R[np.concatenate(asked)] = np.arange(len(requests))
    return VariantVectors(path / "rows", row_R[requests.request_N2], columns)


def _key(requests: Requests, columns: Sequence[Column], residues: int) -> str:
    """Name of what decides the rows on disk and their order.

    The store's records have the mutations in their names, so its fingerprint speaks of them too.
    """
    parts = [[column.level, column.word, column.dim] for column in columns]
    return content_key(
        {
            "format": FORMAT,
            "store": requests.store.fingerprint,
            "columns": parts,
            "residues": residues,
        }
    )


def _rows(
    encoder: Encoder,
    columns: Sequence[Column],
    requests: Requests,
    sequences_B: np.ndarray,
    device: str | torch.device,
) -> np.ndarray:
    """Return rows_RW of one batch, from one call of the encoder."""
    store = requests.store
    tokens = collate([store.distinct(sequence) for sequence in sequences_B], store.alphabet.size)
    places = requests.batch(sequences_B)
    levels = tuple(dict.fromkeys(column.level for column in columns))
    with inference():
        states = encoder(tokens.tokens_BL.to(device), tokens.lengths_B, levels)
        found = [column.rows(states[column.level], tokens.lengths_B, places) for column in columns]
    return np.concatenate(found, axis=1)
