"""Run a model over stored records: each distinct sequence once, longest first.

Shape letters: M = records asked for, B = sequences in a batch, D = features, C = classes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protemb.errors import ConfigError
from protemb.models.batches import TokenBatch, collate, plan_batches
from protemb.models.classifier import SequenceClassifier
from protemb.models.devices import inference
from protemb.models.embedder import Embedder
from protemb.sequences.tokens import TokenStore

RESIDUES = 32_768
"""Default budget of padded residues in a batch."""


def map_records(
    compute: Callable[[TokenBatch], Tensor],
    store: TokenStore,
    records_M: Sequence[int] | np.ndarray,
    *,
    positions_M: np.ndarray | None = None,
    residues: int = RESIDUES,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return one row per record, computing identical sequences (and positions) once.

    Args:
        compute: batch to outputs_BD.
        store: where the records' tokens are.
        records_M: record indices.
        positions_M: 0-based position in each record, for pooling at a position.
        residues: budget of padded residues in a batch.
        device: where `compute` runs.
        progress: called with the number of residues after each batch.
    """
    records_M = np.asarray(records_M)
    wanted_M2 = np.zeros((len(records_M), 2), np.int64)
    wanted_M2[:, 0] = store.sequence_of_N[records_M]
    if positions_M is not None:
        wanted_M2[:, 1] = positions_M
    _, firsts, inverse_M = np.unique(wanted_M2, axis=0, return_index=True, return_inverse=True)
    distinct = records_M[firsts]
    rows: np.ndarray | None = None
    for batch in plan_batches(store.lengths_N[distinct], residues=residues):
        tokens = collate(
            [store.tokens(record) for record in distinct[batch]],
            store.alphabet.size,
            None if positions_M is None else wanted_M2[firsts[batch], 1],
        )
        with inference():
            output_BD = compute(tokens.to(device)).cpu().numpy()
        if rows is None:
            rows = np.empty((len(distinct), output_BD.shape[1]), output_BD.dtype)
        rows[batch] = output_BD
        if progress is not None:
            progress(int(tokens.lengths_B.sum()))
    assert rows is not None, "the caller asks for at least one record"
    return rows[inverse_M.reshape(-1)]


def embed_records(
    embedder: Embedder, store: TokenStore, records_M: Sequence[int] | np.ndarray, **options
) -> np.ndarray:
    """Return float32 vectors_MD; options as in `map_records`."""
    embedder.eval()

    def compute(batch: TokenBatch) -> Tensor:
        return embedder(batch.tokens_BL, batch.lengths_B, batch.positions_B).float()

    return map_records(compute, store, records_M, **options)


def embed_legacy(
    embedder: Embedder,
    store: TokenStore,
    size: int,
    *,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return float32 vectors_ND as the first family's authors' later code gives them.

    Records are taken `size` at a time in the order of the input, and shorter ones read the padding
    (see `LanguageModel`). Their vectors depend on their batch mates, so this is for repeating
    numbers that were published from such batches, and for nothing else.

    Raises:
        ConfigError: the encoder has no language model of this family.
    """
    encoder: Any = embedder.encoder
    if not getattr(encoder, "lm", None):
        expected = "a model with the language model of Bepler and Berger (2019)"
        raise ConfigError("legacy batches", type(encoder).__name__, expected)
    encoder.legacy_padding = True
    rows = []
    try:
        for start in range(0, len(store), size):
            here = range(start, min(start + size, len(store)))
            batch = collate([store.tokens(record) for record in here], store.alphabet.size)
            with inference():
                vectors_BD = embedder(batch.tokens_BL.to(device), batch.lengths_B)
            rows.append(vectors_BD.float().cpu().numpy())
            if progress is not None:
                progress(int(batch.lengths_B.sum()))
    finally:
        encoder.legacy_padding = False
    return np.concatenate(rows)


def predict_records(
    classifier: SequenceClassifier,
    store: TokenStore,
    records_M: Sequence[int] | np.ndarray,
    **options,
) -> np.ndarray:
    """Return float64 class probabilities_MC; options as in `map_records`."""
    classifier.eval()

    def compute(batch: TokenBatch) -> Tensor:
        logits_BC = classifier(batch.tokens_BL, batch.lengths_B, batch.positions_B)
        return torch.softmax(logits_BC.double(), dim=1)

    return map_records(compute, store, records_M, **options)
