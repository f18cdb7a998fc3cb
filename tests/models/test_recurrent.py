"""The staircase equals PyTorch's packed sequences: outputs, gradients, every shape."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from protemb.errors import ConfigError
from protemb.models.recurrent import run_recurrent, staircase


def _outputs_and_gradients(rnn, inputs_BLD, lengths_B, path):
    inputs_BLD = inputs_BLD.clone().requires_grad_()
    rnn.zero_grad()
    states_BLH = run_recurrent(rnn, inputs_BLD, lengths_B, path)
    # A weighting that differs at every element, so that a misplaced row cannot cancel out.
    weights = torch.linspace(-1, 1, states_BLH.numel()).view_as(states_BLH)
    (states_BLH * weights).sum().backward()
    gradients = [p.grad.clone() for p in rnn.parameters()]
    return states_BLH.detach(), inputs_BLD.grad, gradients


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [True, False])
def test_staircase_equals_packed(cell, layers, bidirectional, bias):
    torch.manual_seed(0)
    rnn = cell(
        5, 7, num_layers=layers, bidirectional=bidirectional, bias=bias, batch_first=True
    ).double()
    lengths_B = torch.tensor([3, 40, 1, 17, 17, 39, 2])
    inputs_BLD = torch.randn(7, 40, 5, dtype=torch.float64)
    packed = _outputs_and_gradients(rnn, inputs_BLD, lengths_B, "packed")
    stairs = _outputs_and_gradients(rnn, inputs_BLD, lengths_B, "staircase")
    torch.testing.assert_close(stairs, packed, rtol=0, atol=1e-12)


def test_float32_agrees_within_a_millionth():
    torch.manual_seed(1)
    rnn = nn.LSTM(10, 64, bidirectional=True, batch_first=True)
    lengths_B = torch.tensor([120, 5, 77, 1])
    inputs_BLD = torch.randn(4, 120, 10)
    packed = _outputs_and_gradients(rnn, inputs_BLD, lengths_B, "packed")
    stairs = _outputs_and_gradients(rnn, inputs_BLD, lengths_B, "staircase")
    torch.testing.assert_close(stairs[0], packed[0], rtol=0, atol=1e-6)
    for mine, reference in zip([stairs[1], *stairs[2]], [packed[1], *packed[2]], strict=True):
        assert (mine - reference).abs().max() <= 1e-6 * reference.abs().max()


def test_chunks_without_gradients_equal_one_piece():
    torch.manual_seed(2)
    rnn = nn.LSTM(3, 4, bidirectional=True, batch_first=True)
    lengths_B = torch.tensor([2500, 1100])
    inputs_BLD = torch.randn(2, 2500, 3)
    with torch.no_grad():
        chunked = run_recurrent(rnn, inputs_BLD, lengths_B, "staircase")
    whole = run_recurrent(rnn, inputs_BLD, lengths_B, "staircase").detach()
    torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("lengths", [[700, 320, 320, 90, 1], [90, 700, 1, 320, 320], [5, 5]])
@pytest.mark.parametrize("layers, both", [(1, False), (2, True)])
def test_without_gradients_it_gives_the_same(kind, lengths, layers, both, monkeypatch):
    # Small enough for pieces of 64 steps and more.
    monkeypatch.setattr("protemb.models.recurrent._RESIDUES", 200)
    torch.manual_seed(5)
    rnn = kind(3, 4, num_layers=layers, bidirectional=both, batch_first=True)
    inputs_BLD = torch.randn(len(lengths), max(lengths) + 7, 3)
    packed = run_recurrent(rnn, inputs_BLD, torch.tensor(lengths), "packed")
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = run_recurrent(rnn, inputs_BLD, torch.tensor(lengths), "staircase")
        torch.testing.assert_close(found, packed.detach(), rtol=0, atol=1e-6)
        for row, length in enumerate(lengths):
            assert not found[row, length:].any()


def test_what_stands_in_the_padding_has_no_influence():
    torch.manual_seed(3)
    rnn = nn.GRU(3, 4, num_layers=2, bidirectional=True, batch_first=True)
    lengths_B = torch.tensor([6, 2])
    inputs_BLD = torch.randn(2, 6, 3)
    spoiled_BLD = inputs_BLD.clone()
    spoiled_BLD[1, 2:] = 1e6
    clean = run_recurrent(rnn, inputs_BLD, lengths_B, "staircase")
    spoiled = run_recurrent(rnn, spoiled_BLD, lengths_B, "staircase")
    assert torch.equal(clean, spoiled)
    assert torch.equal(clean[1, 2:], torch.zeros(4, 8))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=30), st.none() | st.integers(1, 5000))
def test_pieces_cover_every_residue_once(lengths, most):
    lengths = sorted(lengths, reverse=True)
    pieces = staircase(lengths, most)
    assert [start for start, _, _ in pieces] == [0, *(stop for _, stop, _ in pieces[:-1])]
    assert pieces[-1][1] == lengths[0]
    for start, stop, rows in pieces:
        assert start < stop
        assert most is None or (stop - start) * rows <= max(most, 64 * rows)
        assert most is None or stop - start <= 1024
        # Exactly the rows that are still running at the start take part.
        assert rows == sum(length > start for length in lengths)


def test_dropout_acts_between_layers_only_while_training():
    torch.manual_seed(4)
    rnn = nn.LSTM(3, 4, num_layers=2, dropout=0.5, batch_first=True)
    inputs_BLD, lengths_B = torch.randn(1, 9, 3), torch.tensor([9])
    first = run_recurrent(rnn, inputs_BLD, lengths_B, "staircase")
    second = run_recurrent(rnn, inputs_BLD, lengths_B, "staircase")
    assert not torch.equal(first, second)
    rnn.eval()
    evaluated = run_recurrent(rnn, inputs_BLD, lengths_B, "staircase")
    torch.testing.assert_close(evaluated, run_recurrent(rnn, inputs_BLD, lengths_B, "packed"))


def test_unknown_path_is_named():
    rnn = nn.LSTM(3, 4, batch_first=True)
    with pytest.raises(ConfigError, match="got 'fast', expected one of auto, packed, staircase"):
        run_recurrent(rnn, torch.randn(1, 2, 3), torch.tensor([2]), "fast")
