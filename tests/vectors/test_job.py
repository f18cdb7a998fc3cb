"""Embedding a store: each sequence once, the largest first, and less at a time when memory ends."""

import numpy as np
import pytest
import torch
from torch import Tensor

from protemb.errors import OutOfMemory
from protemb.models.encoders import RecurrentEncoder
from protemb.models.loading import make_embedder
from protemb.sequences.alphabet import AA21
from protemb.sequences.tokens import TokenStore
from protemb.vectors.embed import embed_records
from protemb.vectors.job import EmbedJob, is_out_of_memory


@pytest.fixture(scope="module")
def store():
    rng = np.random.default_rng(3)
    letters = np.array(list(AA21.symbols[:20]))
    texts = ["".join(rng.choice(letters, n)) for n in rng.integers(1, 120, 50)]
    return TokenStore.from_sequences([(str(n), text) for n, text in enumerate(texts + texts[:20])])


class SmallMemory(RecurrentEncoder):
    """A device on which only so many padded residues fit; keeps account of what it computed."""

    def forward(self, tokens_BL: Tensor, lengths_B: Tensor, levels=("states",)):
        self.asked.append(tokens_BL.numel())
        if tokens_BL.numel() > self.fits:
            raise self.error
        self.computed += [
            tuple(row[:n].tolist()) for row, n in zip(tokens_BL, lengths_B, strict=True)
        ]
        return super().forward(tokens_BL, lengths_B, levels)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    encoder = SmallMemory(hidden_dim=4, bidirectional=True).eval()
    encoder.asked, encoder.computed, encoder.fits = [], [], 10**9
    encoder.error = torch.OutOfMemoryError("CUDA out of memory")
    return encoder


def embedded(encoder, store, folder, *, per_residue=False, residues=2000):
    job = EmbedJob(make_embedder(encoder, "states", "mean"), store, residues, per_residue)
    steps = []
    with job.open_log(folder) as log:
        job.run(log, steps.append)
        if per_residue:
            return [log.states(s) for s in range(store.n_sequences)], steps
        return log.vectors(store.sequence_of_N), steps


def test_vectors_are_those_of_the_plain_way(encoder, store, tmp_path):
    vectors_ND, steps = embedded(encoder, store, tmp_path)
    expected = embed_records(make_embedder(encoder, "states", "mean"), store, range(len(store)))
    np.testing.assert_allclose(vectors_ND, expected, rtol=1e-5, atol=1e-7)
    assert sum(steps) == store.lengths_S.sum()


def test_each_distinct_sequence_once_and_the_largest_first(encoder, store, tmp_path):
    embedded(encoder, store, tmp_path)
    assert len(encoder.computed) == len(set(encoder.computed)) == store.n_sequences
    lengths = [len(tokens) for tokens in encoder.computed]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("per_residue", [False, True])
@pytest.mark.parametrize("fits", [130, 300, 1000])
def test_when_memory_ends_nothing_is_lost_or_repeated(encoder, store, tmp_path, fits, per_residue):
    expected, _ = embedded(encoder, store, tmp_path / "whole", per_residue=per_residue)
    encoder.asked, encoder.computed, encoder.fits = [], [], fits
    got, steps = embedded(encoder, store, tmp_path / "small", per_residue=per_residue)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert len(encoder.computed) == len(set(encoder.computed)) == store.n_sequences
    assert sum(steps) == store.lengths_S.sum()
    # It learns: after the first batches no more than fits is asked for.
    refused = [n for n, size in enumerate(encoder.asked) if size > fits]
    assert refused and len(refused) <= 5 and max(refused) < len(encoder.asked) / 2


def test_one_sequence_that_does_not_fit_is_named(encoder, store, tmp_path):
    encoder.fits = 20
    longest = int(store.lengths_S.max())
    with pytest.raises(OutOfMemory, match=f"its {longest} residues do not fit"):
        embedded(encoder, store, tmp_path)


def test_other_errors_are_not_taken_for_it(encoder, store, tmp_path):
    encoder.fits, encoder.error = 20, RuntimeError("shapes do not match")
    with pytest.raises(RuntimeError, match="shapes do not match"):
        embedded(encoder, store, tmp_path)


def test_the_real_allocator_is_understood():
    """What torch says when it cannot have 2 PB."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**51, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
