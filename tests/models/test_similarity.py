"""Similarity of two proteins: the scores and levels of the authors' own code."""

import json

import numpy as np
import pytest
import torch

from protemb.errors import ConfigError
from protemb.models.batches import collate
from protemb.models.encoders import RecurrentEncoder
from protemb.models.pretrained.library import convert, load_pretrained
from protemb.models.pretrained.similarity import ResidueStates, Similarity
from protemb.sequences.tokens import TokenStore

NAMES = "ssa ua me scopcm nolm linear prose_mt".split()


@pytest.mark.parametrize("name", NAMES)
def test_scores_and_levels_are_those_of_the_original_code(reference, tmp_path, name):
    manifest = json.loads((reference / "manifest.json").read_text())
    model = manifest["models"][name]
    source = next(path for path in model["checkpoints"] if "state_dict" not in path)
    found = load_pretrained(convert(reference / source, tmp_path / name))
    similarity = Similarity.of(found.heads, found.recipe)
    assert similarity.method == model.get("align", "ssa")
    table = found.alphabet.table()
    table[table == 255] = 20
    states = {}
    for each in json.loads((reference / "sequences.json").read_text()):
        tokens_L = table[np.frombuffer(each["seq"].upper().encode(), np.uint8)]
        batch = collate([tokens_L], 21)
        with torch.inference_mode():
            states[each["id"]] = found.encoder(batch.tokens_BL, batch.lengths_B, ("projection",))[
                "projection"
            ][0]
    with np.load(reference / model["expected"]) as expected:
        for row, (first, second) in enumerate(manifest["pairs"]):
            score = similarity.score(states[first], states[second])
            np.testing.assert_allclose(score, expected["pairs/c"][row], rtol=1e-5, atol=2e-6)
            levels = similarity.levels(score)
            np.testing.assert_allclose(
                levels, expected["pairs/level_probs"][row], rtol=1e-4, atol=2e-6
            )
            level = expected["pairs/level"][row]
            np.testing.assert_allclose(
                similarity.expected_level(score), level, rtol=1e-5, atol=2e-6
            )
            if "pairs/coarse" in expected:
                coarse = Similarity.coarse(states[first], states[second])
                np.testing.assert_allclose(coarse, expected["pairs/coarse"][row], rtol=1e-5)


def plain_ssa(first_LD, second_MD, norm, gap):
    """The definition, one pair of residues after the other."""
    L, M = len(first_LD), len(second_MD)
    s = np.full((L + (gap is not None), M + (gap is not None)), gap or 0.0)
    for i in range(L):
        for j in range(M):
            apart = first_LD[i] - second_MD[j]
            s[i, j] = -(np.abs(apart).sum() if norm == "L1" else (apart**2).sum())
    a, b = np.exp(s), np.exp(s)
    for i in range(len(s)):
        a[i] /= a[i].sum()
    for j in range(s.shape[1]):
        b[:, j] /= b[:, j].sum()
    if gap is not None:
        a[-1] = 0
        b[:, -1] = 0
    w = a + b - a * b
    return (w * s).sum() / w.sum()


@pytest.mark.parametrize("norm", ["L1", "L2"])
@pytest.mark.parametrize("gap", [None, -3.0])
def test_alignment_by_the_definition(norm, gap):
    dice = np.random.default_rng(0)
    for L, M in ((1, 1), (3, 5), (8, 2)):
        first_LD, second_MD = dice.normal(size=(L, 4)), dice.normal(size=(M, 4))
        ours = Similarity("ssa", norm, gap=gap)
        pair = torch.from_numpy(first_LD), torch.from_numpy(second_MD)
        np.testing.assert_allclose(ours.score(*pair), plain_ssa(first_LD, second_MD, norm, gap))
        if gap is None:
            # Symmetric, and a protein is most like itself.
            np.testing.assert_allclose(ours.score(*pair), ours.score(*pair[::-1]))
            assert ours.score(pair[0], pair[0]) >= ours.score(*pair)


def test_what_is_not_known():
    with pytest.raises(ConfigError, match="method: got 'nw'"):
        Similarity("nw")
    with pytest.raises(ConfigError, match="norm: got 'L3'"):
        Similarity("ssa", "L3")
    with pytest.raises(ConfigError, match="a model trained for similarity"):
        Similarity().levels(torch.tensor(-1.0))


