"""Exact LSTM and GRU passes over ragged batches.

Two ways compute the same thing, and `nn.LSTM`/`nn.GRU` owns the weights in both:

* `packed`: PyTorch's PackedSequence; the reference, and the first choice on CUDA.
* `staircase`: rows sorted by length, time cut into pieces where rows end, state carried from piece
  to piece. Each piece is one dense call, which oneDNN runs fast on a CPU. Training packed
  sequences on a CPU is about a hundred times slower: at every time step its backward pass clears a
  gradient as large as the whole batch (pytorch/pytorch#149194).

Shape letters: B = sequences, L = longest of them, D = input features, H = hidden units.
Time-major tensors have L first, as the kernels want them.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from protemb.errors import ConfigError
from protemb.models.batches import padding_mask

PATHS = ("auto", "packed", "staircase")

State = tuple[Tensor, ...]
"""What a layer carries in one direction, each 1BH: hidden and cell (LSTM), or hidden (GRU)."""
Step = Callable[[Tensor, State | None], tuple[Tensor, State]]
"""Inputs and the state before them, to outputs and the state behind them."""

# A new piece begins when fewer than this share of a piece's rows is still running.
_SHRINK = 0.75
# Without gradients a piece is at most this long, so one long protein needs little workspace.
_CHUNK = 1024


def run_recurrent(
    rnn: nn.LSTM | nn.GRU, inputs_BLD: Tensor, lengths_B: Tensor, path: str = "auto"
) -> Tensor:
    """Return the last layer's states_BLH; rows past a sequence's end are zero.

    Args:
        rnn: batch-first LSTM or GRU, any number of layers, one or two directions.
        inputs_BLD: padded inputs; what stands in the padding has no influence.
        lengths_B: residues of each sequence (host memory), at least 1.
        path: one of `PATHS`; `auto` is packed on CUDA and staircase elsewhere.
    """
    if path not in PATHS:
        raise ConfigError("path", path, f"one of {', '.join(PATHS)}")
    if path == "auto":
        path = "packed" if inputs_BLD.is_cuda else "staircase"
    run = _packed if path == "packed" else _staircase
    return run(rnn, inputs_BLD, lengths_B)


def _packed(rnn: nn.LSTM | nn.GRU, inputs_BLD: Tensor, lengths_B: Tensor) -> Tensor:
    packed = pack_padded_sequence(inputs_BLD, lengths_B, batch_first=True, enforce_sorted=False)
    states_BLH, _ = pad_packed_sequence(
        rnn(packed)[0], batch_first=True, total_length=inputs_BLD.shape[1]
    )
    return states_BLH


def _staircase(rnn: nn.LSTM | nn.GRU, inputs_BLD: Tensor, lengths_B: Tensor) -> Tensor:
    sorted_B, order_B = torch.sort(lengths_B, descending=True, stable=True)
    order_B = order_B.to(inputs_BLD.device)
    pieces = staircase(sorted_B.tolist(), None if torch.is_grad_enabled() else _CHUNK)
    width, longest = inputs_BLD.shape[1], int(sorted_B[0])
    states_LBD = inputs_BLD[:, :longest].transpose(0, 1).index_select(1, order_B)
    backwards = _backwards(sorted_B, longest).to(inputs_BLD.device)
    for layer in range(rnn.num_layers):
        if layer and rnn.dropout and rnn.training:
            states_LBD = F.dropout(states_LBD, rnn.dropout)
        directions = [_run_pieces(rnn, layer, "", states_LBD, pieces)]
        if rnn.bidirectional:
            reversed_LBD = _Reverse.apply(states_LBD, backwards)
            reversed_LBH = _run_pieces(rnn, layer, "_reverse", reversed_LBD, pieces)
            directions.append(_Reverse.apply(reversed_LBH, backwards))
        states_LBD = torch.cat(directions, 2) if rnn.bidirectional else directions[0]
    states_BLH = states_LBD.index_select(1, torch.argsort(order_B)).transpose(0, 1)
    mask_BL = padding_mask(lengths_B, longest, inputs_BLD.device)
    return F.pad(states_BLH.masked_fill(~mask_BL[..., None], 0.0), (0, 0, 0, width - longest))


def staircase(lengths: list[int], chunk: int | None = None) -> list[tuple[int, int, int]]:
    """Cut time into pieces (start, stop, rows) for lengths in descending order.

    Rows that end inside a piece run on over padding until its end; their surplus is never read.

    >>> staircase([9, 9, 4, 2])
    [(0, 4, 4), (4, 9, 2)]
    >>> staircase([9, 8, 8, 8], chunk=5)
    [(0, 5, 4), (5, 8, 4), (8, 9, 1)]
    """
    pieces, start, rows = [], 0, len(lengths)
    while start < lengths[0]:
        while lengths[rows - 1] <= start:
            rows -= 1
        # The piece ends where too few of its rows would remain.
        stop = lengths[math.ceil(rows * _SHRINK) - 1]
        if chunk is not None:
            stop = min(stop, start + chunk)
        pieces.append((start, stop, rows))
        start = stop
    return pieces


def one_direction(rnn: nn.LSTM | nn.GRU, layer: int, direction: str) -> Step:
    """One layer in one direction (`""` or `"_reverse"`), as a step over a piece of time.

    A step takes time-major inputs_LBD and the state behind the piece before (None: zeros), and
    returns states_LBH and its own last state. It reads its inputs in the order given, so for
    `_reverse` they are reversed.
    """
    suffix = f"_l{layer}{direction}"
    names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if rnn.bias else ()))
    weights = [getattr(rnn, name + suffix) for name in names]
    # has_biases, num_layers, dropout, train, bidirectional, batch_first
    options = (rnn.bias, 1, 0.0, rnn.training, False, False)

    def step(inputs_LBD: Tensor, state: State | None) -> tuple[Tensor, State]:
        if state is None:
            zero_1BH = inputs_LBD.new_zeros(1, inputs_LBD.shape[1], rnn.hidden_size)
            state = (zero_1BH, zero_1BH)
        if isinstance(rnn, nn.LSTM):
            output_LBH, *after = torch.lstm(inputs_LBD, state, weights, *options)
        else:
            output_LBH, *after = torch.gru(inputs_LBD, state[0].contiguous(), weights, *options)
        return output_LBH, tuple(after)

    return step


def _run_pieces(
    rnn: nn.LSTM | nn.GRU,
    layer: int,
    direction: str,
    inputs_LBD: Tensor,
    pieces: list[tuple[int, int, int]],
) -> Tensor:
    """Run one layer in one direction, piece by piece, carrying the state."""
    step = one_direction(rnn, layer, direction)
    rows = inputs_LBD.shape[1]
    state: State | None = None
    outputs = []
    for start, stop, active in pieces:
        if state is not None:
            state = tuple(part[:, :active] for part in state)
        output, state = step(inputs_LBD[start:stop, :active], state)
        outputs.append(output if active == rows else F.pad(output, (0, 0, 0, rows - active)))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _backwards(lengths_B: Tensor, length: int) -> Tensor:
    """Time index that reverses each sequence within its own length (padding stays in place)."""
    time_L1 = torch.arange(length)[:, None]
    return torch.where(time_L1 < lengths_B, lengths_B - 1 - time_L1, time_L1)


class _Reverse(torch.autograd.Function):
    """Reverse time within each sequence.

    The index is its own inverse, so the gradient is the same gather; autograd's own backward of a
    gather is a slow scatter-add.
    """

    @staticmethod
    def forward(ctx, inputs_LBD: Tensor, index_LB: Tensor) -> Tensor:
        ctx.save_for_backward(index_LB)
        return inputs_LBD.gather(0, index_LB[..., None].expand_as(inputs_LBD))

    @staticmethod
    def backward(ctx, grad_LBD: Tensor) -> tuple[Tensor, None]:
        (index_LB,) = ctx.saved_tensors
        return grad_LBD.gather(0, index_LB[..., None].expand_as(grad_LBD)), None
