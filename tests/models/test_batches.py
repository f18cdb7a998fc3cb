"""Every epoch is a partition under the budget."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protemb.errors import ConfigError
from protemb.models.batches import collate, padding_mask, plan_batches

lengths = st.lists(st.integers(1, 400), min_size=1, max_size=80)


@given(lengths, st.integers(1, 1000), st.none() | st.integers(1, 9), st.none() | st.integers(0, 5))
def test_every_epoch_is_a_partition_under_the_budget(lengths, residues, max_records, seed):
    lengths_N = np.array(lengths)
    counts = set()
    for epoch in range(3):
        batches = plan_batches(
            lengths_N, residues=residues, max_records=max_records, seed=seed, epoch=epoch
        )
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        for batch in batches:
            assert len(batch) == 1 or len(batch) * lengths_N[batch].max() <= residues
            assert max_records is None or len(batch) <= max_records
            assert lengths_N[batch].min() >= 0.75 * lengths_N[batch].max()
        counts.add(len(batches))
    # Lightning counts the batches once, so later epochs may not have more.
    assert len(counts) == 1


def test_order_is_a_function_of_seed_and_epoch():
    lengths_N = np.random.default_rng(0).integers(500, 560, 300)

    def plan(seed, epoch):
        batches = plan_batches(lengths_N, residues=9000, seed=seed, epoch=epoch)
        return np.concatenate(batches).tolist()

    assert plan(1, 0) == plan(1, 0)
    assert plan(1, 0) != plan(1, 1)
    assert plan(1, 0) != plan(2, 0)


def test_evaluation_starts_with_the_longest():
    batches = plan_batches(np.array([5, 900, 30]), residues=1000)
    assert batches[0].tolist() == [1]


def test_no_budget_is_refused():
    with pytest.raises(ConfigError, match="residues: got 0"):
        plan_batches(np.array([3]), residues=0)


@given(st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=30), min_size=1, max_size=8))
def test_collate_pads_and_nothing_else(rows):
    batch = collate([np.array(row, np.uint8) for row in rows], padding=21)
    mask_BL = padding_mask(batch.lengths_B, batch.tokens_BL.shape[1], "cpu")
    for tokens_L, mask_L, row in zip(batch.tokens_BL, mask_BL, rows, strict=True):
        assert tokens_L[mask_L].tolist() == row
        assert (tokens_L[~mask_L] == 21).all()


def test_a_batch_moves_its_tokens_and_keeps_its_lengths():
    batch = collate([np.array([1, 2], np.uint8)], 21, positions=np.array([1]))
    moved = batch.to("meta")
    assert moved.tokens_BL.device.type == moved.positions_B.device.type == "meta"
    assert moved.lengths_B.device == torch.device("cpu")
