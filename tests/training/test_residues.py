"""Training on residue labels: batches, loss and metrics against plain loops."""

from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from protemb.errors import CheckpointError, ConfigError
from protemb.models.checkpoint import RECIPE_KEY, RECIPE_VERSION
from protemb.models.encoders import ConvolutionEncoder, RecurrentEncoder, TableEncoder
from protemb.models.residue_crf import LabelChain
from protemb.models.residue_tagger import KIND, ResidueTagger, build_tagger, load_tagger
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split
from protemb.sequences.residue_set import ResidueSet
from protemb.sequences.segments import NOT_COUNTED
from protemb.sequences.tokens import TokenStore
from protemb.training.residue_baselines import REACH, fit_residue_baselines
from protemb.training.residue_data import ResidueData
from protemb.training.residue_module import ResidueModule
from protemb.vectors.tag import tag_records

LETTERS = "CEH"


def make_set(proteins):
    """ResidueSet of (sequence, labels) with '?' for what does not count; sequences differ."""
    store = TokenStore.from_sequences((f"p{n}", s) for n, (s, _) in enumerate(proteins))
    text = "".join(labels for _, labels in proteins)
    codes_T = np.array([NOT_COUNTED if c == "?" else LETTERS.index(c) for c in text], np.uint8)
    return ResidueSet(LabelledSet.from_labels(store, ["x"] * len(proteins)), codes_T, LETTERS)


def random_set(n=24, seed=0, longest=40, letters="CEEH?"):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(8, longest, n)
    return make_set(
        [
            ("".join(rng.choice(list("ARNDC"), k)), "".join(rng.choice(list(letters), k)))
            for k in lengths
        ]
    )


