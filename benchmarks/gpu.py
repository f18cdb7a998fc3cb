"""A GPU: a bare training loop over our batches, over random ones, and what cuDNN takes of it.

Residues per second of wall time, since the work is the device's: forward, backward and Adam, batch
assembly and transfer included. Ours takes batches of similar lengths, packed; the plain loop takes
random batches of 64, padded to their longest. The limit is cuDNN's BiLSTM alone, forward and
backward over batches of equal lengths. Without a CUDA device nothing is measured; `--device cpu`
tries the script, and writes no results.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from _networks import BATCH, DIM, PADDING, Plain, batches, random_batches, recipe
from _report import Row, arguments, interleave, row_of, table_cells, write
from _sets import load
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from protemb.models.checkpoint import build_classifier
from protemb.models.devices import full_float32
from protemb.models.encoders import ConvolutionEncoder

SET = "proteome-like"
LENGTH = 512
"""Of the equal sequences."""
SECONDS = 2.0
"""That one measurement should take at least."""
WARM_UP = 3
"""Steps before each measurement."""
NETWORK = "BiLSTM(64)"
UNIT = "residues/s"

Step = Callable[[], int]
"""One step of training; how many residues it took."""


class Device:
    """Where everything runs.

    Args:
        name: such as `cuda`.
        bf16: compute products in bfloat16.
    """

    def __init__(self, name: str, bf16: bool) -> None:
        self.name, self.cuda, self.bf16 = name, name.startswith("cuda"), bf16

    def rounded(self) -> torch.autocast:
        """Where the forward pass is computed."""
        return torch.autocast(self.name.partition(":")[0], torch.bfloat16, enabled=self.bf16)

    def now(self) -> float:
        """The time at which all that was asked for is done."""
        if self.cuda:
            torch.cuda.synchronize(self.name)
        return time.perf_counter()

    def rate(self, step: Step) -> float:
        """Residues per second, after some steps that warm up (and record CUDA graphs)."""
        for _ in range(WARM_UP):
            step()
        residues, start = 0, self.now()
        while time.perf_counter() - start < SECONDS:
            residues += step()
        return residues / (self.now() - start)

    def megabytes(self, step: Step, residues: int) -> float:
        """The most memory that steps over so many residues hold on a GPU; 0 elsewhere."""
        if not self.cuda:
            return 0.0
        before = torch.cuda.memory_allocated(self.name)
        torch.cuda.reset_peak_memory_stats(self.name)
        while residues > 0:
            residues -= step()
        return (torch.cuda.max_memory_allocated(self.name) - before) / 1e6


def ours(hidden: int, device: Device) -> Step:
    """Our batches, one epoch after the other."""
    described = recipe(NETWORK)
    described["encoder"]["hidden_dim"] = hidden
    model = build_classifier(described).to(device.name)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    stream = _our_batches()

    def step() -> int:
        inputs, labels_B, weights_B = next(stream)
        with device.rounded():
            logits_BC = model.of(inputs.to(torch.device(device.name)))
        losses_B = F.cross_entropy(logits_BC.float(), labels_B.to(device.name), reduction="none")
        optimizer.zero_grad()
        (losses_B * weights_B.to(device.name)).sum().backward()
        optimizer.step()
        return int(inputs.lengths_B.sum())

    return step


def _our_batches() -> Iterator[tuple]:
    data, epoch = batches(load(SET)), 0
    while True:
        yield from map(data.batch, data.plan(data.split.train, epoch))
        epoch += 1


def plain(hidden: int, device: Device) -> Step:
    """Random batches, padded."""
    model = Plain(NETWORK, packed=False, hidden=hidden).to(device.name)
    optimizer = torch.optim.Adam(model.parameters())
    stream = iter(random_batches(load(SET)))

    def step() -> int:
        rows, labels_B = next(stream)
        lengths_B = torch.tensor([len(row) for row in rows])
        tokens_BL = pad_sequence(rows, batch_first=True, padding_value=PADDING)
        with device.rounded():
            logits_BC = model(tokens_BL.to(device.name), lengths_B.to(device.name))
        optimizer.zero_grad()
        F.cross_entropy(logits_BC.float(), labels_B.to(device.name)).backward()
        optimizer.step()
        return int(lengths_B.sum())

    return step


def alone(hidden: int, device: Device) -> Step:
    """The recurrent pass and nothing else, forward and backward."""
    rnn = nn.LSTM(DIM, hidden, batch_first=True, bidirectional=True).to(device.name)
    inputs_BLD = torch.randn(BATCH, LENGTH, DIM, device=device.name)

    def step() -> int:
        rnn.zero_grad()
        # In float32 also beside bfloat16: that is what ours computes there (see _packed).
        states_BLH: Tensor = rnn(inputs_BLD)[0]
        states_BLH.sum().backward()
        return BATCH * LENGTH

    return step


def convolution(device: Device, mode: str | None) -> Step:
    """The CNN over equal lengths, compiled unless the mode is None."""
    encoder = ConvolutionEncoder().to(device.name)
    run = torch.compile(encoder, mode=mode) if mode else encoder
    tokens_BL = torch.randint(0, PADDING, (BATCH, LENGTH), device=device.name)
    lengths_B = torch.full((BATCH,), LENGTH)

    def step() -> int:
        encoder.zero_grad()  # the next graph would write over the gradients
        with device.rounded():
            states_BLD = run(tokens_BL, lengths_B)["states"]
        states_BLD.float().sum().backward()
        return BATCH * LENGTH

    return step


def bilstm_rows(hidden: int, device: Device, rounds: int) -> list[Row]:
    """One size in one precision: speed, share of the limit, memory over one epoch's steps."""
    precision = "bf16-mixed" if device.bf16 else "float32"
    job = f"train BiLSTM({hidden}), {precision}"
    step, epoch = ours(hidden, device), int(load(SET).store.lengths_N.sum())
    memory = Row(f"{job}, memory of steps", "MB", [device.megabytes(step, epoch)])
    steps = {
        "protemb": step,
        "random batches, padded": plain(hidden, device),
        "cuDNN alone": alone(hidden, device),
    }
    sides = {name: partial(device.rate, step) for name, step in steps.items()}
    values = interleave(sides, rounds)
    return [
        row_of(values, "protemb", "random batches, padded", job, UNIT, target=">= 3"),
        row_of(values, "protemb", "cuDNN alone", job, UNIT, target=">= 0.6"),
        memory,
    ]


