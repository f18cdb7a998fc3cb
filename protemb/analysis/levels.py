"""The vectors that one checkpoint can give: every level of its encoder, pooled in every way.

Shape letters: M = records asked for, B = sequences in a batch, L = longest of them, D = features.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from protemb.models.batches import TokenBatch
from protemb.models.classifier import SequenceClassifier
from protemb.models.embedder import Embedder, is_long, pool_level
from protemb.models.encoders import Encoder
from protemb.models.pooling import POOLINGS, MeanPooling, Pooling
from protemb.sequences.tokens import TokenStore
from protemb.vectors.embed import RESIDUES, map_records

FREE_POOLINGS = ("mean", "max", "last", "ends")
"""Poolings that need neither training nor a position."""

CLASSIFIER_INPUT = "classifier input"
"""Name of what the last linear layer sees, where a hidden layer stands in front of it."""

Name = tuple[str, str]  # level, pooling


def pooled_levels(
    classifier: SequenceClassifier,
    store: TokenStore,
    records_M: Sequence[int] | np.ndarray,
    *,
    residues: int = RESIDUES,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Pool every level of the classifier's encoder; the encoder runs once per batch.

    `level/pooling` is what `embed_records` gives for that level and pooling, to the bit. There are:

    * mean, max and last of every level, and ends where a part of it runs from right to left;
    * the classifier's own pooling if it is another one: its attention, which was trained;
    * `classifier input`, what the last linear layer sees, if a hidden layer (and its ReLU) makes
      it differ from the classifier's own vector (`own_name`).

    Levels that are the same rows of one table count once, under the first name. Nothing that needs
    positions is there: neither that pooling nor the classifier input of a classifier that has it.

    Args:
        classifier: trained, or not; it is put into evaluation mode.
        store: where the records' tokens are.
        records_M: record indices, one at least.
        residues: budget of padded residues in a batch.
        device: where the classifier is.
        progress: called with the number of residues after each batch.

    Returns:
        float32 vectors_MD by name, in the order of the levels.
    """
    classifier.eval()
    encoder, own = classifier.embedder.encoder, classifier.embedder
    poolings = _poolings(own)
    levels = tuple(dict.fromkeys(level for level, _ in poolings))
    hidden = any(isinstance(layer, nn.ReLU) for layer in classifier.head)
    read_head = hidden and not own.pooling.needs_positions
    widths: list[int] = []

    def compute(batch: TokenBatch) -> Tensor:
        tokens_BL, lengths_B = batch.tokens_BL, batch.lengths_B
        if is_long(encoder, tokens_BL, lengths_B):
            vectors = {
                name: pool_level(encoder, name[0], pooling, tokens_BL, lengths_B)
                for name, pooling in poolings.items()
            }
        else:
            states = encoder(tokens_BL, lengths_B, levels)
            vectors = {
                name: _pool(encoder, name[0], pooling, states[name[0]], batch)
                for name, pooling in poolings.items()
            }
        parts = [vector_BD.float() for vector_BD in vectors.values()]
        if read_head:
            parts.append(classifier.head[:-1](vectors[_own(own)]).float())
        widths[:] = [part_BD.shape[1] for part_BD in parts]
        return torch.cat(parts, 1)

    joined_MD = map_records(
        compute, store, records_M, residues=residues, device=device, progress=progress
    )
    names = ["/".join(name) for name in poolings] + [CLASSIFIER_INPUT] * read_head
    parts = np.split(joined_MD, np.cumsum(widths)[:-1], axis=1)
    return {name: np.ascontiguousarray(part_MD) for name, part_MD in zip(names, parts, strict=True)}


def own_name(classifier: SequenceClassifier) -> str:
    """The name, among `pooled_levels`, of the vector that the classifier itself reads.

    >>> from protemb.models.encoders import TableEncoder
    >>> own_name(SequenceClassifier(Embedder(TableEncoder(), MeanPooling), classes=2))
    'table/mean'
    """
    return "/".join(_own(classifier.embedder))


def _own(own: Embedder) -> Name:
    level, pooling = _same_level(own.encoder, own.level), own.pooling_name
    if pooling == "ends" and not own.encoder.backward_dim(level):
        pooling = "last"  # the same, where nothing runs from right to left
    return level, pooling


def _poolings(own: Embedder) -> dict[Name, Pooling]:
    encoder = own.encoder
    found: dict[Name, Pooling] = {}
    for level in encoder.levels:
        if level != _same_level(encoder, level):
            continue
        for name in FREE_POOLINGS:
            if name != "ends" or encoder.backward_dim(level):
                found[level, name] = POOLINGS[name](encoder.dim(level), encoder.backward_dim(level))
        if level == _own(own)[0] and not own.pooling.needs_positions:
            found.setdefault(_own(own), own.pooling)
    return found


def _same_level(encoder: Encoder, level: str) -> str:
    """The first level with the same rows: where all levels are one table, there is but one."""
    table = encoder.table_at(level)
    if table is None:
        return level
    return next(other for other in encoder.levels if encoder.table_at(other) is table)


def _pool(
    encoder: Encoder, level: str, pooling: Pooling, states_BLD: Tensor, batch: TokenBatch
) -> Tensor:
    """Pool as an `Embedder` does, whose mean of a table is made from residue counts."""
    table = encoder.table_at(level)
    if table is not None and isinstance(pooling, MeanPooling):
        return table.mean(batch.tokens_BL, batch.lengths_B)
    return pooling(states_BLD, batch.lengths_B)
