"""A model that is there already as an encoder: which part is trained, and that nothing else is."""

import numpy as np
import pytest
import torch
from torch import nn

from protemb.errors import CheckpointError, ConfigError
from protemb.models.batches import collate
from protemb.models.checkpoint import build_classifier
from protemb.models.embedder import Embedder
from protemb.models.encoders import ConvolutionEncoder, RecurrentEncoder
from protemb.models.loading import load_model
from protemb.models.pooling import POOLINGS, MeanPooling
from protemb.models.pretrained.library import convert
from protemb.models.pretrained.recurrent import PublishedRecurrent
from protemb.models.pretrained.unirep import UniRep
from protemb.models.tuning import KnownVectors, TunedEncoder, last_parameters
from protemb.sequences.alphabet import AA21, UNIREP
from protemb.targets import ForbiddenTarget

TEXTS = ["MKVLAX", "ACDEFGHIKLMNPQRSTVWY", "W"]


def batch(alphabet, texts=TEXTS):
    tokens = [np.array([alphabet.symbols.index(c) for c in text], np.uint8) for text in texts]
    return collate(tokens, alphabet.size)


@pytest.fixture(scope="module")
def folders(reference, tmp_path_factory):
    """A converted network of Bepler and Berger's, and UniRep's published one of 64 units."""
    home = tmp_path_factory.mktemp("models")
    return {
        "ssa": convert(reference / "checkpoints" / "ssa.legacy.sav", home / "ssa"),
        "unirep": convert("unirep-64", home / "unirep"),
    }


@pytest.mark.parametrize("name", ["ssa", "unirep"])
def test_states_are_those_of_the_model_in_its_own_letters(folders, name):
    model = load_model(folders[name])
    encoder = TunedEncoder(weights=str(folders[name]))
    own, given = batch(model.alphabet), batch(AA21)
    with torch.no_grad():
        for level in encoder.levels:
            expected = model.encoder(own.tokens_BL, own.lengths_B, (level,))[level]
            got = encoder(given.tokens_BL, given.lengths_B, (level,))[level]
            torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_no_letter_changes_its_meaning():
    encoder = TunedEncoder(
        encoder={"_target_": f"{UniRep.__module__}.UniRep", "hidden_dim": 4}, alphabet="unirep"
    )
    for token, letter in enumerate(AA21.symbols):
        assert UNIREP.symbols[int(encoder.read_as_V1[token])] == letter


@pytest.mark.parametrize("tune", ["head", "last", "all"])
@pytest.mark.parametrize("name", ["ssa", "unirep"])
def test_only_what_is_tuned_gets_gradients(folders, name, tune):
    level = {"ssa": "projection", "unirep": "average"}[name]
    encoder = TunedEncoder(weights=str(folders[name]), tune=tune).train()
    given = batch(AA21)
    states_BLD = encoder(given.tokens_BL, given.lengths_B, (level,))[level]
    assert states_BLD.requires_grad == (tune != "head")
    if tune != "head":
        states_BLD.square().sum().backward()
    moved = {name for name, p in encoder.encoder.named_parameters() if p.grad is not None}
    last = {"ssa": ("layers.2.", "project."), "unirep": ("layers.3.",)}[name]
    if tune == "last":
        assert moved and all(parameter.startswith(last) for parameter in moved)
    else:
        assert any(not parameter.startswith(last) for parameter in moved) == (tune == "all")


def test_a_frozen_encoder_has_no_dropout():
    node = {
        "_target_": f"{RecurrentEncoder.__module__}.RecurrentEncoder",
        "layers": 2,
        "dropout": 0.9,
    }
    given = batch(AA21)

    def differs(tune):
        torch.manual_seed(0)
        encoder = TunedEncoder(encoder=node, tune=tune).train()
        first, second = (encoder(given.tokens_BL, given.lengths_B)["states"] for _ in range(2))
        return not torch.equal(first, second)

    assert differs("all") and not differs("head")


