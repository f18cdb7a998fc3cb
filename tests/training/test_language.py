"""Residues predicted from residues: losses, masks, baselines and intervals against plain loops."""

import json
import math
from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st

from protemb.errors import ConfigError
from protemb.intervals import Interval
from protemb.models.batches import collate
from protemb.models.encoders import ConvolutionEncoder, RecurrentEncoder, TableEncoder
from protemb.models.language import MaskedResidue, NextResidue, next_residue_logits
from protemb.models.pretrained.library import load_pretrained
from protemb.models.pretrained.originals import recurrent_network
from protemb.models.pretrained.recurrent import PublishedRecurrent
from protemb.models.pretrained.saving import save_pretrained
from protemb.models.pretrained.weights import read_weights
from protemb.sequences.alphabet import AA21
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.masking import NO_TARGET, all_targets, mask_residues
from protemb.sequences.partition import Split
from protemb.sequences.tokens import TokenStore
from protemb.training.language import LanguageModule, residue_nats, score_records
from protemb.training.language_baselines import baseline_tables, count_neighbours, score_baselines
from protemb.training.language_data import LanguageData
from protemb.training.language_scores import RecordSums, cross_entropy_gain, language_scores

LM = {"embed_dim": 5, "hidden_dim": 6, "layers": 2}
MASK, END = 21, 22
ENCODERS = {
    "bilstm": lambda: RecurrentEncoder(hidden_dim=5, bidirectional=True),
    "gru": lambda: RecurrentEncoder(cell="gru", hidden_dim=5, layers=2),
    "packed": lambda: RecurrentEncoder(hidden_dim=5, bidirectional=True, path="packed"),
    "cnn": lambda: ConvolutionEncoder(hidden_dim=8, layers=2),
    "embedding": lambda: TableEncoder(),
}


def _store(*sequences):
    return TokenStore.from_sequences([(f"r{i}", text) for i, text in enumerate(sequences)])


def _data(store, **options):
    everything = np.arange(len(store))
    data = LabelledSet.from_labels(store, ["protein"] * len(store))
    split = Split(everything, everything[:0], everything[:0], "all", {})
    return LanguageData(data, split, **{"masked": None, **options})


def _random(rng, *lengths, letters=AA21.symbols):
    return ["".join(rng.choice(list(letters), length)) for length in lengths]


@pytest.fixture(scope="module")
def store():
    texts = _random(np.random.default_rng(3), 1, 2, 7, 30, 31, 55)
    return _store(*texts, "MXXK", "ACDEFGHIKLMNPQRSTVWYX")


# Networks


@pytest.mark.parametrize("name", ["bilm_tied", "bilm_untied"])
def test_logits_are_those_of_the_original_code(reference, name):
    manifest = json.loads((reference / "manifest.json").read_text())["models"][name]
    network = NextResidue(
        recurrent_network(read_weights(reference / manifest["checkpoints"][0]).tensors)
    )
    table = AA21.table()
    table[table == NO_TARGET] = 20
    texts = {
        each["id"]: each["seq"] for each in json.loads((reference / "sequences.json").read_text())
    }
    rows = [table[np.frombuffer(text.upper().encode(), np.uint8)] for text in texts.values()]
    batch = collate(rows, MASK)  # all lengths in one batch, 1 to 1,200
    with torch.inference_mode():
        log_p_BLV = network(batch.tokens_BL, batch.lengths_B).numpy()
        lm = network.encoder.lm
        logits_BLC = next_residue_logits(lm, lm(batch.tokens_BL, batch.lengths_B))
        all_BLC = torch.log_softmax(logits_BLC, 2).numpy()
    with np.load(reference / manifest["expected"]) as expected:
        for row, (record, tokens_L) in enumerate(zip(texts, rows, strict=True)):
            # The original has a place for the stop token at either end.
            original_LC = expected[f"{record}/lm_logp"][1:-1]
            found = {"rtol": 1e-5, "atol": 2e-6}
            np.testing.assert_allclose(all_BLC[row, : len(tokens_L)], original_LC, **found)
            np.testing.assert_allclose(log_p_BLV[row, : len(tokens_L)], original_LC[:, 1:], **found)


