"""All substitutions of a protein are scored as each variant would be by itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from protemb.errors import ConfigError, UnknownResidue
from protemb.models.encoders import ConvolutionEncoder, RecurrentEncoder
from protemb.models.pretrained.unirep import UniRep
from protemb.models.window import make_pooling
from protemb.sequences.alphabet import AA21, UNIREP
from protemb.sequences.amino_acids import RESIDUES
from protemb.variants.features import FEATURES, Cell
from protemb.variants.scan import all_substitutions, scan

PROTEIN = "MKTAYIAKXRQISFVK"
ENCODERS = {
    "bilstm": (AA21, lambda: RecurrentEncoder(hidden_dim=4, bidirectional=True)),
    "bilstm of 2": (AA21, lambda: RecurrentEncoder(hidden_dim=4, layers=2, bidirectional=True)),
    "cnn": (AA21, lambda: ConvolutionEncoder(hidden_dim=4, layers=2, kernel=3)),
    "unirep": (UNIREP, lambda: UniRep(hidden_dim=4, layers=2)),
}


def build(name):
    torch.manual_seed(1)
    alphabet, make = ENCODERS[name]
    encoder = make().eval()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.5)
    return encoder, alphabet


@torch.no_grad()
def embed(encoder, alphabet, sequence, place, cell):
    """The vector of one written sequence."""
    tokens_1L = torch.tensor([[alphabet.symbols.index(letter) for letter in sequence]])
    lengths_1 = torch.tensor([len(sequence)])
    states_1LD = encoder(tokens_1L, lengths_1, (cell.level,))[cell.level]
    pooling = make_pooling(cell.pooling, encoder.dim(cell.level), encoder.backward_dim(cell.level))
    return pooling(states_1LD, lengths_1, torch.tensor([place]))[0].numpy()


def expected_features(wild_D, variant_D, features):
    return {
        "wild_type": wild_D,
        "variant": variant_D,
        "concatenated": np.concatenate([wild_D, variant_D]),
        "difference": variant_D - wild_D,
        "absolute_difference": abs(variant_D - wild_D),
    }[features]


def weighted(features):
    """A predictor whose every column counts."""
    return features @ np.linspace(1, 2, np.shape(features)[-1])


def test_every_substitution_once():
    mutations = all_substitutions(PROTEIN)
    assert len(mutations) == len(set(mutations)) == 19 * 15 + 20
    for mutation in mutations:
        (one,) = mutation.substitutions
        changed = mutation.apply(PROTEIN)
        different = [at for at in range(len(PROTEIN)) if changed[at] != PROTEIN[at]]
        assert different == [one.position] and one.new in RESIDUES
    assert all_substitutions("") == []


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("pooling", ["mean", "last", "ends", "position", "window(2)"])
def test_scores_are_those_of_each_variant_alone(name, pooling):
    encoder, alphabet = build(name)
    places = (0, 8, len(PROTEIN) - 1)
    cell = Cell(name, "states", pooling, "variant")
    wild = {place: embed(encoder, alphabet, PROTEIN, place, cell) for place in places}
    variants = {
        (place, new): embed(
            encoder, alphabet, PROTEIN[:place] + new + PROTEIN[place + 1 :], place, cell
        )
        for place in places
        for new in RESIDUES
        if new != PROTEIN[place]
    }
    for features in FEATURES:
        scores_LA = scan(
            encoder,
            alphabet,
            PROTEIN,
            replace(cell, features=features),
            lambda mutations, covariates, features_NC: weighted(features_NC),
            values=2 * encoder.dim("states") * 100,
        )
        assert scores_LA.shape == (len(PROTEIN), 20)
        for (place, new), variant_D in variants.items():
            expected = weighted(expected_features(wild[place], variant_D, features))
            found = scores_LA[place, RESIDUES.index(new)]
            np.testing.assert_allclose(found, expected, atol=2e-5)
        kept = np.argwhere(np.isnan(scores_LA)).tolist()
        assert kept == [
            [place, RESIDUES.index(own)] for place, own in enumerate(PROTEIN) if own != "X"
        ]


def test_the_predictor_sees_mutations_and_covariates_of_its_block():
    encoder, alphabet = build("bilstm")
    letters = [chr(ord("a") + at) for at in range(len(PROTEIN))]
    depths = np.linspace(0, 1, len(PROTEIN))
    sizes = []

    def predict(mutations, covariates, features_NC):
        places = [mutation.positions[0] for mutation in mutations]
        assert features_NC.shape == (len(mutations), 16) and features_NC.dtype == np.float32
        assert covariates["struc"].tolist() == [letters[place] for place in places]
        assert covariates["depth"].tolist() == [depths[place] for place in places]
        assert set(covariates["site"].tolist()) == {""} and set(covariates) == {
            "struc",
            "depth",
            "site",
        }
        sizes.append(len(mutations))
        return [100 * m.positions[0] + RESIDUES.index(m.substitutions[0].new) for m in mutations]

    counts = []
    scores_LA = scan(
        encoder,
        alphabet,
        PROTEIN,
        Cell("bilstm", "states", "mean", "concatenated"),
        predict,
        covariates={"struc": letters, "depth": depths, "site": None},
        values=2 * 8 * 60,
        progress=counts.append,
    )
    assert sizes == counts == [60, 60, 60, 60, 60, 5]
    at, column = np.nonzero(~np.isnan(scores_LA))
    np.testing.assert_array_equal(scores_LA[at, column], 100 * at + column)


def test_a_tolerance_reaches_the_encoder():
    torch.manual_seed(0)
    encoder = RecurrentEncoder(hidden_dim=4, bidirectional=True)
    protein, cell = PROTEIN.replace("X", "W") * 6, Cell("bilstm", "states", "mean", "difference")

    def run(tolerance):
        return scan(encoder, AA21, protein, cell, lambda m, c, x: weighted(x), tolerance=tolerance)

    loose_LA, exact_LA = run(0.1), run(0)
    assert 0 < np.nanmax(abs(loose_LA - exact_LA)) < 0.1 * np.nanmax(abs(exact_LA)) * 4


@pytest.mark.parametrize("protein", ["MKTJ", "mkt", "MKT*", "MK T"])
def test_letters_that_would_be_another_protein_are_refused(protein):
    encoder, alphabet = build("bilstm")
    cell = Cell("bilstm", "states", "mean", "variant")
    with pytest.raises(UnknownResidue):
        scan(encoder, alphabet, protein, cell, lambda m, c, x: weighted(x))


def test_what_does_not_fit_is_refused():
    encoder, alphabet = build("bilstm")
    cell = Cell("bilstm", "states", "mean", "variant")
    with pytest.raises(ValueError, match="struc"):
        scan(
            encoder,
            alphabet,
            "MKT",
            cell,
            lambda m, c, x: weighted(x),
            covariates={"struc": ["H", "E"]},
        )
    with pytest.raises(ValueError, match="predict"):
        scan(encoder, alphabet, "MKT", cell, lambda m, c, x: x)
    with pytest.raises(ConfigError, match="level"):
        other = Cell("bilstm", "inner", "mean", "variant")
        scan(encoder, alphabet, "MKT", other, lambda m, c, x: weighted(x))
