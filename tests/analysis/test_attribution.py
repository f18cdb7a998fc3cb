"""Attributions: closed forms, loops over edited sequences and tables, and a planted motif."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from protemb.analysis.attribution import integrated_gradients, occlusion
from protemb.errors import ConfigError, MissingExtra
from protemb.models.batches import collate
from protemb.models.classifier import SequenceClassifier
from protemb.models.embedder import Embedder
from protemb.models.encoders import ConvolutionEncoder, Encoder, RecurrentEncoder, TableEncoder
from protemb.models.pooling import POOLINGS
from protemb.sequences.tokens import TokenStore

ENCODERS = {
    "table": lambda: TableEncoder(embed_dim=4),
    "lstm": lambda: RecurrentEncoder(embed_dim=4, hidden_dim=6),
    "bigru": lambda: RecurrentEncoder(
        cell="gru", embed_dim=4, hidden_dim=5, layers=2, bidirectional=True
    ),
    "cnn": lambda: ConvolutionEncoder(embed_dim=4, hidden_dim=6, layers=2, kernel=3),
}
SEQUENCES = ["MKVLAAGIRNDW", "ACDEF", "MKVLAAGIRNDW", "X", "WWWWCYHKTPAAQERMLI", "DYKDDDDK", "PX"]
LENGTHS = [len(sequence) for sequence in SEQUENCES]
POSITIONS = [length // 2 for length in LENGTHS]
EVERY = range(len(SEQUENCES))
METHODS = {
    "gradients": lambda *a, **o: integrated_gradients(*a, **o).values,
    "occlusion": occlusion,
}


def store_of(sequences):
    return TokenStore.from_sequences([(str(i), text) for i, text in enumerate(sequences)])


STORE = store_of(SEQUENCES)


def make(encoder="lstm", pooling="mean", level="states", classes=3, hidden=None, seed=0):
    torch.manual_seed(seed)
    embedder = Embedder(ENCODERS[encoder](), POOLINGS[pooling], level)
    classifier = SequenceClassifier(embedder, classes, hidden=hidden, dropout=0.3)
    if pooling == "attention":
        nn.init.normal_(embedder.pooling.query)
    return classifier


def scores_of(classifier, store, records, positions=None):
    """Centred logits through the classifier's own forward, one sequence at a time."""
    classifier.eval()
    rows = []
    for record in records:
        place = None if positions is None else np.array([positions[record]])
        batch = collate([store.tokens(record)], 21, place)
        with torch.no_grad():
            logits_C = classifier(batch.tokens_BL, batch.lengths_B, batch.positions_B)[0].double()
        rows.append((logits_C - logits_C.mean()).numpy())
    return np.stack(rows)


def table_of(classifier):
    return classifier.embedder.encoder.table.rows.weight.detach().double().numpy()


# ---- what is known exactly -------------------------------------------------------------------


@pytest.mark.parametrize("baseline", ["mean", "X", "G"])
@pytest.mark.parametrize("level", ["table", "states"])
@pytest.mark.parametrize("method", METHODS)
def test_a_linear_classifier_in_closed_form(method, level, baseline):
    """score = mean(rows) @ w: a residue adds (its row - the baseline) @ w / L, in both methods."""
    classifier = make("table", level=level)
    rows_VD = table_of(classifier)
    weight_CD = classifier.head[-1].weight.detach().double().numpy()
    base_D = rows_VD[:20].mean(0) if baseline == "mean" else rows_VD[{"X": 20, "G": 7}[baseline]]
    targets = [i % 3 for i in EVERY]
    found = METHODS[method](classifier, STORE, EVERY, targets, baseline=baseline)
    for record, target in zip(EVERY, targets, strict=True):
        weight_D = weight_CD[target] - weight_CD.mean(0)
        rows_LD = rows_VD[STORE.tokens(record)]
        expected_L = (rows_LD - base_D) @ weight_D / LENGTHS[record]
        np.testing.assert_allclose(found[record], expected_L, atol=2e-6)