def _loop_log_p(network, tokens_L):
    """One sequence, one residue at a time: what each direction says, from its own words."""
    lm = network.encoder.lm
    words = [int(token) + 1 for token in tokens_L]
    rows = []
    for place in range(len(words)):
        logits = torch.zeros(21, dtype=torch.float64)
        contexts = ([0, *words[:place]], [0, *words[place + 1 :][::-1]])
        for context, untied in zip(contexts, ("lrnn", "rrnn"), strict=True):
            states = lm.embed(torch.tensor([context]))
            for layer in lm.rnn if lm.tied else getattr(lm, untied):
                states, _ = layer(states)
            logits = logits + lm.linear(states[0, -1])
        rows.append(torch.log_softmax(logits, 0)[1:])
    return torch.stack(rows)


@pytest.mark.parametrize("tied", [True, False])
def test_the_loss_and_its_gradient_are_those_of_one_sequence_at_a_time(store, tied):
    torch.manual_seed(0)
    network = NextResidue(PublishedRecurrent(lm={**LM, "tied": tied})).double()
    records = np.flatnonzero(store.lengths_N < 31)
    batch = _data(store).batch(records, epoch=0)
    nats_BL, right_BL = residue_nats(network.float(), batch)
    network.double()
    total, count, right = torch.zeros((), dtype=torch.float64), 0, 0
    for record in records:
        log_p_LV = _loop_log_p(network, store.tokens(record))
        for place, token in enumerate(store.tokens(record)):
            if token < 20:
                total = total - log_p_LV[place, token]
                right += int(log_p_LV[place].argmax() == token)
                count += 1
    assert nats_BL.sum().item() == pytest.approx(total.item(), rel=1e-5)
    assert int((batch[1] != NO_TARGET).sum()) == count
    assert int(right_BL[batch[1] != NO_TARGET].sum()) == right
    (total / count).backward()
    expected = {name: p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    # The network itself answers in float32, so its gradient agrees to that.
    (residue_nats(network, batch)[0].sum() * batch[2]).backward()
    assert all(gradient is not None for gradient in expected.values())
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_mask_in_a_sequence_is_not_its_end(store, encoder):
    torch.manual_seed(0)
    network = MaskedResidue(ENCODERS[encoder](), "states").eval()
    data = _data(store, masked=0.4)
    records = np.arange(len(store))
    tokens, targets_BL, weight = data.batch(records, None)
    hidden = (tokens.tokens_BL == MASK).sum(1) - (tokens.tokens_BL.shape[1] - tokens.lengths_B)
    assert (hidden > 0).all()
    nats_BL, _ = residue_nats(network, (tokens, targets_BL, weight))
    for row, record in enumerate(records):
        alone = data.batch(records[row : row + 1], None)
        assert alone[0].lengths_B.tolist() == [store.lengths_N[record]]
        nats_1L, _ = residue_nats(network, alone)
        length = store.lengths_N[record]
        torch.testing.assert_close(nats_1L[0], nats_BL[row, :length], rtol=1e-5, atol=1e-6)
        assert not nats_BL[row, length:].any()
    if encoder in ("bilstm", "packed", "cnn"):
        # States behind a mask still read what stands before it.
        changed = tokens.tokens_BL.clone()
        row = int(tokens.lengths_B.argmax())
        masks = torch.nonzero(changed[row, : tokens.lengths_B[row]] == MASK)[:, 0]
        before = int(masks[masks > 0][0]) - 1
        changed[row, before] = (changed[row, before] + 1) % 20
        with torch.inference_mode():
            first = network(tokens.tokens_BL, tokens.lengths_B)
            second = network(changed, tokens.lengths_B)
        assert (first[row, before + 1] != second[row, before + 1]).any()


@pytest.mark.parametrize("encoder", ["bilstm", "cnn"])
def test_gradients_do_not_depend_on_how_records_are_batched(store, encoder):
    torch.manual_seed(0)
    network = MaskedResidue(ENCODERS[encoder](), "states")
    data, records = _data(store, masked=0.3), np.arange(len(store))

    def gradient(batches):
        network.zero_grad()
        for batch in batches:
            (residue_nats(network, batch)[0].sum()).backward()
        return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}

    together = gradient([data.batch(records, 2)])
    alone = gradient([data.batch(records[i : i + 1], 2) for i in records])
    dealt = gradient([data.batch(records, 2, rank, 3) for rank in range(3)])
    for other in (alone, dealt):
        assert other.keys() == together.keys()
        for name, value in together.items():
            torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-5)
    # The row of the mask stays zero: a hidden residue has no features.
    assert not network.encoder.table.rows.weight[MASK].any()
    assert not together["encoder.table.rows.weight"][MASK].any()


