"""What embedding costs: by length, by hidden size, by network, by processes, and the way to disk.

Residues per second of processor time, in one thread; the weights are random, since speed does not
depend on them. Batches are full, as among many sequences. Two processes work at once, each on its
own half, as two shards do on two cores of one machine. SSA's speed is in embedding.json. MFLOP are
those of the matrix products, two for each weight that a residue meets. Rows of the log are read one
by one, in random order, as writing the output does: from memory, and once the system was told to
forget them (wall time).
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from _report import ONE_THREAD, Row, arguments, interleave, write

os.environ |= ONE_THREAD

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _sets import simulated  # noqa: E402

from protemb.models.embedder import Embedder  # noqa: E402
from protemb.models.encoders import Encoder, RecurrentEncoder, TableEncoder  # noqa: E402
from protemb.models.loading import make_embedder  # noqa: E402
from protemb.models.pretrained.recurrent import PublishedRecurrent  # noqa: E402
from protemb.models.pretrained.unirep import UniRep  # noqa: E402
from protemb.sequences.tokens import TokenStore  # noqa: E402
from protemb.vectors.embed import RESIDUES, embed_records  # noqa: E402
from protemb.vectors.log import RowLog  # noqa: E402

MEAN = 286
"""Residues of a protein of UniRef50."""
LENGTHS = (100, 400, 2000, 35_000)
WORKER = "BiLSTM(64)"
ROWS, WIDTH = 100_000, 1024
UNIT = "residues/s"
# As the published network: embedding.py says the same.
SSA: dict[str, Any] = {
    "lm": {"embed_dim": 21, "hidden_dim": 1024, "layers": 2, "tied": True},
    "inner_dim": 512,
    "hidden_dim": 512,
    "layers": 3,
    "out_dim": 100,
}
# Full batches that are enough for a measurement of a few seconds.
BATCHES = {
    "table": 60,
    "LSTM(64)": 12,
    "BiLSTM(64)": 9,
    "BiLSTM(512)": 1,
    "UniRep, 4 x 64": 4,
    "UniRep, 4 x 256": 2,
    "UniRep, 1900": 1,
}


def network(name: str) -> Encoder:
    """One of `BATCHES`, or SSA, untrained."""
    torch.manual_seed(0)
    if name == "table":
        return TableEncoder()
    if name == "SSA":
        return PublishedRecurrent(**SSA)
    kind, _, shape = name.rstrip(")").replace("(", ", ").partition(", ")
    if kind == "UniRep":
        layers, _, hidden = f"1 x {shape}".rpartition(" x ")
        return UniRep(hidden_dim=int(hidden), layers=int(layers.split(" x ")[-1]))
    return RecurrentEncoder(hidden_dim=int(shape), bidirectional=kind == "BiLSTM")


def embedder(name: str) -> Embedder:
    """The mean of a network's last level."""
    encoder = network(name).eval()
    return make_embedder(encoder, "table" if name == "table" else "states", "mean")


def megaflop(name: str) -> float:
    """Of the matrix products for one residue; tied directions use their weights twice."""
    weights = 0
    for label, parameter in network(name).named_parameters():
        # Tables are looked up, and the language model's own output is not computed.
        idle = label.startswith(("table.", "embed.", "lm.embed.", "lm.linear."))
        if parameter.ndim == 2 and not idle:
            weights += parameter.numel() * (2 if label.startswith("lm.") else 1)
    return 2 * weights / 1e6


def rate(job: Embedder, store: TokenStore) -> float:
    """Residues per second of processor time."""
    start = process_time()
    embed_records(job, store, np.arange(len(store)))
    return int(store.lengths_S.sum()) / (process_time() - start)


def of_length(length: int, batches: int) -> TokenStore:
    """Proteins of one length that fill so many batches; a long one is a batch of its own."""
    records = batches * max(1, RESIDUES // length)
    return simulated(np.full(records, length), np.random.default_rng(0)).store


def rates(rounds: int) -> list[Row]:
    """By network, and by length for the two hidden sizes."""
    rows = []
    for name, batches in BATCHES.items():
        job = embedder(name)
        lengths = (MEAN, *LENGTHS) if name.startswith("BiLSTM") else (MEAN,)
        stores = {f"length {length:,}": of_length(length, batches) for length in lengths}
        rate(job, simulated(np.array([MEAN]), np.random.default_rng(0)).store)  # a first call
        sides: dict[str, Callable[[], float]] = {
            what: partial(rate, job, store) for what, store in stores.items()
        }
        for what, values in interleave(sides, rounds).items():
            rows.append(Row(f"embed, {name}, {what}", UNIT, values))
    for name in (*BATCHES, "SSA"):
        rows.append(Row(f"{name}: products", "MFLOP/residue", [megaflop(name)]))
    return rows


def work() -> None:
    """One of several processes: its own half, and its rate on standard output."""
    print(rate(embedder(WORKER), of_length(MEAN, BATCHES[WORKER])))


def together(processes: int) -> float:
    """The mean rate of processes that work at once."""
    words = [sys.executable, __file__, "work"]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return float(np.mean([float(each.communicate()[0]) for each in running]))


def rows_read(forget: bool) -> float:
    """Rows per second of wall time that come back from a log, 4 KiB each."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=".") as name:
        batches = np.array_split(np.arange(ROWS), 100)
        with RowLog(Path(name), batches, np.ones(ROWS, np.int64), WIDTH) as log:
            for batch in batches:
                log.append([rng.random((len(batch), WIDTH), np.float32)])
            handle = os.open(Path(name) / "rows", os.O_RDONLY)
            os.fsync(handle)
            if forget:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)
            start = perf_counter()
            log.vectors(rng.permutation(ROWS)[: ROWS // 10])
            return ROWS // 10 / (perf_counter() - start)


def main() -> None:
    """Measure, print and write results/costs.json."""
    options = arguments(__doc__, rounds=2).parse_args()
    torch.set_num_threads(1)
    rows = rates(options.rounds)
    sides = {"1": lambda: together(1), "2": lambda: together(2)}
    values = interleave(sides, options.rounds)
    rows.append(Row(f"{WORKER}, each of 2 processes", UNIT, values["2"], "1 process", values["1"]))
    sides = {"forgotten": lambda: rows_read(True), "cached": lambda: rows_read(False)}
    values = interleave(sides, options.rounds)
    job = "rows of 4 KiB from the log, from disk"
    rows.append(Row(job, "rows/s", values["forgotten"], "from memory", values["cached"]))
    settings = {"threads": 1, "file system of the log": "the working folder's"}
    write("costs", rows, ["torch", "numpy"], settings=settings)


if __name__ == "__main__":
    if sys.argv[1:] == ["work"]:
        torch.set_num_threads(1)
        work()
    else:
        main()