@pytest.mark.parametrize("pooling", ["mean", "last", "attention"])
@pytest.mark.parametrize("encoder", ["lstm", "bigru", "cnn"])
def test_gradients_by_moving_the_table(encoder, pooling):
    """Where no letter comes twice, the states are rows of the table: move these, and integrate."""
    classifier = make(encoder, pooling).double().eval()
    weight = classifier.embedder.encoder.table.rows.weight
    tokens_L = STORE.tokens(1).astype(int)
    batch = collate([STORE.tokens(1)], 21)
    start_VD = weight.detach().clone()
    base_D = start_VD[:20].mean(0)
    total_VD, points = torch.zeros_like(start_VD), 100
    for share in (np.arange(points) + 0.5) / points:
        with torch.no_grad():
            weight[tokens_L] = base_D + share * (start_VD[tokens_L] - base_D)
        logits_C = classifier(batch.tokens_BL, batch.lengths_B)[0]
        (grad_VD,) = torch.autograd.grad(logits_C[1] - logits_C.mean(), weight)
        total_VD += grad_VD / points
    with torch.no_grad():
        weight.copy_(start_VD)
    expected_L = ((start_VD - base_D) * total_VD).sum(1)[tokens_L].numpy()
    found = integrated_gradients(classifier, STORE, [1], [1], steps=64)
    np.testing.assert_allclose(found.values[0], expected_L, atol=2e-5)
    assert np.abs(expected_L).max() > 1e-3


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (3, 1), (4, 3), (99, 99)])
@pytest.mark.parametrize(("encoder", "level"), [("table", "table"), ("lstm", "states")])
def test_occlusion_by_editing_the_text(encoder, level, window, stride):
    classifier = make(encoder, "mean", level, hidden=5)
    found = occlusion(classifier, STORE, EVERY, [2] * 7, window=window, stride=stride, baseline="X")
    for record, text in enumerate(SEQUENCES):
        size = min(window, len(text))
        starts = list(range(0, len(text) - size, stride)) + [len(text) - size]
        edited = [text[:start] + "X" * size + text[start + size :] for start in starts]
        scores = scores_of(classifier, store_of([text, *edited]), range(1 + len(edited)))[:, 2]
        shares = [[] for _ in text]
        for start, score in zip(starts, scores[1:], strict=True):
            for place in range(start, start + size):
                shares[place].append((scores[0] - score) / size)
        expected_L = [np.mean(part) for part in shares]
        np.testing.assert_allclose(found[record], expected_L, atol=1e-6)


# ---- every encoder and pooling ---------------------------------------------------------------


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_gradients_are_complete(encoder, pooling):
    classifier = make(encoder, pooling)
    positions = POSITIONS if pooling == "position" else None
    targets = np.array([i % 3 for i in EVERY])
    found = integrated_gradients(classifier, STORE, EVERY, targets, positions_M=positions, steps=60)
    assert [len(values_L) for values_L in found.values] == LENGTHS
    expected_M = scores_of(classifier, STORE, EVERY, positions)[np.arange(7), targets]
    np.testing.assert_allclose(found.scores_M, expected_M, atol=1e-5)
    missing = [values_L.sum() for values_L in found.values] - (found.scores_M - found.baselines_M)
    scale_M = np.maximum(np.abs(found.scores_M - found.baselines_M), 1)
    np.testing.assert_allclose(found.errors_M, np.abs(missing) / scale_M)
    assert found.errors_M.max() < (0.05 if pooling == "max" else 1e-3)  # a maximum has kinks


@pytest.mark.parametrize("encoder", ["lstm", "bigru"])
def test_a_few_steps_are_enough_for_smooth_networks(encoder):
    found = integrated_gradients(make(encoder), STORE, EVERY, [0] * 7, steps=32)
    assert found.errors_M.max() < 1e-4
    poor = integrated_gradients(make(encoder), STORE, EVERY, [0] * 7, steps=1)
    assert poor.errors_M.max() > 1e-3