@pytest.mark.parametrize("devices", [1, 2, 5, 12])
def test_devices_share_a_batch_and_its_mean(store, devices):
    data, records = _data(store, masked=0.3), np.arange(len(store))
    torch.manual_seed(0)
    network = MaskedResidue(ENCODERS["cnn"](), "states").eval()
    nats_BL, _ = residue_nats(network, data.batch(records, 1))
    targets = int((data.batch(records, 1)[1] != NO_TARGET).sum())
    shares = [data.batch(records, 1, rank, devices) for rank in range(devices)]
    losses = [(residue_nats(network, share)[0].sum() * share[2]).item() for share in shares]
    assert np.mean(losses) == pytest.approx(nats_BL.sum().item() / targets, rel=1e-5)
    assert sum(int((share[1] != NO_TARGET).sum()) for share in shares) == targets


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ConfigError, match=r"encoder: got 'RecurrentEncoder'.*task=masked_lm"):
        NextResidue(ENCODERS["bilstm"]())
    wide = {"lm": {**LM, "tied": True}, "inner_dim": 4, "hidden_dim": 3, "layers": 1, "out_dim": 2}
    for options in (
        wide,
        {"layers": 1, "hidden_dim": 3},
        {"lm": wide["lm"], "legacy_padding": True},
    ):
        with pytest.raises(ConfigError, match="encoder: got"):
            NextResidue(PublishedRecurrent(**options))
    with pytest.raises(ConfigError, match="level: got 'lm'"):
        MaskedResidue(ENCODERS["cnn"](), "lm")


# Masks

sequences = st.lists(st.integers(0, 20), min_size=1, max_size=60).map(
    lambda x: np.array(x, np.uint8)
)


@given(sequences, st.floats(0.01, 1), st.integers(0, 2**20), st.booleans())
def test_what_is_not_chosen_stays_and_what_is_chosen_is_known(tokens_L, share, seed, show):
    kept = tokens_L.copy()
    shown_L, targets_L = mask_residues(
        tokens_L, share, MASK, np.random.default_rng(seed), show=show
    )
    chosen_L = targets_L != NO_TARGET
    standard = int((tokens_L < 20).sum())
    assert (tokens_L == kept).all()
    assert chosen_L.sum() == (max(1, round(share * standard)) if standard else 0)
    assert (targets_L[chosen_L] == tokens_L[chosen_L]).all()
    assert (tokens_L[chosen_L] < 20).all()
    assert (shown_L[~chosen_L] == tokens_L[~chosen_L]).all()
    if not show:
        assert (shown_L[chosen_L] == MASK).all()


def test_of_the_chosen_80_percent_are_hidden_10_changed_10_kept():
    tokens_L = np.full(40_000, 7, np.uint8)
    shown_L, targets_L = mask_residues(tokens_L, 0.15, MASK, np.random.default_rng(0), show=True)
    chosen_L = targets_L != NO_TARGET
    assert chosen_L.sum() == 6000
    counts = np.bincount(shown_L[chosen_L], minlength=22)
    sigma = math.sqrt(6000 * 0.1 * 0.9)
    assert abs(counts[MASK] - 4800) < 4 * math.sqrt(6000 * 0.16)
    # A changed residue can become itself: one in 20.
    assert abs(counts[7] - 600 - 30) < 4 * sigma
    others = np.delete(counts[:20], 7)
    assert abs(others.sum() - 600 * 19 / 20) < 4 * sigma and others.min() > 5
    # Everywhere in the sequence alike.
    quarters = chosen_L.reshape(4, -1).sum(1)
    assert np.abs(quarters - 1500).max() < 4 * math.sqrt(1500)


