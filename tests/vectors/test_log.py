"""Rows on disk: what was whole is kept, what was not is computed again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protemb.errors import ConfigError
from protemb.vectors.log import RowLog

BATCHES = [np.array([3, 0]), np.array([1]), np.array([4, 2])]
LENGTHS = np.array([2, 1, 3, 5, 4])


def rows(batch, width=3):
    """Rows of a batch's sequences, each a different number."""
    return [
        sequence * 100.0 + np.arange(LENGTHS[sequence] * width).reshape(-1, width)
        for sequence in batch
    ]


def filled(folder):
    with RowLog(folder, BATCHES, LENGTHS, 3) as log:
        for batch in BATCHES:
            log.append(rows(batch))


def test_states_come_back_by_sequence(tmp_path):
    filled(tmp_path)
    with RowLog(tmp_path, BATCHES, LENGTHS, 3) as log:
        assert log.done == len(BATCHES)
        for sequence in range(len(LENGTHS)):
            np.testing.assert_array_equal(log.states(sequence), rows([sequence])[0])


def test_vectors_come_back_in_any_order(tmp_path):
    ones = np.ones(5, np.int64)
    with RowLog(tmp_path, BATCHES, ones, 2) as log:
        for batch in BATCHES:
            log.append([np.stack([[s, -s] for s in batch])])
        asked = np.array([2, 2, 0, 4, 1, 3])
        np.testing.assert_array_equal(log.vectors(asked), np.stack([[s, -s] for s in asked]))


@given(cut=st.integers(0, 15 * 12), sums=st.integers(0, 12), turned=st.integers(-1, 15 * 12 - 1))
def test_damage_anywhere_is_found(tmp_path_factory, cut, sums, turned):
    """Cut both files anywhere and turn a bit: the batches before are kept, the rest is not."""
    folder = tmp_path_factory.mktemp("log")
    filled(folder)
    whole = (folder / "rows").read_bytes()
    damaged = bytearray(whole)
    if turned >= 0:
        damaged[turned] ^= 1
    (folder / "rows").write_bytes(damaged[:cut])
    (folder / "sums").write_bytes((folder / "sums").read_bytes()[:sums])
    ends = np.cumsum([LENGTHS[batch].sum() for batch in BATCHES]) * 12
    intact = [
        cut >= end and sums >= 4 * (n + 1) and not 0 <= turned < end for n, end in enumerate(ends)
    ]
    # A turned bit spoils its own batch, and with it what stands behind.
    expected = next((n for n, good in enumerate(intact) if not good), len(BATCHES))
    with RowLog(folder, BATCHES, LENGTHS, 3) as log:
        assert log.done == expected
        for batch in BATCHES[log.done :]:
            log.append(rows(batch))
    assert (folder / "rows").read_bytes() == whole


def test_half_precision_refuses_what_it_cannot_hold(tmp_path):
    with RowLog(tmp_path, [np.array([0])], np.array([1]), 1, "float16") as log:
        with pytest.raises(ConfigError, match="dtype: got 'float16', expected float32"):
            log.append([np.array([[1e6]])])
        assert log.done == 0
        log.append([np.array([[0.5]])])
        assert log.vectors(np.array([0])).dtype == np.float16


def test_rows_that_were_not_planned_are_a_defect(tmp_path):
    with RowLog(tmp_path, BATCHES, LENGTHS, 3) as log, pytest.raises(AssertionError):
        log.append(rows([3]))
