"""Known residue tables: the rows are the published numbers, and nothing in them is trained."""

import numpy as np
import pytest
import torch

from protemb.errors import ConfigError
from protemb.models.batches import collate
from protemb.models.checkpoint import build_classifier
from protemb.models.encoders.fixed import FIXED_KINDS, PHYSCHEM, FixedTable, fixed_rows
from protemb.models.loading import make_embedder
from protemb.sequences.alphabet import AA21
from protemb.sequences.amino_acids import RESIDUES, blosum62
from protemb.sequences.tokens import TokenStore
from protemb.vectors.embed import embed_records

DIMS = {"onehot": 20, "blosum62": 20, "physchem": len(PHYSCHEM)}


def states(kind, text, levels=("states",)):
    tokens = TokenStore.from_sequences([("a", text)]).tokens(0)
    batch = collate([tokens, np.zeros(len(tokens) + 3, np.uint8)], AA21.size)
    return FixedTable(kind=kind)(batch.tokens_BL, batch.lengths_B, levels)


def test_one_hot_has_one_column_for_each_residue():
    found_LD = states("onehot", RESIDUES)["states"][0, :20]
    np.testing.assert_array_equal(found_LD, np.eye(20))


def test_blosum62_rows_are_the_scores():
    found_LD = states("blosum62", "WIV")["states"][0].numpy()
    scores_AA = blosum62()
    for row, letter in enumerate("WIV"):
        np.testing.assert_array_equal(found_LD[row], scores_AA[RESIDUES.index(letter)])
    assert found_LD[1, RESIDUES.index("V")] == 3 and found_LD[0, RESIDUES.index("W")] == 11


def test_properties_are_standardised_and_in_order():
    rows_AD = fixed_rows("physchem")
    np.testing.assert_allclose(rows_AD.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(rows_AD.std(0), 1, atol=1e-12)
    most = {name: RESIDUES[rows_AD[:, n].argmax()] for n, name in enumerate(PHYSCHEM)}
    least = {name: RESIDUES[rows_AD[:, n].argmin()] for n, name in enumerate(PHYSCHEM)}
    assert [most[name] for name in PHYSCHEM[:4]] == ["I", "W", "R", "C"]
    assert (least["hydropathy"], least["volume"], least["charge"]) == ("R", "G", "D")
    assert most["Grantham polarity"] == "D"


@pytest.mark.parametrize("kind", FIXED_KINDS)
def test_x_is_the_mean_and_padding_is_zero(kind):
    found = states(kind, RESIDUES + "X", ("table", "states"))
    rows_LD = found["table"][0].double()
    np.testing.assert_allclose(rows_LD[20], rows_LD[:20].mean(0), atol=1e-6)
    assert (rows_LD[21:] == 0).all()
    assert torch.equal(found["table"], found["states"])


@pytest.mark.parametrize("kind", FIXED_KINDS)
def test_it_is_an_encoder_that_is_not_trained(kind):
    encoder = FixedTable(kind=kind)
    assert encoder.dim("states") == DIMS[kind] and encoder.reach("states") == 0
    assert not any(weight.requires_grad for weight in encoder.parameters())
    store = TokenStore.from_sequences([("a", "MKVX"), ("b", "W" * 50)])
    short = embed_records(make_embedder(encoder, "table", "mean"), store, [0, 1])
    rows_VD = np.vstack([fixed_rows(kind), fixed_rows(kind).mean(0)])
    for record, vector_D in enumerate(short):
        np.testing.assert_allclose(
            vector_D, rows_VD[store.tokens(record)].mean(0), rtol=1e-5, atol=1e-6
        )


def test_a_recipe_can_name_it():
    recipe = {
        "encoder": {"_target_": "protemb.models.encoders.fixed.FixedTable", "kind": "physchem"},
        "pooling": {"_target_": "protemb.models.pooling.MeanPooling"},
        "level": "states",
        "head": {},
        "labels": ["a", "b"],
    }
    assert isinstance(build_classifier(recipe).embedder.encoder, FixedTable)


def test_bad_words():
    with pytest.raises(ConfigError, match=r"encoder.kind: got 'blosum', expected one of onehot, "):
        FixedTable(kind="blosum")
    with pytest.raises(ConfigError, match="level"):
        FixedTable().dim("cells")
    with pytest.raises(ConfigError, match="level"):
        states("onehot", "MK", ("cells",))