def test_masks_are_a_function_of_seed_epoch_and_record(store):
    def shown(epoch, *, seed=0, record=5):
        return _data(store, masked=0.3, seed=seed).example(record, epoch)[0].tolist()

    assert shown(0) == shown(0) and shown(None) == shown(None)
    assert shown(None) == shown(None, seed=1)  # all trainings are scored on the same residues
    different = [shown(0), shown(1), shown(0, seed=1), shown(None)]
    assert len({tuple(row) for row in different}) == 4
    # Whatever else is in the batch, and on whichever device.
    data = _data(store, masked=0.3)
    whole = data.batch(np.arange(len(store)), 4)
    other = data.batch(np.array([5, 2]), 4)
    length = store.lengths_N[5]
    assert torch.equal(whole[0].tokens_BL[5, :length], other[0].tokens_BL[0, :length])
    assert torch.equal(whole[1][5, :length], other[1][0, :length])


def test_everything_standard_is_a_target_of_the_language_model(store):
    record = len(store) - 2
    shown_L, targets_L = _data(store).example(record, 0)
    assert store.sequence(record) == "MXXK" and (shown_L == store.tokens(record)).all()
    assert targets_L.tolist() == [12, NO_TARGET, NO_TARGET, 11]
    assert all_targets(np.arange(21, dtype=np.uint8)).tolist() == [*range(20), NO_TARGET]


class _Seen(pl.Callback):
    """What the network was shown, batch by batch."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, module, batch, index):
        self.batches.append((trainer.current_epoch, batch))


def test_every_epoch_is_the_one_that_was_planned(store, tmp_path):
    data = _data(store, masked=0.3, residues=60)
    data.split = Split(np.arange(7), np.array([7]), np.array([], int), "few", {})
    network, seen = MaskedResidue(ENCODERS["embedding"](), "states"), _Seen()
    module = LanguageModule(network, {}, optimizer=partial(torch.optim.SGD, lr=0.1))
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[seen],
        default_root_dir=tmp_path,
    )
    trainer.fit(module, data)
    planned = [
        (epoch, data.batch(records, epoch))
        for epoch in range(3)
        for records in data.plan(data.split.train, epoch)
    ]
    assert len(planned) == len(seen.batches) > 6
    for (epoch, expected), (now, found) in zip(planned, seen.batches, strict=True):
        assert epoch == now and torch.equal(expected[0].tokens_BL, found[0].tokens_BL)
        assert torch.equal(expected[1], found[1]) and expected[2] == found[2]
    validation = score_records(network.eval(), data, data.split.validation)
    logged = trainer.callback_metrics["val/loss"].item()
    assert logged == pytest.approx(validation.cross_entropy, rel=1e-5)
    assert trainer.callback_metrics["val/perplexity"].item() == pytest.approx(math.exp(logged))


# Baselines and scores


def _counted(store, records):
    """p(x | left, right) by plain counting, as the module's text says."""
    triples = []
    for record in records:
        padded = [END, *store.tokens(record).tolist(), END]
        triples += [tuple(padded[i - 1 : i + 2]) for i in range(1, len(padded) - 1)]
    triples = [(left, x, right) for left, x, right in triples if x < 20]

    def smooth(kept, simpler):
        return [
            (sum(k[1] == x for k in kept) + 20 * simpler[x]) / (len(kept) + 20) for x in range(20)
        ]

    def between(left, right):
        on_left = triples if left == MASK else [t for t in triples if t[0] == left]
        on_right = triples if right == MASK else [t for t in triples if t[2] == right]
        unigram = smooth(triples, [1 / 20] * 20)
        by_left, by_right = smooth(on_left, unigram), smooth(on_right, unigram)
        both = [a * b / c for a, b, c in zip(by_left, by_right, unigram, strict=True)]
        both = [p / sum(both) for p in both]
        kept = [t for t in on_left if right == MASK or t[2] == right]
        return {
            "uniform": [1 / 20] * 20,
            "unigram": unigram,
            "bigram": by_left,
            "neighbours": smooth(kept, both),
        }

    return between


