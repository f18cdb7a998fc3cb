"""Run a residue tagger over stored records: each distinct sequence once, longest first.

Shape letters: M = records asked for, T = residues of all of them, B = sequences in a batch,
L = longest of them, C = labels.
"""

from collections.abc import Sequence

import numpy as np
import torch

from protemb.models.batches import collate, plan_batches
from protemb.models.devices import inference
from protemb.models.residue_tagger import ResidueTagger
from protemb.sequences.tokens import TokenStore
from protemb.vectors.embed import RESIDUES


def tag_records(
    tagger: ResidueTagger,
    store: TokenStore,
    records_M: Sequence[int] | np.ndarray,
    *,
    residues: int = RESIDUES,
    device: str | torch.device = "cpu",
) -> np.ndarray:
    """Return codes_T (uint8): the most probable label of every residue, records end to end.

    Args:
        tagger: the network.
        store: where the records' tokens are.
        records_M: record indices.
        residues: budget of padded residues in a batch.
        device: where the tagger is.
    """
    tagger.eval()
    records_M = np.asarray(records_M)
    _, firsts, inverse_M = np.unique(
        store.sequence_of_N[records_M], return_index=True, return_inverse=True
    )
    distinct = records_M[firsts]
    rows: list[np.ndarray] = [np.empty(0, np.uint8)] * len(distinct)
    for batch in plan_batches(store.lengths_N[distinct], residues=residues):
        tokens = collate([store.tokens(record) for record in distinct[batch]], store.alphabet.size)
        here = tokens.to(device)
        with inference():
            logits_BLC = tagger(here.tokens_BL, here.lengths_B)
            codes_BL = tagger.decode(logits_BLC, here.lengths_B).to(torch.uint8).cpu()
        for row, length, codes_L in zip(batch, tokens.lengths_B, codes_BL, strict=True):
            rows[row] = codes_L[: int(length)].numpy()
    return np.concatenate([rows[row] for row in inverse_M.reshape(-1)])
