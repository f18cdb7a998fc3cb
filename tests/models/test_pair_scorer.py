"""Scores of pairs in batches against one pair at a time, with gradients; ordinal loss; levels."""

import numpy as np
import pytest
import torch

from protemb.errors import ConfigError
from protemb.models.batches import collate
from protemb.models.encoders import TableEncoder
from protemb.models.encoders.recurrent import RecurrentEncoder
from protemb.models.pair_scorer import PairScorer, Projected, chunks_of_pairs
from protemb.models.pretrained.recurrent import PublishedRecurrent
from protemb.models.pretrained.similarity import Similarity

WAYS = [(method, norm) for method in ("ssa", "ua", "me") for norm in ("L1", "L2")]


def sequences(lengths=(1, 7, 40, 12, 25, 8), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(21, size=length).astype(np.uint8) for length in lengths]


def scorer(method="ssa", norm="L1", **options):
    torch.manual_seed(0)
    encoder = PublishedRecurrent(inner_dim=5, hidden_dim=6, layers=1, out_dim=8)
    return PairScorer(encoder, "projection", 4, method=method, norm=norm, **options)


def score(model, rows, pairs):
    batch = collate(rows, 21)
    return model(batch.tokens_BL, batch.lengths_B, torch.tensor(pairs))


def one_by_one(model, rows, pairs):
    """The published way: one sequence and one pair at a time."""
    compare = Similarity(model.method, model.norm)
    states = []
    for row in rows:
        tokens_1L = torch.from_numpy(row.astype(np.int64))[None]
        found = model.encoder(tokens_1L, torch.tensor([len(row)]), (model.level,))
        states.append(found[model.level][0])
    return torch.stack([compare.score(states[a], states[b]) for a, b in pairs])


PAIRS = [(0, 1), (2, 3), (4, 5), (1, 2), (2, 2), (0, 4), (3, 1), (5, 0), (4, 2)]


@pytest.mark.parametrize(("method", "norm"), WAYS)
@pytest.mark.parametrize("sizes", [{}, {"cells": 300, "residues": 20}])
def test_scores_and_gradients_are_those_of_one_pair_at_a_time(method, norm, sizes):
    model, rows = scorer(method, norm, **sizes), sequences()
    weights_P = torch.linspace(-1, 1, len(PAIRS))
    gradients = []
    for way in (score, one_by_one):
        model.zero_grad()
        scores_P = way(model, rows, PAIRS)
        (scores_P * weights_P).sum().backward()
        grads = [p.grad.clone() for p in model.encoder.parameters() if p.grad is not None]
        gradients.append((scores_P.detach(), grads))
    (found, own), (expected, reference) = gradients
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=1e-6)
    assert len(own) == len(reference) > 0
    for first, second in zip(own, reference, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("method", "norm"), WAYS)
def test_a_score_does_not_depend_on_its_batch_mates(method, norm):
    model, rows = scorer(method, norm).eval(), sequences()
    with torch.no_grad():
        together = score(model, rows, PAIRS)
        shuffled = score(model, rows[::-1], [(5 - a, 5 - b) for a, b in PAIRS[::-1]]).flip(0)
        turned = score(model, rows, [(b, a) for a, b in PAIRS])
        alone = torch.cat([score(model, [rows[a], rows[b]], [(0, 1)]) for a, b in PAIRS])
    for other in (shuffled, turned, alone):
        torch.testing.assert_close(together, other, rtol=1e-6, atol=1e-6)


def test_numeric_gradient_of_the_alignment():
    model = scorer().double()
    generator = torch.Generator().manual_seed(1)
    states = [
        torch.randn(n, 3, dtype=torch.float64, generator=generator, requires_grad=True)
        for n in (4, 2, 5)
    ]
    pairs_P2 = np.array([[0, 1], [2, 0], [1, 2]])
    assert torch.autograd.gradcheck(lambda *given: model.compare(given, pairs_P2), states)


def test_chunks_hold_every_pair_once_within_the_budget():
    rng = np.random.default_rng(3)
    lengths_P2 = np.sort(rng.integers(1, 60, size=(200, 2)), 1)
    chunks = list(chunks_of_pairs(lengths_P2, 5000))
    assert sorted(np.concatenate(chunks).tolist()) == list(range(200))
    for chunk in chunks:
        padded = len(chunk) * int(lengths_P2[chunk].max(0).prod())
        own = int(lengths_P2[chunk].prod(1).sum())
        assert len(chunk) == 1 or (padded <= 5000 and padded <= 1.5 * own)


def test_the_loss_is_the_sum_of_cross_entropies_of_each_step():
    model = scorer()
    with torch.no_grad():
        model.theta.copy_(torch.tensor([1.0, 0.5, 0.0, 2.0]))
        model.beta.copy_(torch.tensor([3.0, 1.0, 0.0, -1.0]))
    scores_P, levels_P = torch.tensor([-4.0, -1.0, 0.0]), torch.tensor([0, 2, 4])
    expected = []
    for value, level in zip(scores_P.tolist(), levels_P.tolist(), strict=True):
        total = 0.0
        for k, (theta, beta) in enumerate(zip(model.theta, model.beta, strict=True)):
            above = 1 / (1 + np.exp(-(value * theta.item() + beta.item())))
            total -= np.log(above if level > k else 1 - above)
        expected.append(total)
    found = model.losses(scores_P, levels_P)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-5)


def test_slopes_never_turn_the_order():
    model = scorer()
    assert (model.theta == 1).all() and (model.beta == 10).all()
    with torch.no_grad():
        model.theta.copy_(torch.tensor([-1.0, 0.5, -0.1, 2.0]))
    model.keep_order()
    assert model.theta.tolist() == [0.0, 0.5, 0.0, 2.0]
    levels = model.similarity().levels(torch.tensor([-9.0, -3.0])) @ torch.arange(5.0).double()
    assert levels[0] < levels[1]


def test_a_projection_can_stand_behind_any_level():
    torch.manual_seed(0)
    encoder = RecurrentEncoder(hidden_dim=4, bidirectional=True)
    wrapped = Projected(encoder, "states", 3)
    assert wrapped.levels == (*encoder.levels, "projection")
    assert wrapped.dim("projection") == 3 and wrapped.dim("states") == 8
    assert wrapped.backward_dim("states") == 4 and wrapped.backward_dim("projection") == 0
    batch = collate(sequences((4, 9)), 21)
    found = wrapped(batch.tokens_BL, batch.lengths_B, ("projection", "table"))
    assert list(found) == ["projection", "table"]
    states_BLD = encoder(batch.tokens_BL, batch.lengths_B)["states"]
    torch.testing.assert_close(found["projection"][1], wrapped.project(states_BLD[1]))
    assert (found["projection"][0, 4:] == 0).all()
    rows, model = sequences(), PairScorer(wrapped, "projection", 4)
    torch.testing.assert_close(score(model, rows, PAIRS), one_by_one(model, rows, PAIRS))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: scorer(method="nw"), r"task\.method: got 'nw', expected one of ssa, ua, me"),
        (lambda: scorer(norm="L3"), r"task\.norm: got 'L3'"),
        (lambda: PairScorer(TableEncoder(), "states2", 4), "level: got 'states2'"),
        (lambda: Projected(scorer().encoder, "states", 4), "null: the encoder has a projection"),
    ],
)
def test_options_that_cannot_work_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