@pytest.mark.parametrize("pooling", ["mean", "max", "ends", "attention", "position"])
@pytest.mark.parametrize("encoder", ["bigru", "cnn"])
@pytest.mark.parametrize("method", METHODS)
def test_batch_mates_do_not_matter(method, encoder, pooling):
    classifier = make(encoder, pooling)
    options = {} if method == "occlusion" else {"steps": 4}

    def explain(records, **more):
        if pooling == "position":
            more["positions_M"] = [POSITIONS[i] for i in records]
        return METHODS[method](
            classifier, STORE, records, [i % 3 for i in records], **options, **more
        )

    together, small = explain(EVERY), explain(EVERY, residues=20)
    backwards = explain(EVERY[::-1])[::-1]
    for record in (1, 3, 4):
        (alone,) = explain([record])
        assert alone.shape == (LENGTHS[record],) and alone.dtype == np.float64
        for other in (together, small, backwards):
            np.testing.assert_allclose(other[record], alone, atol=2e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_baselines_own_letters_add_nothing(method):
    found = METHODS[method](make(), store_of(["AXXC"]), [0], [1], baseline="X")[0]
    np.testing.assert_array_equal(found[1:3], 0)
    assert (found[[0, 3]] != 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_targets(method):
    classifier = make()
    found = METHODS[method](classifier, STORE, [0] * 3 + [2], [0, 1, 2, 1])
    np.testing.assert_allclose(sum(found[:3]), 0, atol=1e-6)  # of all classes: centred
    np.testing.assert_array_equal(found[3], found[1])  # the same sequence
    assert not np.allclose(found[0], found[1])


@pytest.mark.parametrize("method", METHODS)
def test_what_all_logits_share_is_not_explained(method):
    classifier = make()
    before = METHODS[method](classifier, STORE, EVERY, [1] * 7)
    with torch.no_grad():
        classifier.head[-1].weight += 3 * torch.randn(6)
        classifier.head[-1].bias += 1
    after = METHODS[method](classifier, STORE, EVERY, [1] * 7)
    for first, second in zip(before, after, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_classifier_stays_as_it_is(method):
    classifier = make().train()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    state = torch.get_rng_state()
    first, again = (METHODS[method](classifier, STORE, EVERY, [0] * 7) for _ in range(2))
    for one, other in zip(first, again, strict=True):  # no dropout
        np.testing.assert_array_equal(one, other)
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert not any(module._forward_hooks for module in classifier.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_failing_encoder_leaves_no_hook(monkeypatch):
    classifier = make()
    monkeypatch.setattr(classifier.embedder.encoder, "forward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        occlusion(classifier, STORE, [0], [0])
    assert not any(module._forward_hooks for module in classifier.modules())


# ---- a motif that decides --------------------------------------------------------------------


@pytest.fixture(scope="module")
def motif():
    """Sequences of two classes, where the motif of class 1 stands, and a network that found it."""
    rng = np.random.default_rng(0)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    texts, places = [], []
    for record in range(240):
        text = rng.choice(letters, size=rng.integers(25, 36))
        place = int(rng.integers(2, len(text) - 6))
        if record % 2:
            text[place : place + 4] = list("WCHW")
        texts.append("".join(text))
        places.append(place)
    store = store_of(texts)
    torch.manual_seed(0)
    encoder = ConvolutionEncoder(embed_dim=8, hidden_dim=16, layers=1, kernel=5)
    classifier = SequenceClassifier(Embedder(encoder, POOLINGS["max"], "states"), 2)
    optimizer = torch.optim.Adam(classifier.parameters(), 0.01)
    batch = collate([store.tokens(i) for i in range(200)], 21)
    for _ in range(80):
        logits_BC = classifier(batch.tokens_BL, batch.lengths_B)
        loss = nn.functional.cross_entropy(logits_BC, torch.arange(200) % 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return classifier, store, places


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_motif_is_found(method, motif):
    """In sequences that were not trained on, the largest values stand on the motif."""
    classifier, store, places = motif
    records = list(range(201, 240, 2))
    assert (scores_of(classifier, store, records)[:, 1] > 0).mean() > 0.9
    hits, shares = [], []
    for record, values_L in zip(
        records, METHODS[method](classifier, store, records, [1] * 20), strict=True
    ):
        place = places[record]
        hits.append(place <= values_L.argmax() < place + 4)
        shares.append(values_L[place : place + 4].sum() / np.abs(values_L).sum())
    assert np.mean(hits) >= 0.9  # by chance 4 in 30
    assert np.mean(shares) > 0.5


# ---- what cannot work ------------------------------------------------------------------------


def test_captum_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(
        MissingExtra, match=r"integrated gradients needs captum.*protemb\[explain\]"
    ):
        integrated_gradients(make(), STORE, [0], [0])
    assert len(occlusion(make(), STORE, [0], [0])) == 1


class Foreign(Encoder):
    """An encoder without a residue table."""

    levels, alphabet_size = ("states",), 21

    def dim(self, level):
        return 4

    def forward(self, tokens_BL, lengths_B, levels=("states",)):
        return {"states": torch.zeros(*tokens_BL.shape, 4)}


@pytest.mark.parametrize("method", METHODS)
def test_bad_options(method):
    explain = METHODS[method]
    foreign = SequenceClassifier(Embedder(Foreign(), POOLINGS["mean"]), 2)
    with pytest.raises(ConfigError, match="encoder: got 'Foreign', expected one that begins with"):
        explain(foreign, STORE, [0], [0])
    for letter in ("J", "MK", ""):
        with pytest.raises(
            ConfigError, match="baseline: got .*expected mean or one of the letters"
        ):
            explain(make(), STORE, [0], [0], baseline=letter)
    with pytest.raises(ConfigError, match="data with a position"):
        explain(make(pooling="position"), STORE, [0], [0])


@pytest.mark.parametrize("stride", [0, 4])
def test_every_residue_is_in_a_window(stride):
    with pytest.raises(ConfigError, match="stride: got .*from 1 to the window, 3"):
        occlusion(make(), STORE, [0], [0], window=3, stride=stride)
