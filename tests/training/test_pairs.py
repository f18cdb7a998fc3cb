"""Batches of pairs: a function of seed and epoch, dealt to devices so that two equal one."""

import numpy as np
import pytest
import torch

from protemb.models.pair_scorer import PairScorer
from protemb.models.pretrained.recurrent import PublishedRecurrent
from protemb.sequences.pairs import PairSampler
from protemb.sequences.tokens import TokenStore
from protemb.training.pair_baselines import pair_baselines
from protemb.training.pairs import PairData


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    letters = np.array(list("ARNDCQEGHILKMFPSTWYV"))
    texts = ["".join(letters[rng.integers(20, size=n)]) for n in rng.integers(3, 30, size=24)]
    texts[5] = texts[4]
    store = TokenStore.from_sequences([(f"d{i}", text) for i, text in enumerate(texts)])
    fold_N = np.arange(24) // 6
    codes_NK = np.stack([fold_N // 2, fold_N], 1)
    sampler = PairSampler(codes_NK, store.sequence_of_N, np.arange(24))
    fixed = sampler.fixed(10, 0.5, seed=0)
    return PairData(store, sampler, fixed, pairs_per_epoch=50, pairs_per_batch=16, tau=0.5, seed=3)


def test_plans_are_a_function_of_the_epoch(data):
    first, again, later = (data.plan(epoch) for epoch in (1, 1, 2))
    assert [len(pairs) for pairs in first] == [16, 16, 16, 2]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.records_P2, other.records_P2)
    assert (first[0].records_P2 != later[0].records_P2).any()
    assert sum(len(pairs) for pairs in data.plan(None)) == len(data.validation)


def test_a_batch_holds_each_distinct_sequence_once(data):
    for pairs in data.plan(0):
        tokens, rows_P2, levels_P, weights_P = data.batch(pairs)
        store = data.store
        assert len(tokens.lengths_B) == len(np.unique(store.sequence_of_N[pairs.records_P2]))
        for side in (0, 1):
            for row, record in zip(rows_P2[:, side], pairs.records_P2[:, side], strict=True):
                length = int(tokens.lengths_B[row])
                own = tokens.tokens_BL[row, :length].numpy()
                np.testing.assert_array_equal(own, store.tokens(record))
        assert levels_P.tolist() == pairs.levels_P.tolist()
        assert weights_P.sum() == pytest.approx(1)


@pytest.mark.parametrize("devices", [2, 3])
def test_averaged_gradients_of_devices_are_those_of_one(data, devices):
    torch.manual_seed(0)
    encoder = PublishedRecurrent(inner_dim=4, hidden_dim=3, layers=1, out_dim=5)
    scorer = PairScorer(encoder, "projection", 2)
    for pairs in (data.plan(0)[0], data.plan(0)[-1]):
        gradients = []
        for world in (1, devices):
            scorer.zero_grad()
            for rank in range(world):
                tokens, rows_P2, levels_P, weights_P = data.batch(pairs, rank, world)
                scores_P = scorer(tokens.tokens_BL, tokens.lengths_B, rows_P2)
                ((scorer.losses(scores_P, levels_P) * weights_P).sum() / world).backward()
            gradients.append([p.grad.clone() for p in scorer.parameters() if p.grad is not None])
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_baselines_are_what_they_say(data):
    from Bio.Align import PairwiseAligner, substitution_matrices

    records_P2 = np.array([[4, 5], [0, 1], [7, 2]])
    found = pair_baselines(data.store, records_P2, alignment=True)
    texts = [[data.store.sequence(record) for record in pair] for pair in records_P2]
    aligner = PairwiseAligner(mode="local", open_gap_score=-11, extend_gap_score=-1)
    aligner.substitution_matrix = substitution_matrices.load("BLOSUM62")
    for place, (first, second) in enumerate(texts):
        shares = [
            {x: text.count(x) / len(text) for x in first + second} for text in (first, second)
        ]
        apart = sum(abs(shares[0][x] - shares[1][x]) for x in shares[0])
        kmers = [[text[i : i + 3] for i in range(len(text) - 2)] for text in (first, second)]
        counts = [np.array([own.count(x) for x in sorted({*kmers[0], *kmers[1]})]) for own in kmers]
        cosine = counts[0] @ counts[1] / np.sqrt((counts[0] ** 2).sum() * (counts[1] ** 2).sum())
        assert found["length"][place] == pytest.approx(-abs(np.log(len(first) / len(second))))
        assert found["composition"][place] == pytest.approx(-apart)
        assert found["kmer3"][place] == pytest.approx(cosine)
        assert found["alignment"][place] == aligner.score(first, second)
