"""Networks rebuilt from original files: the vectors that the authors' own code gives."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from protemb.models.batches import collate
from protemb.models.pretrained.originals import recurrent_network
from protemb.models.pretrained.pickles import RefusedPickle
from protemb.models.pretrained.recurrent import LanguageModel
from protemb.models.pretrained.weights import read_weights
from protemb.sequences.alphabet import AA21

LEVELS = {
    "z": "projection",
    "out": "projection",
    "lm_feat": "inner",
    "lm_encode": "lm",
    "full": "all",
    "transform": "all",
}
CLOSE = {"rtol": 1e-5, "atol": 2e-6}
NAMES = "bilm_tied bilm_untied ssa ua me scopcm nolm linear prose_dlm prose_mt".split()


def tokens_of(text: str) -> np.ndarray:
    """As upstream reads a text: whatever is no letter of the alphabet is unknown."""
    table = AA21.table()
    table[table == 255] = 20
    return table[np.frombuffer(text.encode(), np.uint8)]


@pytest.fixture(scope="module")
def sequences(reference):
    return {
        each["id"]: tokens_of(each["seq"].upper())
        for each in json.loads((reference / "sequences.json").read_text())
    }


@pytest.fixture(scope="module")
def load(reference):
    models = json.loads((reference / "manifest.json").read_text())["models"]

    def call(name):
        paths = [reference / path for path in models[name]["checkpoints"]]
        with np.load(reference / models[name]["expected"]) as expected:
            return recurrent_network(read_weights(paths[0]).tensors), dict(expected), paths

    return call


def run(network, tokens, *levels):
    batch = collate(list(tokens), 21)
    with torch.inference_mode():
        found = network(batch.tokens_BL, batch.lengths_B, levels)
    return {level: states_BLD.numpy() for level, states_BLD in found.items()}


@pytest.mark.parametrize("name", NAMES)
def test_states_are_those_of_the_original_code(load, sequences, name):
    network, expected, _ = load(name)
    compared = set()
    for record, tokens_L in sequences.items():
        found = run(network, [tokens_L], *network.levels)
        for array, level in LEVELS.items():
            if (key := f"{record}/{array}") in expected:
                np.testing.assert_allclose(found[level][0], expected[key], **CLOSE)
                compared.add(level)
    assert compared
    assert compared >= {"lm"} or "lm" not in network.levels


@pytest.mark.parametrize("name", NAMES)
def test_batch_mates_change_nothing(load, sequences, name):
    network, _, _ = load(name)
    tokens = list(sequences.values())
    together = run(network, tokens, *network.levels)
    for row, tokens_L in enumerate(tokens):
        alone = run(network, [tokens_L], *network.levels)
        for level in network.levels:
            states_LD = together[level][row]
            assert states_LD.shape[1] == network.dim(level)
            np.testing.assert_allclose(states_LD[: len(tokens_L)], alone[level][0], **CLOSE)
            assert not states_LD[len(tokens_L) :].any()


@pytest.mark.parametrize("name", ["bilm_tied", "ssa", "linear", "scopcm"])
def test_legacy_padding_repeats_what_depended_on_the_batch(load, sequences, name):
    """Batches of ten, in the order of the file."""
    network, expected, _ = load(name)
    network.legacy_padding = True
    records = list(sequences)
    differs = 0
    for start in range(0, len(records), 10):
        batch = records[start : start + 10]
        found = run(network, [sequences[record] for record in batch], *network.levels)
        for row, record in enumerate(batch):
            for array in ("z", "lm_encode"):
                key = f"batch_dependent/{record}/{array}"
                if key in expected:
                    states_LD = found[LEVELS[array]][row][: len(sequences[record])]
                    np.testing.assert_allclose(states_LD, expected[key], **CLOSE)
                    plain = expected.get(f"{record}/{array}", states_LD)
                    differs += not np.allclose(states_LD, plain, **CLOSE)
    assert differs > 3


@pytest.mark.parametrize("name", NAMES)
def test_every_layout_gives_the_same_network(load, name):
    network, _, paths = load(name)
    weights = network.state_dict()
    for path in paths[1:]:
        other = recurrent_network(read_weights(path).tensors).state_dict()
        assert other.keys() == weights.keys()
        assert all(torch.equal(other[key], weights[key]) for key in weights)


@pytest.mark.parametrize("name", ["ssa", "nolm", "prose_mt"])
def test_levels_above_are_not_computed(load, sequences, name, monkeypatch):
    network, _, _ = load(name)
    calls = []
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.LSTM | LanguageModel):
            module.register_forward_hook(lambda module, *_: calls.append(module))
    run(network, [sequences["len7"]], "onehot")
    assert calls == []
    run(network, [sequences["len7"]], "layer1")
    assert network.project not in calls


def test_files_that_do_not_fit_together(reference):
    tensors = read_weights(reference / "checkpoints" / "ssa.zip.sav").tensors
    prefix = "embedding.embed.lm.rnn.1.weight_ih_l0"
    missing = {name: array for name, array in tensors.items() if name != prefix}
    with pytest.raises(RefusedPickle, match="lm.rnn.1.weight_ih_l0: got nothing"):
        recurrent_network(missing)
    other = tensors | {"embedding.embed.proj.weight": np.zeros((24, 63), "f4")}
    with pytest.raises(RefusedPickle, match=r"mix.weight: got \(24, 63\), expected \(24, 64\)"):
        recurrent_network(other)
    nan = tensors | {"embedding.proj.bias": np.full(10, np.nan, "f4")}
    with pytest.raises(RefusedPickle, match="project.bias holds numbers"):
        recurrent_network(nan)
    with pytest.raises(RefusedPickle, match="no known network"):
        recurrent_network({"head.weight": np.zeros(3, "f4")})
    more = tensors | {"embedding.extra": np.zeros(3, "f4")}
    with pytest.raises(RefusedPickle, match="extra: got"):
        recurrent_network(more)
