"""Training speed: the three networks in protemb, in Keras and in plain PyTorch, on one core.

Forward, backward and Adam over batches of 64 and a table of 10 dimensions, in residues per second
of processor time; assembling the batches is part of it on every side. Keras pads to the longest
sequence of the set, as `pad_sequences` does, and masks the padding. Plain PyTorch takes random
batches of ready tokens, and flushes subnormal numbers as ours does, which favours it: left alone,
it is several times slower.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from _report import Row, arguments, interleave, row_of, use_one_core, write

NETWORKS = ("mean", "LSTM(64)", "BiLSTM(64)")
BACKENDS = ("tensorflow", "jax")
RESULTS = {
    None: "training",
    "mean": "training_mean",
    "LSTM(64)": "training_lstm",
    "BiLSTM(64)": "training_bilstm",
}
UNIT = "residues/s"
# Ours in another way, beside ours.
OURS_CHANGED = ("under Lightning", "freed memory given back")
# One training step takes minutes: measured in one round.
ONCE = ("PyTorch, packed", "PyTorch, padded to longest")
# Targets by kind of network and set.
MEAN = {"Keras, tensorflow": 30, "Keras, jax": 4, "PyTorch, padded": 7, "under Lightning": 0.4}
RECURRENT = {"PyTorch, packed": 40, "under Lightning": 0.9}
TARGETS = {
    ("mean", "HA"): MEAN,
    ("mean", "proteome-like"): MEAN,
    ("recurrent", "HA"): {"Keras, tensorflow": 2.2, "Keras, jax": 2.2, **RECURRENT},
    ("recurrent", "proteome-like"): {
        "Keras, tensorflow": 25,
        "Keras, jax": 15,
        "PyTorch, padded": 4,
        "PyTorch, padded to longest": 8,
        **RECURRENT,
    },
}
# Share of the matrix rate, by mode and hidden units.
SHARES = {
    "forward": {64: 0.55, 128: 0.70, 512: 0.90},
    "training": {64: 0.38, 128: 0.60, 512: 0.80},
}


class Side:
    """A process that answers requests, one line of JSON each."""

    def __init__(self, python: str, script: str, *options: str, **environment: str) -> None:
        self.name = " ".join([script, *options])
        self.process = subprocess.Popen(
            [python, str(Path(__file__).parent / script), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | environment,
        )

    def ask(self, *request: object):
        """Send a request and wait for its answer."""
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self):
        """The next answer."""
        line = self.process.stdout.readline() if self.process.stdout else ""
        return json.loads(line) if line else sys.exit(f"{self.name}: ended without an answer")


def main() -> None:
    """Measure, print and write results/training.json."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument(
        "--keras-python",
        help="interpreter that has Keras with TensorFlow and JAX; not installed here",
    )
    parser.add_argument(
        "--network",
        choices=NETWORKS,
        help="this one alone; the results get a file of their own",
    )
    options = parser.parse_args()
    use_one_core()
    from _sets import SETS, load, origin

    settings = {name: f"{len(load(name))} sequences, {origin(name)}" for name in SETS}
    ours, plain = Side(sys.executable, "_torch.py", "ours"), Side(sys.executable, "_torch.py")
    keras, versions = {}, {}
    if options.keras_python:
        for backend in BACKENDS:
            keras[backend] = Side(options.keras_python, "_keras.py", KERAS_BACKEND=backend)
            versions |= keras[backend].answer()
    else:
        settings["Keras"] = "not measured: no --keras-python"

    rows: list[Row] = []
    for name in SETS:
        lengths = load(name).store.lengths_N.tolist()
        for network in [options.network] if options.network else NETWORKS:
            sides = {
                "protemb": asking(ours, "protemb", network, name),
                "under Lightning": asking(ours, "Lightning", network, name),
                "freed memory given back": asking(plain, "protemb", network, name),
                "PyTorch, padded": asking(plain, "padded", network, name),
            }
            for backend, side in keras.items():
                sides[f"Keras, {backend}"] = asking(side, network, name, lengths)
            if network != "mean":
                sides["PyTorch, packed"] = asking(plain, "packed", network, name)
            if (network, name) == ("LSTM(64)", "proteome-like"):
                longest = asking(plain, "padded to longest", network, name)
                sides["PyTorch, padded to longest"] = longest
            values = interleave(sides, options.rounds, ONCE)
            rows += comparisons(network, name, values)
    if not options.network:
        rows += shares(ours, options.rounds)
    packages = ["torch", "pytorch-lightning", "numpy"]
    write(RESULTS[options.network], rows, packages, versions=versions, settings=settings)


def asking(side: Side, *request: object) -> Callable[[], float]:
    """A measurement by another process."""
    return lambda: side.ask(*request)


def comparisons(network: str, name: str, values: dict[str, list[float]]) -> list[Row]:
    """One row for each side beside ours, and ours under Lightning beside our bare loop."""
    targets = TARGETS["mean" if network == "mean" else "recurrent", name]
    rows = []
    for side in values:
        target = f">= {targets[side]}" if side in targets else ""
        job = f"{network}, {name}"
        if side in OURS_CHANGED:
            row = row_of(values, side, "protemb", f"{job}, {side}", UNIT, target=target)
            rows.append(row)
        elif side != "protemb":
            rows.append(row_of(values, "protemb", side, job, UNIT, target=target))
    return rows


def shares(ours: Side, rounds: int) -> list[Row]:
    """How much of the processor's matrix rate the recurrent passes reach."""
    rows = []
    for mode, targets in SHARES.items():
        for hidden, share in targets.items():
            pairs: Sequence = [ours.ask("matrix", hidden, mode) for _ in range(rounds)]
            lstm, product = zip(*pairs, strict=True)
            job = f"LSTM({hidden}), {mode}, equal lengths"
            against = {"against": "matrix product alone", "theirs": product}
            rows.append(Row(job, "GFLOP/s", lstm, **against, target=f">= {share}"))
    return rows


if __name__ == "__main__":
    main()