def parts(n, train=None):
    train = n // 2 if train is None else train
    cuts = np.split(np.arange(n), [train, train + (n - train) // 2])
    return Split(*cuts, "predefined", {})


ENCODERS = [
    RecurrentEncoder(embed_dim=3, hidden_dim=4, bidirectional=True),
    ConvolutionEncoder(embed_dim=3, hidden_dim=4, layers=2, kernel=3),
    TableEncoder(embed_dim=3),
]


def module_of(encoder, data, **options):
    tagger = ResidueTagger(encoder, "states", len(LETTERS), **options)
    return ResidueModule(
        tagger, {"letters": data.letters}, optimizer=lambda p: torch.optim.SGD(p, lr=0.1)
    )


@pytest.mark.parametrize("weights", ["none", "balanced"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_loss_is_the_mean_over_residues_that_count(encoder, weights):
    data = random_set()
    batches = ResidueData(data, parts(24), residues=200, class_weights=weights)
    module = module_of(encoder, data).eval()
    train = Counter("".join(data.text(data.codes(n)) for n in range(12)))
    total = sum(train[c] for c in LETTERS)
    for records in batches.plan(batches.train, 0):
        losses_T, weights_T, _ = module.losses(batches.batch(records))
        above = below = 0.0
        for record in records:
            tokens_1L = torch.from_numpy(data.labelled.store.tokens(record).astype(np.int64))[None]
            logits_LC = module.tagger(tokens_1L, torch.tensor([tokens_1L.shape[1]]))[0]
            for logits_C, letter in zip(logits_LC, data.text(data.codes(record)), strict=True):
                if letter != "?":
                    weight = total / 3 / train[letter] if weights == "balanced" else 1.0
                    share = torch.softmax(logits_C.double(), 0)[LETTERS.index(letter)]
                    above += weight * -float(torch.log(share).detach())
                    below += weight
        assert float((losses_T * weights_T).sum().detach()) == pytest.approx(
            above / below, rel=1e-5
        )


@pytest.mark.parametrize("devices", [2, 3, 5])
def test_several_devices_give_the_gradient_of_one(devices):
    data = random_set(9)
    batches = ResidueData(data, parts(9, train=4), class_weights="balanced")
    module = module_of(RecurrentEncoder(embed_dim=3, hidden_dim=4), data).double()

    def gradient(rank, of):
        module.zero_grad()
        tokens, labels_BL, weights_BL = batches.batch(np.arange(4), rank, of)
        # The weights are made in float32.
        losses_T, weights_T, _ = module.losses((tokens, labels_BL, weights_BL))
        (losses_T * weights_T).sum().backward()
        return torch.cat([p.grad.flatten() for p in module.parameters()])

    mean = sum(gradient(rank, devices) for rank in range(devices)) / devices
    assert torch.allclose(mean, gradient(0, 1), atol=1e-6)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_label_never_depends_on_the_batch(encoder):
    data = random_set()
    store, tagger = data.labelled.store, ResidueTagger(encoder, "states", 3).eval()
    alone = [
        tagger(
            torch.from_numpy(store.tokens(n).astype(np.int64))[None],
            torch.tensor([store.lengths_N[n]]),
        )[0]
        for n in range(24)
    ]
    batches = ResidueData(data, parts(24), residues=400)
    for records in batches.plan(np.arange(24), 0):
        tokens, _, _ = batches.batch(records)
        logits_BLC = tagger(tokens.tokens_BL, tokens.lengths_B)
        for logits_LC, record in zip(logits_BLC, records, strict=True):
            length = store.lengths_N[record]
            assert torch.allclose(logits_LC[:length], alone[record], rtol=1e-5, atol=1e-6)
    records = np.array([5, 3, 3, 20])
    together = tag_records(tagger, store, records, residues=60)
    assert (together == np.concatenate([alone[n].argmax(1).numpy() for n in records])).all()


def test_every_record_with_a_label_is_in_one_batch_and_the_plan_is_its_epochs():
    data = make_set([("ARN", "???"), ("ARNDC", "CEH?C"), ("AR", "CE"), ("RRR", "HHH"), ("D", "?")])
    split = Split(np.arange(3), np.array([3, 4]), np.array([], np.int64), "predefined", {})
    batches = ResidueData(data, split)
    assert batches.train.tolist() == [1, 2] and batches.validation.tolist() == [3]
    data = random_set(40)
    plans = [
        ResidueData(data, parts(40), residues=80, seed=s).plan(np.arange(40), e)
        for s, e in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert all(sorted(np.concatenate(plan).tolist()) == list(range(40)) for plan in plans)
    same = [[b.tolist() for b in plan] for plan in plans]
    assert same[0] == same[1] and same[0] != same[2] and same[0] != same[3]


def test_a_part_without_labels_is_refused():
    data = make_set([("ARN", "CEH"), ("AR", "??"), ("A", "C")])
    split = Split(np.array([0]), np.array([1]), np.array([2]), "predefined", {})
    with pytest.raises(ConfigError, match="residues that count in part validation"):
        ResidueData(data, split)
    with pytest.raises(ConfigError, match=r"task\.class_weights"):
        ResidueData(data, split, class_weights="some")


def test_validation_metrics_are_sklearns():
    data = random_set(30)
    batches = ResidueData(data, parts(30), residues=150)
    module = module_of(ENCODERS[0], data).eval()
    logged = {}
    module.log = lambda name, value, **_: logged.update({name: float(value)})
    true, predicted, losses = [], [], []
    with torch.no_grad():
        for number, records in enumerate(batches.plan(batches.validation, None)):
            batch = batches.batch(records)
            module.validation_step(batch, number)
            tokens, labels_BL, weights_BL = batch
            logits_BLC = module.tagger(tokens.tokens_BL, tokens.lengths_B)
            true += labels_BL[weights_BL > 0].tolist()
            predicted += logits_BLC.argmax(2)[weights_BL > 0].tolist()
            losses += module.losses(batch)[0].tolist()
    module.on_validation_epoch_end()
    assert len(true) == data.counted_N[batches.validation].sum()
    assert logged["val/accuracy"] == pytest.approx(np.mean(np.equal(true, predicted)))
    assert logged["val/loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert logged["val/macro_f1"] == pytest.approx(
        f1_score(true, predicted, labels=sorted(set(true)), average="macro", zero_division=0)
    )


def test_a_frozen_encoder_stays_and_keeps_no_graph():
    data = random_set()
    encoder = RecurrentEncoder(embed_dim=3, hidden_dim=4)
    encoder.requires_grad_(False)
    module = module_of(encoder, data, hidden=5)
    tokens, labels_BL, weights_BL = ResidueData(data, parts(24)).batch(np.arange(6))
    seen = []
    encoder.register_forward_hook(lambda *call: seen.append(call[2]["states"].requires_grad))
    losses_T, _, _ = module.losses((tokens, labels_BL, weights_BL))
    losses_T.sum().backward()
    assert seen == [False]
    assert all(p.grad is None for p in encoder.parameters())
    trained = module.configure_optimizers().param_groups[0]["params"]
    assert {id(p) for p in trained} == {id(p) for p in module.tagger.head.parameters()}


def test_a_tagger_from_its_recipe(tmp_path):
    recipe = {
        "version": RECIPE_VERSION,
        "kind": KIND,
        "encoder": {"_target_": "protemb.models.encoders.TableEncoder", "embed_dim": 4},
        "level": "table",
        "head": {"hidden": 3, "dropout": 0.0},
        "letters": LETTERS,
    }
    tagger, path = build_tagger(recipe), tmp_path / "best.ckpt"
    state = {f"tagger.{name}": value for name, value in tagger.state_dict().items()}
    torch.save({RECIPE_KEY: recipe, "state_dict": state}, path)
    found = load_tagger(path).model
    tokens_BL, lengths_B = torch.tensor([[1, 2, 3]]), torch.tensor([3])
    assert torch.equal(found(tokens_BL, lengths_B), tagger(tokens_BL, lengths_B))
    for damage, message in (
        ({"kind": "classification"}, "no recipe of residue labels"),
        ({"version": 99}, "recipe version: got 99"),
        ({"letters": "HE"}, "do not fit"),
        ({"encoder": {"_target_": "os.system"}}, "do not fit"),
    ):
        torch.save({RECIPE_KEY: recipe | damage, "state_dict": state}, path)
        with pytest.raises(CheckpointError, match=message):
            load_tagger(path)


def test_baselines_are_plain_loops():
    data = random_set(60, letters="CEEHH?")
    split = parts(60, train=40)
    found = fit_residue_baselines(data, split, seed=0)
    store = data.labelled.store
    pairs = [
        (letter, label)
        for n in split.train
        for letter, label in zip(store.sequence(n), data.text(data.codes(n)), strict=True)
        if label != "?"
    ]
    labels = Counter(label for _, label in pairs)
    most = max(LETTERS, key=lambda c: labels[c])
    own = {
        letter: max(LETTERS, key=lambda c: Counter(pairs)[letter, c])
        for letter in {letter for letter, _ in pairs}
    }
    text = "".join(store.sequence(n) for n in split.test)
    assert data.text(found["majority"]) == most * len(text)
    assert data.text(found["residue"]) == "".join(own[letter] for letter in text)


def one_hot_windows(store, records):
    rows = []
    for n in records:
        sequence = "-" * REACH + store.sequence(n) + "-" * REACH
        for place in range(REACH, len(sequence) - REACH):
            window = sequence[place - REACH : place + REACH + 1]
            rows.append([float(c == a) for c in window for a in store.alphabet.symbols + "-"])
    return np.array(rows)


def test_the_window_is_seven_to_either_side():
    data = random_set(30, seed=3)
    split, store = parts(30, train=20), data.labelled.store
    labels_T, _ = data.flat(split.train)
    counted_T = labels_T != NOT_COUNTED
    model = LogisticRegression(max_iter=300).fit(
        one_hot_windows(store, split.train)[counted_T], labels_T[counted_T]
    )
    expected = model.predict(one_hot_windows(store, split.test))
    found = fit_residue_baselines(data, split, seed=0)["window"]
    assert (found == expected).mean() > 0.99  # the solver's last digits may tip a tie


def test_baselines_see_no_test_labels_and_are_kept(tmp_path):
    data, split = random_set(30), parts(30, train=20)
    first = fit_residue_baselines(data, split, seed=0, cache_dir=tmp_path)
    other_T = data.codes_T.copy()
    begins = data.labelled.store.offsets_S1[split.validation[0]]
    other_T[begins:] = 0
    blind = ResidueSet(data.labelled, other_T, LETTERS)
    second = fit_residue_baselines(blind, split, seed=0, cache_dir=tmp_path)
    again = fit_residue_baselines(data, split, seed=0, cache_dir=tmp_path)
    for name in first:
        assert (first[name] == second[name]).all() and (first[name] == again[name]).all()
    assert len(list((tmp_path / "baselines").iterdir())) == 2


@pytest.fixture
def chain():
    torch.manual_seed(0)
    return LabelChain(3)


def all_paths(chain, scores_LC):
    """Score of every sequence of labels, by the definition of a linear chain."""
    crf = chain.chain
    return {
        path: float(
            crf.start_transitions[path[0]].detach()
            + crf.end_transitions[path[-1]].detach()
            + sum(scores_LC[i, c] for i, c in enumerate(path))
            + sum(crf.transitions[a, b].detach() for a, b in pairwise(path))
        )
        for path in product(range(3), repeat=len(scores_LC))
    }


def test_the_chain_sums_over_what_is_not_known(chain):
    rng = np.random.default_rng(2)
    lengths_B = torch.tensor([5, 1, 4])
    scores_BLC = torch.from_numpy(rng.normal(size=(3, 5, 3)).astype(np.float32)) * 2
    labels_BL = torch.from_numpy(rng.integers(0, 3, (3, 5)))
    counted_BL = torch.from_numpy(rng.random((3, 5)) < 0.6)
    counted_BL[0, 2] = False
    found_B = chain.log_likelihood(scores_BLC, labels_BL, counted_BL, lengths_B).detach()
    decoded_BL = chain.decode(scores_BLC, lengths_B)
    for b, length in enumerate(lengths_B.tolist()):
        paths = all_paths(chain, scores_BLC[b, :length])
        known = [
            score
            for path, score in paths.items()
            if all(not counted_BL[b, i] or c == labels_BL[b, i] for i, c in enumerate(path))
        ]
        expected = np.logaddexp.reduce(known) - np.logaddexp.reduce(list(paths.values()))
        assert float(found_B[b]) == pytest.approx(expected, abs=1e-4)
        assert tuple(decoded_BL[b, :length].tolist()) == max(paths, key=lambda path: paths[path])


def test_a_tagger_with_a_chain_learns_from_the_same_loss_on_two_devices(chain):
    data = random_set(9)
    batches = ResidueData(data, parts(9, train=4))
    module = module_of(RecurrentEncoder(embed_dim=3, hidden_dim=4), data, crf=True)

    def loss(rank, of):
        logs_B, weights_B, residues_B = module.losses(batches.batch(np.arange(4), rank, of))
        assert residues_B.tolist() == data.counted_N[np.arange(4)[rank::of]].tolist()
        return float((logs_B * weights_B).sum().detach())

    assert (loss(0, 2) + loss(1, 2)) / 2 == pytest.approx(loss(0, 1), rel=1e-5)
    # A certain chain: the transitions forbid what the residues prefer.
    with torch.no_grad():
        module.tagger.chain.chain.transitions.fill_(-50).fill_diagonal_(0)
    codes_T = tag_records(module.tagger, data.labelled.store, np.arange(9))
    lengths = data.labelled.store.lengths_N
    assert all(len(set(row)) == 1 for row in np.split(codes_T, np.cumsum(lengths)[:-1]))
