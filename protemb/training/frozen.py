"""With a frozen encoder a sequence has the same vector in every epoch: it is computed once."""

import numpy as np
import torch

from protemb.models.embedder import Embedder
from protemb.models.tuning import KnownVectors, TunedEncoder
from protemb.training.data import SequenceData
from protemb.vectors.embed import embed_records


def is_frozen(embedder: Embedder) -> bool:
    """Whether nothing of the embedder is trained, and no dropout acts in it."""
    encoder = embedder.encoder
    frozen = isinstance(encoder, TunedEncoder) and encoder.tune == "head"
    return frozen and not list(embedder.pooling.parameters())


def known_vectors(embedder: Embedder, source: SequenceData, device: torch.device) -> KnownVectors:
    """Embed all records that training and validation will ask for.

    Always in the same batches, so that a run that was interrupted gets the same bits again.
    """
    store, positions_N = source.data.store, source.positions_N
    records = np.concatenate([source.split.train, source.split.validation])
    positions_M = None if positions_N is None else positions_N[records]
    vectors_MD = embed_records(
        embedder,
        store,
        records,
        positions_M=positions_M,
        residues=source.residues,
        device=device,
    )
    return KnownVectors(
        [store.tokens(record).tobytes() for record in records],
        None if positions_M is None else positions_M.tolist(),
        torch.from_numpy(vectors_MD),
    )
