"""Similarity of two proteins: the scores and levels of the authors' own code."""

import json

import numpy as np
import pytest
import torch

from protemb.errors import ConfigError
from protemb.models.batches import collate
from protemb.models.pretrained.library import convert, load_pretrained
from protemb.models.pretrained.similarity import Similarity

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
                coarse = Similarity("me").score(states[first], states[second])
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
