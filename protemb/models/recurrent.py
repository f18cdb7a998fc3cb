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
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from protemb.errors import ConfigError

PATHS = ("auto", "packed", "staircase")

State = tuple[Tensor, ...]
"""What a layer carries in one direction, each 1BH: hidden and cell (LSTM), or hidden (GRU)."""
Step = Callable[[Tensor, State | None], tuple[Tensor, State]]
"""Inputs and the state before them, to outputs and the state behind them."""

# A new piece begins when fewer than this share of a piece's rows is still running.
_SHRINK = 0.75
# Without gradients a piece has at most so many residues, as long as it has at least so many steps:
# what a small network computes is then still in the processor's cache when it is put away. Much
# smaller pieces cost a large one more, whose weights are rearranged for each.
_RESIDUES, _STEPS = 2**14, 64
# And at most so many, so one long protein needs little workspace.
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
    if inputs_BLD.is_cuda and torch.is_autocast_enabled("cuda"):
        # For cuDNN's recurrent layers autocast has float16 alone, where small gradients vanish.
        if torch.get_autocast_dtype("cuda") is not torch.float16:
            with torch.autocast("cuda", enabled=False):
                return _packed(rnn, inputs_BLD.float(), lengths_B)
    packed = pack_padded_sequence(inputs_BLD, lengths_B, batch_first=True, enforce_sorted=False)
    states_BLH, _ = pad_packed_sequence(
        rnn(packed)[0], batch_first=True, total_length=inputs_BLD.shape[1]
    )
    return states_BLH


def _staircase(rnn: nn.LSTM | nn.GRU, inputs_BLD: Tensor, lengths_B: Tensor) -> Tensor:
    sorted_B, order_B = torch.sort(lengths_B, descending=True, stable=True)
    in_order = torch.equal(order_B, torch.arange(len(order_B)))
    order_B = order_B.to(inputs_BLD.device)
    most = None if torch.is_grad_enabled() else _RESIDUES
    pieces = staircase(sorted_B.tolist(), most)
    width, longest = inputs_BLD.shape[1], int(sorted_B[0])
    states_LBD = inputs_BLD[:, :longest].transpose(0, 1)
    if not in_order:
        states_LBD = states_LBD.index_select(1, order_B)
    backwards = _backwards(sorted_B, longest).to(inputs_BLD.device)
    run = _layer if torch.is_grad_enabled() else _layer_in_place
    for layer in range(rnn.num_layers):
        if layer and rnn.dropout and rnn.training:
            states_LBD = F.dropout(states_LBD, rnn.dropout)
        states_LBD = run(rnn, layer, states_LBD, pieces, backwards)
    if torch.is_grad_enabled() or not in_order:
        # In any case a copy, because autograd keeps what the layer gave.
        states_LBD = states_LBD.index_select(1, torch.argsort(order_B))
    padding_LB = torch.arange(longest)[:, None] >= lengths_B
    padding = padding_LB.flatten().nonzero()[:, 0].to(inputs_BLD.device)
    states_LBD.flatten(0, 1).index_fill_(0, padding, 0.0)
    states_BLH = states_LBD.transpose(0, 1)
    return states_BLH if width == longest else F.pad(states_BLH, (0, 0, 0, width - longest))