@pytest.mark.parametrize("masked", [None, 0.4])
def test_baselines_are_those_of_plain_counting(store, masked):
    train, test = np.arange(2, len(store)), np.array([0, 1, 3, 7])
    data = _data(store, masked=masked)
    tables = baseline_tables(store, train)
    for table in tables.values():
        np.testing.assert_allclose(np.exp(table).sum(2), 1, rtol=1e-12)
    found = score_baselines(tables, lambda record: data.example(record, None), test, END)
    between = _counted(store, train)
    for row, record in enumerate(test):
        shown_L, targets_L = data.example(int(record), None)
        padded = [END, *shown_L.tolist(), END]
        expected = {name: [0.0, 0.0] for name in tables}
        for place, target in enumerate(targets_L):
            if target != NO_TARGET:
                for name, p_V in between(padded[place], padded[place + 2]).items():
                    expected[name][0] -= math.log(p_V[target])
                    expected[name][1] += 1 / 20 if name == "uniform" else np.argmax(p_V) == target
        for name, (nats, right) in expected.items():
            assert found[name].nats_M[row] == pytest.approx(nats, rel=1e-10)
            assert found[name].right_M[row] == pytest.approx(right)
            assert found[name].residues_M[row] == (targets_L != NO_TARGET).sum()


def test_counting_goes_past_blocks(store, monkeypatch):
    records = np.arange(len(store))
    whole = count_neighbours(store, records)
    monkeypatch.setattr("protemb.training.language_baselines.BLOCK", 10)
    assert (count_neighbours(store, records) == whole).all()
    standard = sum(int((store.tokens(record) < 20).sum()) for record in records)
    assert whole[MASK, MASK].sum() == standard


def _markov(rng, transitions_VV, lengths):
    letters, rows = AA21.symbols[:20], []
    for length in lengths:
        here, text = int(rng.integers(20)), []
        for _ in range(length):
            here = int(rng.choice(20, p=transitions_VV[here]))
            text.append(letters[here])
        rows.append("".join(text))
    return rows


def test_neighbours_reach_the_entropy_of_a_markov_chain():
    rng = np.random.default_rng(0)
    transitions_VV = rng.dirichlet(np.full(20, 0.2), 20)
    store = _store(*_markov(rng, transitions_VV, [200] * 150))
    train, test = np.arange(100), np.arange(100, 150)
    data = _data(store)
    found = score_baselines(
        baseline_tables(store, train), lambda record: data.example(record, None), test, END
    )
    left, both, count = 0.0, 0.0, 0
    for record in test:
        tokens = store.tokens(record)
        for before, x, behind in zip(tokens[:-2], tokens[1:-1], tokens[2:], strict=True):
            p_V = transitions_VV[before] * transitions_VV[:, behind]
            left -= math.log(transitions_VV[before, x])
            both -= math.log(p_V[x] / p_V.sum())
            count += 1
    assert found["bigram"].cross_entropy == pytest.approx(left / count, abs=0.03)
    # 20,000 residues for 8,000 numbers: some of it is lost in estimating them.
    assert both / count < found["neighbours"].cross_entropy < both / count + 0.08
    assert found["neighbours"].cross_entropy < found["bigram"].cross_entropy - 0.3
    assert found["bigram"].cross_entropy < found["unigram"].cross_entropy - 0.3


def test_scores_are_by_residue_and_their_intervals_by_group():
    rng = np.random.default_rng(1)
    residues_M = rng.integers(1, 50, 40).astype(float)
    sums = RecordSums(residues_M * rng.uniform(2, 3, 40), rng.binomial(20, 0.2, 40), residues_M)
    groups_M = np.arange(40) // 4
    scores = language_scores(sums, groups_M, replicates=400)
    value = sums.nats_M.sum() / residues_M.sum()
    assert scores["cross_entropy"].value == pytest.approx(value)
    assert scores["perplexity"].value == pytest.approx(math.exp(value))
    assert scores["perplexity"].low == pytest.approx(
        math.exp(scores["cross_entropy"].low), rel=1e-3
    )
    assert scores["accuracy"].value == pytest.approx(sums.right_M.sum() / residues_M.sum())
    draws = [rng.integers(10, size=10) for _ in range(4000)]
    chosen = [np.concatenate([np.flatnonzero(groups_M == g) for g in draw]) for draw in draws]
    plain = [sums.nats_M[rows].sum() / residues_M[rows].sum() for rows in chosen]
    width = scores["cross_entropy"].high - scores["cross_entropy"].low
    low, high = np.quantile(plain, [0.025, 0.975])
    assert width == pytest.approx(high - low, rel=0.2)