@pytest.mark.parametrize(
    ("encoder", "names"),
    [
        (RecurrentEncoder(layers=2, bidirectional=True, hidden_dim=4), "rnn..*_l1(_reverse)?"),
        (ConvolutionEncoder(layers=3, hidden_dim=4), r"blocks\.2\..*"),
        (UniRep(hidden_dim=4, layers=2), r"layers\.1\..*"),
        (
            PublishedRecurrent(
                lm={"embed_dim": 3, "hidden_dim": 4, "layers": 2, "tied": True},
                inner_dim=5,
                hidden_dim=4,
                layers=2,
                out_dim=3,
            ),
            r"(layers\.1|project)\..*",
        ),
    ],
)
def test_the_last_block_by_family(encoder, names):
    import re

    chosen = {id(parameter) for parameter in last_parameters(encoder)}
    found = {name for name, p in encoder.named_parameters() if id(p) in chosen}
    expected = {name for name, _ in encoder.named_parameters() if re.fullmatch(names, name)}
    assert found == expected and found


def test_the_last_block_of_t5_is_whole():
    """Its blocks keep their parts in lists of their own."""
    encoder = nn.Module()
    encoder.blocks = nn.ModuleList(
        nn.ModuleDict({"layer": nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])}) for _ in "ab"
    )
    encoder.norm = nn.LayerNorm(1)
    chosen = {id(parameter) for parameter in last_parameters(encoder)}
    found = {name for name, p in encoder.named_parameters() if id(p) in chosen}
    parts = [f"blocks.1.layer.{n}.{kind}" for n in (0, 1) for kind in ("weight", "bias")]
    assert found == {*parts, "norm.weight", "norm.bias"}


def test_tuning_what_is_not_read_is_refused(folders):
    encoder = TunedEncoder(weights=str(folders["ssa"]), tune="last")
    encoder.check_trains("projection")
    for level in ("onehot", "lm", "inner", "layer2"):
        with pytest.raises(ConfigError, match=f"level '{level}' does not read the last block"):
            encoder.check_trains(level)


def test_only_encoders_are_built():
    for target in ("pretrained.weights.Weights", "encoders.base.ResidueTable"):
        with pytest.raises(ForbiddenTarget, match="no Encoder"):
            TunedEncoder(encoder={"_target_": f"protemb.models.{target}"})


def test_a_recipe_needs_no_weights(folders):
    encoder = TunedEncoder(weights=str(folders["ssa"]))
    recipe = {
        "encoder": encoder.node,
        "pooling": {"_target_": "protemb.models.pooling.MeanPooling"},
        "level": "projection",
        "labels": ["a", "b"],
        "head": {},
    }
    classifier = build_classifier(recipe)
    classifier.embedder.encoder.load_state_dict(encoder.state_dict())
    assert str(folders["ssa"].parent) not in repr(recipe)


@pytest.mark.parametrize("pooling", ["mean", "max", "last", "ends"])
def test_known_vectors_are_those_of_the_embedder(folders, pooling):
    embedder = Embedder(TunedEncoder(weights=str(folders["ssa"])), POOLINGS[pooling], "states")
    given = batch(AA21)
    with torch.no_grad():
        vectors_ND = embedder(given.tokens_BL, given.lengths_B)
    rows = [bytes(AA21.symbols.index(c) for c in text) for text in TEXTS]
    known = KnownVectors(rows, None, vectors_ND)
    order = [2, 0, 1, 1]
    asked = batch(AA21, [TEXTS[n] for n in order])
    torch.testing.assert_close(known(asked.tokens_BL, asked.lengths_B), vectors_ND[order])


def test_known_vectors_tell_positions_apart():
    known = KnownVectors([b"\1\2", b"\1\2"], [0, 1], torch.tensor([[1.0], [2.0]]))
    tokens_BL = torch.tensor([[1, 2, 21], [1, 2, 21]])
    got = known(tokens_BL, torch.tensor([2, 2]), torch.tensor([1, 0]))
    assert got.tolist() == [[2.0], [1.0]]


def test_what_cannot_be_is_one_line(folders, tmp_path):
    with pytest.raises(ConfigError, match="encoder.tune: got 'top', expected one of head, last"):
        TunedEncoder(weights=str(folders["ssa"]), tune="top")
    with pytest.raises(CheckpointError):
        TunedEncoder(weights=str(tmp_path))


def test_every_pooling_takes_it(folders):
    encoder = TunedEncoder(weights=str(folders["ssa"]))
    given = batch(AA21)
    for pooling in POOLINGS.values():
        embedder = Embedder(encoder, pooling, "states")
        positions_B = torch.zeros(len(TEXTS), dtype=torch.long)
        vectors_BD = embedder(given.tokens_BL, given.lengths_B, positions_B)
        assert vectors_BD.shape == (len(TEXTS), embedder.out_dim)
    assert MeanPooling in POOLINGS.values()
