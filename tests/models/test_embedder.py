"""A vector never depends on its batch mates, for every encoder, level and pooling."""

import numpy as np
import pytest
import torch

from protemb.models.batches import collate
from protemb.models.embedder import Embedder
from protemb.models.encoders import ConvolutionEncoder, RecurrentEncoder, TableEncoder
from protemb.models.pooling import (
    AttentionPooling,
    EndsPooling,
    LastPooling,
    MaxPooling,
    MeanPooling,
    PositionPooling,
)

ENCODERS = {
    "embedding": lambda: TableEncoder(),
    "lstm": lambda: RecurrentEncoder(hidden_dim=16),
    "bilstm": lambda: RecurrentEncoder(hidden_dim=16, layers=2, bidirectional=True),
    "bigru": lambda: RecurrentEncoder(cell="gru", hidden_dim=16, bidirectional=True),
    "cnn": lambda: ConvolutionEncoder(hidden_dim=16),
}
POOLINGS = [
    MeanPooling,
    MaxPooling,
    LastPooling,
    EndsPooling,
    AttentionPooling,
    PositionPooling,
]
LENGTHS = [1, 2, 3, 31, 200, 977, 5000]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 21, length).astype(np.uint8) for length in LENGTHS]


def _close(mine_BD, reference_BD):
    scale = reference_BD.abs().amax(1, keepdim=True).clamp_min(1e-3)
    assert ((mine_BD - reference_BD).abs() <= 1e-6 * scale).all()


def _embed(embedder, rows, widen=0):
    positions = np.array([len(row) // 2 for row in rows])
    batch = collate(rows, padding=21, positions=positions)
    tokens_BL = torch.nn.functional.pad(batch.tokens_BL, (0, widen), value=21)
    with torch.no_grad():
        return embedder(tokens_BL, batch.lengths_B, batch.positions_B)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("level", ["table", "states"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_vectors_ignore_batch_mates(encoder, level, pooling, rows):
    torch.manual_seed(0)
    embedder = Embedder(ENCODERS[encoder](), pooling, level).eval()
    if pooling is AttentionPooling:
        torch.nn.init.normal_(embedder.pooling.query)
    alone = torch.cat([_embed(embedder, [row]) for row in rows])
    assert torch.isfinite(alone).all()
    _close(_embed(embedder, rows), alone)
    _close(_embed(embedder, rows, widen=13), alone)
    order = np.random.default_rng(1).permutation(len(rows))
    _close(_embed(embedder, [rows[i] for i in order]), alone[order])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_rows_behind_the_end_are_zero(encoder, rows):
    batch = collate(rows[:4], padding=21)
    levels = ENCODERS[encoder]()(batch.tokens_BL, batch.lengths_B, ("table", "states"))
    for states_BLD in levels.values():
        for states_LD, length in zip(states_BLD, batch.lengths_B, strict=True):
            assert not states_LD[length:].any()
            assert states_LD[:length].any(1).all()


def test_mean_of_the_table_from_counts_equals_the_plain_mean(rows):
    torch.manual_seed(0)
    encoder = TableEncoder().double()
    batch = collate(rows, padding=21)
    plain_BLD = encoder(batch.tokens_BL, batch.lengths_B)["states"]
    expected = MeanPooling(10)(plain_BLD, batch.lengths_B)
    (expected * torch.arange(10)).sum().backward()
    expected_gradient = encoder.table.rows.weight.grad.clone()
    encoder.zero_grad()
    counted = Embedder(encoder, MeanPooling)(batch.tokens_BL, batch.lengths_B)
    (counted * torch.arange(10)).sum().backward()
    torch.testing.assert_close(counted, expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(
        encoder.table.rows.weight.grad, expected_gradient, rtol=1e-12, atol=0
    )


def test_poolings_against_a_loop(rows):
    torch.manual_seed(0)
    lengths_B = torch.tensor([4, 1, 7])
    states_BLD = torch.randn(3, 7, 6)
    positions_B = torch.tensor([2, 0, 5])
    query = torch.randn(6)
    for b, (length, position) in enumerate(zip(lengths_B, positions_B, strict=True)):
        residues = states_BLD[b, :length]
        weights = torch.softmax(residues @ query, 0)
        expected = {
            MeanPooling: residues.mean(0),
            MaxPooling: residues.max(0).values,
            LastPooling: residues[-1],
            EndsPooling: torch.cat([residues[-1, :4], residues[0, 4:]]),
            AttentionPooling: (weights[:, None] * residues).sum(0),
            PositionPooling: residues[position],
        }
        for pooling_class, vector in expected.items():
            pooling = pooling_class(6, backward_dim=2)
            if pooling_class is AttentionPooling:
                pooling.query.data = query
            found = pooling(states_BLD, lengths_B, positions_B)[b]
            torch.testing.assert_close(found, vector)


def test_the_two_sequences_of_the_question():
    """Same residues in another order: the table's mean cannot tell, states can."""
    letters = "ARNDCQEGHILKMFPSTWYVX"
    rows = [
        np.array([letters.index(letter) for letter in text], np.uint8)
        for text in ("MNTQILVFIACVLIEAKGDKICL", "AKGDKICLMNTQILVFIACVLIE")
    ]
    torch.manual_seed(0)
    encoder = RecurrentEncoder()
    by_table = _embed(Embedder(encoder, MeanPooling, "table"), rows)
    by_states = _embed(Embedder(encoder, MeanPooling, "states"), rows)
    assert torch.equal(by_table[0], by_table[1])
    assert (by_states[0] - by_states[1]).abs().max() > 1e-3


def test_random_frozen_table_is_not_trained():
    encoder = RecurrentEncoder(table="random_frozen")
    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert "table.rows.weight" not in trained and "rnn.weight_hh_l0" in trained
    assert not encoder.table.rows.weight[21].any()


@pytest.mark.slow
def test_titin_alone_equals_titin_in_company():
    """34,350 residues: exact, carried in chunks."""
    rng = np.random.default_rng(5)
    titin = rng.integers(0, 20, 34_350).astype(np.uint8)
    torch.manual_seed(0)
    embedder = Embedder(RecurrentEncoder(bidirectional=True), MeanPooling).eval()
    together = _embed(embedder, [titin, titin[:100]])
    _close(together[:1], _embed(embedder, [titin]))
    _close(together[1:], _embed(embedder, [titin[:100]]))