def compiled_rows(device: Device, rounds: int) -> list[Row]:
    """Does compiling pay, by itself and with CUDA graphs?"""
    sides = {
        way: partial(device.rate, convolution(device, mode))
        for way, mode in {
            "eager": None,
            "torch.compile": "default",
            "CUDA graphs": "reduce-overhead",
        }.items()
    }
    values = interleave(sides, rounds)
    job = "train CNN(64), equal lengths"
    return [row_of(values, way, "eager", f"{job}, {way}", UNIT) for way in list(sides)[1:]]


def main() -> None:
    """Measure, print and write results/gpu.json."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    options = parser.parse_args()
    name = options.device
    if name.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device: nothing was measured")
        return
    rows: list[Row] = []
    with full_float32():
        for bf16 in (False, True):
            for hidden in (64, 512):
                rows += bilstm_rows(hidden, Device(name, bf16), options.rounds)
        rows += compiled_rows(Device(name, bf16=False), options.rounds)
    if name.startswith("cuda"):
        settings = {"GPU": torch.cuda.get_device_name(name), SET: f"{len(load(SET))} sequences"}
        versions = {"CUDA": str(torch.version.cuda), "cuDNN": str(torch.backends.cudnn.version())}
        write("gpu", rows, ["torch"], versions=versions, settings=settings)
    else:
        for cells in table_cells({"rows": [row.as_dict() for row in rows]}):
            print("  ".join(cells))


if __name__ == "__main__":
    main()
