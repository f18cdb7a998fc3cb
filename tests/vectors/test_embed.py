"""Records to vectors: identical sequences once, order kept, whatever the batches."""

import numpy as np
import pytest
import torch

from protemb.models.classifier import SequenceClassifier
from protemb.models.embedder import Embedder
from protemb.models.encoders import RecurrentEncoder
from protemb.models.pooling import MeanPooling
from protemb.sequences.tokens import TokenStore
from protemb.vectors.embed import embed_records, map_records, predict_records


@pytest.fixture(scope="module")
def store():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACDEFGHIKL"), rng.integers(1, 90))) for _ in range(30)]
    return TokenStore.from_sequences((f"P{i}/{i % 7}", texts[i % 20]) for i in range(30))


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    encoder = RecurrentEncoder(hidden_dim=8, bidirectional=True)
    return SequenceClassifier(Embedder(encoder, MeanPooling), 3).eval()


def test_vectors_equal_one_by_one(store, classifier):
    records = np.array([29, 3, 3, 11, 0])
    together = embed_records(classifier.embedder, store, records, residues=100)
    for row, record in zip(together, records, strict=True):
        tokens_BL = torch.tensor(store.tokens(record)[None].astype(np.int64))
        with torch.no_grad():
            alone = classifier.embedder(tokens_BL, torch.tensor([tokens_BL.shape[1]]))
        np.testing.assert_allclose(row, alone[0].numpy(), rtol=0, atol=1e-6)


def test_identical_sequences_are_computed_once(store):
    seen = []

    def compute(batch):
        seen.extend(batch.lengths_B.tolist())
        return batch.lengths_B[:, None].double()

    rows = map_records(compute, store, range(len(store)), residues=200)
    assert rows[:, 0].tolist() == store.lengths_N.tolist()
    assert len(seen) == store.n_sequences == 20


def test_equal_sequences_at_other_positions_are_apart(store):
    positions = np.array([0, 2, 0])
    records = np.array([5, 5, 25])  # 25 repeats the sequence of 5
    rows = map_records(
        lambda batch: batch.positions_B[:, None], store, records, positions_M=positions
    )
    assert rows[:, 0].tolist() == [0, 2, 0]


def test_progress_counts_every_distinct_residue(store, classifier):
    steps = []
    embed_records(classifier.embedder, store, range(len(store)), residues=64, progress=steps.append)
    assert sum(steps) == store.lengths_S.sum()


def test_predictions_are_the_softmax_of_the_logits(store, classifier):
    probabilities = predict_records(classifier, store, [4])
    tokens_BL = torch.tensor(store.tokens(4)[None].astype(np.int64))
    with torch.no_grad():
        logits = classifier(tokens_BL, torch.tensor([tokens_BL.shape[1]]))
    np.testing.assert_allclose(probabilities, torch.softmax(logits.double(), 1), atol=1e-6)
