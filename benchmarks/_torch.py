"""The PyTorch sides of `training.py`, in a process of their own.

Answers one JSON request per line with the residues per second of processor time.

Shape letters: B = sequences in the batch, L = longest of them, H = hidden units.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from itertools import count

import torch
from _networks import DIM, PADDING, Plain, Training, batches, random_batches
from _products import products
from _sets import BATCH, load
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from protemb.models.recurrent import run_recurrent
from protemb.training.memory import freed_memory_kept

SECONDS = 0.7  # processor time that one measurement should take at least


def protemb_side(network: str, name: str) -> Callable[[], float]:
    """Whole epochs of the bare loop."""
    training, epochs = Training(network, batches(load(name))), count()

    def rate() -> float:
        start, residues = time.process_time(), 0
        while (seconds := time.process_time() - start) < SECONDS:
            residues += training.epoch(next(epochs))
        return residues / seconds

    training.epoch(next(epochs))
    return rate


def lightning_side(network: str, name: str) -> Callable[[], float]:
    """Epochs under Lightning but the first."""
    from _lightning import Clock, fit

    def rate() -> float:
        clock = Clock()
        fit(network, name, clock)
        return clock.residues / clock.seconds

    return rate


def plain_side(network: str, name: str, way: str) -> Callable[[], float]:
    """Random batches: packed, padded to their longest, or padded to the longest of the set."""
    data = load(name)
    longest = int(data.store.lengths_N.max())
    model = Plain(network, packed=way == "packed")
    optimizer = torch.optim.Adam(model.parameters())
    stream = random_batches(data)

    def rate() -> float:
        start, residues, seconds = time.process_time(), 0, 0.0
        while seconds < SECONDS:
            rows, labels_B = next(stream)
            lengths_B = torch.tensor([len(row) for row in rows])
            tokens_BL = pad_sequence(rows, batch_first=True, padding_value=PADDING)
            if way == "padded to longest":
                tokens_BL = F.pad(tokens_BL, (0, longest - tokens_BL.shape[1]), value=PADDING)
            loss = F.cross_entropy(model(tokens_BL, lengths_B), labels_B)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            residues += int(lengths_B.sum())
            seconds = time.process_time() - start
        return residues / seconds

    return rate


def matrix_side(hidden: int, mode: str) -> Callable[[], list[float]]:
    """GFLOP/s of an LSTM over a batch of equal lengths, and of its matrix product alone."""
    length, repeats = 256, 50
    rnn = nn.LSTM(DIM, hidden, batch_first=True)
    inputs_BLD, lengths_B = torch.randn(BATCH, length, DIM), torch.full((BATCH,), length)
    # Two products per gate, each as often again for the gradients of its two factors.
    passes = 3 if mode == "training" else 1
    operations = passes * 2 * BATCH * length * 4 * hidden * (DIM + hidden)

    def lstm() -> None:
        with torch.set_grad_enabled(mode == "training"):
            states_BLH = run_recurrent(rnn, inputs_BLD, lengths_B)
            if mode == "training":
                states_BLH.sum().backward()

    def product(multiply: Callable[[], Tensor]) -> None:
        with torch.no_grad():
            for _ in range(repeats):
                multiply()

    def gflops(work: Callable[[], None], operations: float) -> float:
        seconds = []
        for _ in range(5):
            start = time.process_time()
            work()
            seconds.append(time.process_time() - start)
        return operations / min(seconds) / 1e9

    def rates() -> list[float]:
        one = 2 * BATCH * hidden * 4 * hidden
        limits = [
            gflops(lambda m=m: product(m), repeats * one)
            for m in products(BATCH, hidden, 4 * hidden)
        ]
        return [gflops(lstm, operations), max(limits)]

    return rates


@cache
def side(way: str, *options) -> Callable:
    """What measures one way of training."""
    ours = {"protemb": protemb_side, "Lightning": lightning_side, "matrix": matrix_side}
    return ours[way](*options) if way in ours else plain_side(*options, way=way)


def main() -> None:
    """Answer requests until the input ends; with the argument `ours`, as `train.py` would."""
    torch.set_num_threads(1)
    # As `train.py` does. It helps plain PyTorch as much as ours.
    torch.set_flush_denormal(True)
    # What progress bars print must not end up between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with freed_memory_kept() if sys.argv[1:] == ["ours"] else nullcontext():
        for line in sys.stdin:
            print(json.dumps(side(*json.loads(line))()), file=answers, flush=True)


if __name__ == "__main__":
    main()