@pytest.mark.parametrize("method", ["ssa", "ua", "me"])
@pytest.mark.parametrize("norm", ["L1", "L2"])
@pytest.mark.parametrize("gap", [None, -3.0, -90.0])
def test_blocks_of_rows_change_nothing(method, norm, gap):
    """Also with vectors as far apart as those of real models, and in float32."""
    dice = torch.Generator().manual_seed(0)
    for scale in (0.1, 5.0):
        first_LD = scale * torch.randn(83, 6, generator=dice)
        second_MD = scale * torch.randn(31, 6, generator=dice)
        exact = Similarity(method, norm, gap=gap).score(first_LD.double(), second_MD.double())
        for cells in (1, 31 * 7, 31 * 80, 31 * 83):
            ours = Similarity(method, norm, gap=gap, cells=cells)
            for pair in ((first_LD, second_MD), (second_MD, first_LD)):
                score = ours.score(*pair)
                assert score.dtype == torch.float32
                np.testing.assert_allclose(score, exact, rtol=1e-6)


def test_gradients_go_through():
    torch.manual_seed(0)
    first_LD = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    second_MD = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    for method in ("ssa", "ua", "me"):
        for cells in (8, 100):
            score = Similarity(method, cells=cells).score
            assert torch.autograd.gradcheck(score, (first_LD, second_MD))


@pytest.mark.parametrize("method", ["ssa", "ua", "me"])
@pytest.mark.parametrize("means", [False, True])
def test_all_against_all(method, means):
    """Each distinct sequence goes through the encoder once, each distinct pair is scored once."""
    letters, dice = np.array(list("ARNDCQEGHILKMFPSTWYV")), np.random.default_rng(0)
    texts = ["".join(dice.choice(letters, size)) for size in (1, 4, 30, 9, 12)]
    texts += [texts[2], texts[0]]
    firsts = TokenStore.from_sequences([(str(i), text) for i, text in enumerate(texts)])
    seconds = TokenStore.from_sequences([(str(i), text) for i, text in enumerate(texts[3:])])
    torch.manual_seed(0)
    encoder = RecurrentEncoder(embed_dim=4, hidden_dim=3, bidirectional=True).eval()
    seen = []
    kept = [
        ResidueStates.of(encoder, store, "states", residues=40, means=means, progress=seen.append)
        for store in (firsts, seconds)
    ]
    assert sum(seen) == firsts.lengths_S.sum() + seconds.lengths_S.sum()
    ours = Similarity(method)
    found_NM = ours.score_all(*kept)
    assert found_NM.shape == (7, 4)

    def states(store, record):
        batch = collate([store.tokens(record)], store.alphabet.size)
        with torch.inference_mode():
            states_LD = encoder(batch.tokens_BL, batch.lengths_B)["states"][0]
        return states_LD.mean(0, keepdim=True) if means else states_LD

    for i in range(7):
        for j in range(4):
            expected = ours.score(states(firsts, i), states(seconds, j))
            np.testing.assert_allclose(found_NM[i, j], expected, rtol=2e-6, atol=1e-7)
    listed_P2 = np.array([[6, 3], [0, 0], [6, 3], [2, 1]])
    listed = ours.score_pairs(*kept, listed_P2)
    np.testing.assert_array_equal(listed, found_NM[tuple(listed_P2.T)])


def test_a_model_that_was_not_trained_for_it(reference, tmp_path):
    for name in ("bilm_tied", "prose_dlm"):
        source = reference / "checkpoints" / f"{name}.zip.sav"
        found = load_pretrained(convert(source, tmp_path / name))
        with pytest.raises(ConfigError, match=f"got '{name}.zip.sav', expected one that was"):
            Similarity.of(found.heads, found.recipe)


def test_levels_of_many_scores_at_once():
    ours = Similarity(theta_K=torch.tensor([0.5, 1.0]), beta_K=torch.tensor([1.0, 2.0]))
    scores_P = torch.tensor([-3.0, -0.5, 0.0])
    together = ours.levels(scores_P)
    assert together.shape == (3, 3)
    for score, row in zip(scores_P, together, strict=True):
        torch.testing.assert_close(ours.levels(score), row)
        above = torch.sigmoid(score.double() * ours.theta_K.double() + ours.beta_K.double())
        mass = [1 * (1 - above[0]), above[0] * (1 - above[1]), above[1] * 1]
        torch.testing.assert_close(row, torch.stack(mass) / sum(mass))