def staircase(lengths: list[int], most: int | None = None) -> list[tuple[int, int, int]]:
    """Cut time into pieces (start, stop, rows) for lengths in descending order.

    Rows that end inside a piece run on over padding until its end; their surplus is never read.

    Args:
        lengths: of the rows.
        most: residues in a piece, unless that were too few steps.

    >>> staircase([9, 9, 4, 2])
    [(0, 4, 4), (4, 9, 2)]
    >>> staircase([190, 180, 180, 180], most=100)
    [(0, 64, 4), (64, 128, 4), (128, 180, 4), (180, 190, 1)]
    """
    pieces, start, rows = [], 0, len(lengths)
    while start < lengths[0]:
        while lengths[rows - 1] <= start:
            rows -= 1
        # The piece ends where too few of its rows would remain.
        stop = lengths[math.ceil(rows * _SHRINK) - 1]
        if most is not None:
            stop = min(stop, start + min(max(_STEPS, most // rows), _CHUNK))
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


def _layer(
    rnn: nn.LSTM | nn.GRU,
    layer: int,
    inputs_LBD: Tensor,
    pieces: list[tuple[int, int, int]],
    backwards: Tensor,
) -> Tensor:
    """One layer in all its directions."""
    rows = inputs_LBD.shape[1]
    directions = []
    for direction in _directions(rnn):
        ordered_LBD = _Reverse.apply(inputs_LBD, backwards) if direction else inputs_LBD
        outputs = [
            output if output.shape[1] == rows else F.pad(output, (0, 0, 0, rows - output.shape[1]))
            for output in _run_pieces(one_direction(rnn, layer, direction), ordered_LBD, pieces)
        ]
        states_LBH = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        directions.append(_Reverse.apply(states_LBH, backwards) if direction else states_LBH)
    return torch.cat(directions, 2) if rnn.bidirectional else directions[0]


def _layer_in_place(
    rnn: nn.LSTM | nn.GRU,
    layer: int,
    inputs_LBD: Tensor,
    pieces: list[tuple[int, int, int]],
    backwards: Tensor,
) -> Tensor:
    """The same where no gradients are wanted: each piece is put where it belongs at once."""
    longest, rows, _ = inputs_LBD.shape
    hidden, directions = rnn.hidden_size, _directions(rnn)
    states_LBH = inputs_LBD.new_empty(0)
    for place, direction in enumerate(directions):
        ordered_LBD = _Reverse.apply(inputs_LBD, backwards) if direction else inputs_LBD
        outputs = _run_pieces(one_direction(rnn, layer, direction), ordered_LBD, pieces)
        for (start, stop, active), output in zip(pieces, outputs, strict=True):
            if not len(states_LBH):  # of the outputs' type, which autocast chooses
                states_LBH = output.new_zeros(longest, rows, hidden * len(directions))
            own_LBH = states_LBH[..., place * hidden : (place + 1) * hidden]
            if direction:
                index = backwards.view(longest, rows)[start:stop, :active].flatten()
                own_LBH.flatten(0, 1).index_copy_(0, index, output.flatten(0, 1))
            else:
                own_LBH[start:stop, :active] = output
    return states_LBH


def _directions(rnn: nn.LSTM | nn.GRU) -> tuple[str, ...]:
    return ("", "_reverse") if rnn.bidirectional else ("",)


def _run_pieces(
    step: Step, inputs_LBD: Tensor, pieces: list[tuple[int, int, int]]
) -> Iterator[Tensor]:
    """Yield the outputs of the pieces, carrying the state from each to the next."""
    state: State | None = None
    for start, stop, active in pieces:
        if state is not None:
            state = tuple(part[:, :active] for part in state)
        output, state = step(inputs_LBD[start:stop, :active], state)
        yield output


def _backwards(lengths_B: Tensor, length: int) -> Tensor:
    """Place of each residue, row by row in time, once its sequence is reversed within its length.

    Padding stays in place. Places count the rows of states_LBH.flatten(0, 1).
    """
    time_L1 = torch.arange(length)[:, None]
    time_LB = torch.where(time_L1 < lengths_B, lengths_B - 1 - time_L1, time_L1)
    return (time_LB * len(lengths_B) + torch.arange(len(lengths_B))).flatten()


class _Reverse(torch.autograd.Function):
    """Reverse time within each sequence.

    The index is its own inverse, so the gradient is the same choice of rows; autograd's own
    backward is a slow scatter-add.
    """

    @staticmethod
    def forward(ctx, inputs_LBD: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        return _rows(inputs_LBD, index)

    @staticmethod
    def backward(ctx, grad_LBD: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return _rows(grad_LBD, index), None


def _rows(states_LBD: Tensor, index: Tensor) -> Tensor:
    """Whole rows are copied several times faster than a gather copies their numbers."""
    return states_LBD.flatten(0, 1).index_select(0, index).view(states_LBD.shape)