def test_a_gain_is_paired():
    rng = np.random.default_rng(2)
    residues_M = np.full(30, 10.0)
    hard_M = rng.uniform(10, 40, 30)  # some records are much harder, for both alike
    own = RecordSums(hard_M - 1, np.zeros(30), residues_M)
    rival = RecordSums(hard_M, np.zeros(30), residues_M)
    gain = cross_entropy_gain(own, rival, np.arange(30), replicates=200)
    assert gain == Interval(pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1))
    assert language_scores(own, np.arange(30), replicates=200)["cross_entropy"].high > 2.6


@pytest.mark.parametrize("masked", [None, 0.3])
def test_records_are_scored_as_one_by_one(store, masked):
    torch.manual_seed(0)
    network = (
        NextResidue(PublishedRecurrent(lm={**LM, "tied": True}))
        if masked is None
        else MaskedResidue(ENCODERS["bilstm"](), "states")
    )
    data = _data(store, masked=masked, residues=60)
    records = np.array([4, 0, 7, 6])
    sums = score_records(network, data, records)
    for row, record in enumerate(records):
        nats_1L, right_1L = residue_nats(network, data.batch(np.array([record]), None))
        assert sums.nats_M[row] == pytest.approx(nats_1L.sum().item(), rel=1e-5)
        assert sums.right_M[row] == right_1L.sum().item()
    assert sums.residues_M.sum() == sum(
        (data.example(int(r), None)[1] != NO_TARGET).sum() for r in records
    )


# Keeping


@pytest.mark.parametrize("name", ["bilstm", "cnn", "embedding", "frozen", "bilm"])
def test_a_kept_encoder_gives_the_same_states(tmp_path, store, name):
    torch.manual_seed(0)
    nodes = {
        "bilstm": {"_target_": "RecurrentEncoder", "hidden_dim": 5, "bidirectional": True},
        "cnn": {"_target_": "ConvolutionEncoder", "hidden_dim": 8, "layers": 2},
        "embedding": {"_target_": "TableEncoder"},
        "frozen": {"_target_": "TableEncoder", "table": "random_frozen"},
    }
    kinds = {"bilstm": RecurrentEncoder, "cnn": ConvolutionEncoder}
    if name == "bilm":
        encoder = PublishedRecurrent(lm={**LM, "tied": False})
        node = {"_target_": "protemb.models.pretrained.recurrent.PublishedRecurrent"}
        node["lm"] = {**LM, "tied": False}
        level, heads = "lm", {}
    else:
        node = dict(nodes[name])
        options = {key: value for key, value in node.items() if key != "_target_"}
        encoder = kinds.get(name, TableEncoder)(**options)
        node["_target_"] = f"protemb.models.encoders.{node['_target_']}"
        level, heads = "states", MaskedResidue(encoder, "states").head()
    encoder.eval()
    folder = save_pretrained(
        tmp_path / "model", node, encoder, AA21, level=level, source={"name": name}, heads=heads
    )
    found = load_pretrained(folder)
    batch = collate([store.tokens(record) for record in range(len(store))], MASK)
    with torch.inference_mode():
        expected = encoder(batch.tokens_BL, batch.lengths_B, encoder.levels)
        again = found.encoder(batch.tokens_BL, batch.lengths_B, encoder.levels)
    for at in encoder.levels:
        assert torch.equal(expected[at], again[at])
    assert found.recipe["level"] == level and found.alphabet == AA21
    assert found.heads.keys() == heads.keys()
    assert all((found.heads[key] == value.numpy()).all() for key, value in heads.items())
    with pytest.raises(Exception, match="exists already"):
        save_pretrained(folder, node, encoder, AA21, level=level, source={"name": name})
    with pytest.raises(ConfigError, match="level: got 'gone'"):
        save_pretrained(tmp_path / "x", node, encoder, AA21, level="gone", source={"name": name})
    assert not (tmp_path / "x").exists()
