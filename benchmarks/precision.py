"""Do bfloat16 and torch.compile pay on this processor? Forward and backward of a batch, ratios.

float32 without compiling is the default, because of what this measures on processors without
bfloat16 matrix units.
"""

# ruff: noqa: E402
from _report import arguments, interleave, row_of, use_one_core, write

use_one_core()

import time
from collections.abc import Callable

import torch

from protemb.models.encoders import ConvolutionEncoder, Encoder, RecurrentEncoder

B, L = 32, 566


def step(encoder: Encoder, *, bf16: bool = False, compiled: bool = False) -> Callable[[], float]:
    """A function that trains one step and returns thousands of residues per CPU second."""
    run = torch.compile(encoder) if compiled else encoder
    tokens_BL = torch.randint(0, 21, (B, L))
    lengths_B = torch.full((B,), L)

    def measure() -> float:
        start = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            states_BLD = run(tokens_BL, lengths_B)["states"]
        states_BLD.float().sum().backward()
        return B * L / (time.process_time() - start) / 1000

    measure()  # compiles, warms up
    return measure


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__, rounds=7).parse_args()
    encoders: dict[str, Callable[[], Encoder]] = {
        "BiLSTM(64)": lambda: RecurrentEncoder(bidirectional=True),
        "CNN(64)": ConvolutionEncoder,
    }
    rows = []
    for name, make in encoders.items():
        sides = {
            "float32": step(make()),
            "bf16 autocast": step(make(), bf16=True),
            "torch.compile": step(make(), compiled=True),
        }
        values = interleave(sides, options.rounds)
        rows += [
            row_of(values, ours, "float32", f"train {name}, {ours}", "kres/s")
            for ours in ("bf16 autocast", "torch.compile")
        ]
    write("precision", rows, ["torch"], settings={"records": B, "residues": L, "threads": 1})


if __name__ == "__main__":
    main()
