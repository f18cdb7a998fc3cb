"""Where the time goes: shares of processor time of trainings, of embedding and of reading.

A training runs under Lightning with every callback of conf/ and its log, as `train.py` runs it, and
is cut into its parts by clocks around them. What is left belongs to Lightning's loop and to Python
between the parts. For embedding PyTorch's own profiler says which kernels the time went to, for
reading Python's says which modules. The clocks cost a few per cent of a small network's step, and
calls of Python's functions look dearer than they are.
"""

import cProfile
import pstats
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from _report import Row, arguments, use_one_core, write

use_one_core()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _lightning import Clock, fit  # noqa: E402
from _networks import recipe  # noqa: E402
from _sets import SETS, load, proteome_lengths, simulated  # noqa: E402
from embedding import SSA  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402
from writing import VECTORS, write_vectors  # noqa: E402

from protemb.models.checkpoint import build_classifier  # noqa: E402
from protemb.models.embedder import Embedder  # noqa: E402
from protemb.models.loading import make_embedder  # noqa: E402
from protemb.models.pretrained.recurrent import PublishedRecurrent  # noqa: E402
from protemb.sequences.reading import read_sequences  # noqa: E402
from protemb.sequences.tokens import TokenStore  # noqa: E402
from protemb.training.data import SequenceData  # noqa: E402
from protemb.training.memory import freed_memory_kept  # noqa: E402
from protemb.training.module import ClassifierModule  # noqa: E402
from protemb.vectors.embed import embed_records  # noqa: E402

PARTS = (
    (SequenceData, "batch", "batch assembly"),
    (ClassifierModule, "_losses", "forward"),
    (torch.Tensor, "backward", "backward"),
    (ClassifierModule, "configure_gradient_clipping", "gradient clipping"),
    (torch.optim.Adam, "step", "optimizer, and Lightning in its step"),
)
KERNELS = {
    "LSTM kernel": ["mkldnn_rnn_layer"],
    "copies and reversal": "index_copy_ index_select copy_ cat fill_ index_fill_ gather".split(),
    "pooling": ["mul", "sum", "div"],
}
REST = "Lightning and Python"
MODULES = {
    "fasta.py": "lines and headers",
    "records.py": "checks of every record",
    "tokens.py": "the store",
    "repeats.py": "search for identical sequences",
}
SAVING = ("<built-in method posix.fsync>", "<built-in method posix.replace>")
COMPILED = "hashing, writing and all else that is compiled"


class Parts:
    """Processor time by part; what is spent in a part inside another belongs to the inner one."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.seconds = clock, defaultdict(float)
        self.inside: list[float] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Charge the time of the block, less that of the parts in it."""
        self.inside.append(0.0)
        start = time.process_time()
        yield
        spent = time.process_time() - start
        self.seconds[name] += self.clock.running * (spent - self.inside.pop())
        if self.inside:
            self.inside[-1] += spent

    def around(self, owner: Any, method: str, name: str) -> Any:
        """Put a method under the clock until the patch ends."""
        plain = getattr(owner, method)

        def timed(*args: Any, **options: Any) -> Any:
            with self.part(name):
                return plain(*args, **options)

        return patch.object(owner, method, timed)


def training(network: str, name: str) -> dict[str, float]:
    """Share of each part in a training's steps, validation and checkpoints left out."""
    clock = Clock()
    parts = Parts(clock)
    with ExitStack() as stack:
        for place in PARTS:
            stack.enter_context(parts.around(*place))
        stack.enter_context(freed_memory_kept())
        fit(network, name, clock)
    shares = {part: parts.seconds[part] / clock.seconds for *_, part in PARTS}
    return shares | {REST: 1 - sum(shares.values())}


def small(name: str) -> dict[str, float]:
    """Embedding by BiLSTM(64) and mean."""
    encoder = build_classifier(recipe("BiLSTM(64)")).eval().embedder.encoder
    return embedding(make_embedder(encoder, "states", "mean"), load(name).store)


def full() -> dict[str, float]:
    """Embedding by the published network at full size, and mean."""
    rng = np.random.default_rng(0)
    lengths_N = proteome_lengths(1024, rng)
    store = simulated(rng.choice(lengths_N[lengths_N < 2000], 40, replace=False), rng).store
    network = PublishedRecurrent(**SSA).eval()
    return embedding(make_embedder(network, "projection", "mean"), store)


def embedding(embedder: Embedder, store: TokenStore) -> dict[str, float]:
    """Share of each kind of kernel in embedding, without Python's part."""
    records = np.arange(len(store))
    embed_records(embedder, store, records)
    with profile(activities=[ProfilerActivity.CPU]) as kernels:
        embed_records(embedder, store, records)
    own = {event.key: event.self_cpu_time_total for event in kernels.key_averages()}
    shares = {
        part: sum(own.get(f"aten::{name}", 0.0) for name in names) / sum(own.values())
        for part, names in KERNELS.items()
    }
    return shares | {"other kernels": 1 - sum(shares.values())}


def reading() -> dict[str, float]:
    """Share of each module in reading 20,000 proteins from FASTA to the store."""
    rng = np.random.default_rng(0)
    store = simulated(proteome_lengths(20_000, rng), rng).store
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proteins.fasta"
        path.write_text("".join(f">p{n}\n{store.sequence(n)}\n" for n in range(len(store))))
        return shares_of_calls(
            lambda: read_sequences(path),
            lambda file, _: MODULES.get(file, COMPILED if file == "~" else "other modules"),
        )


def writing() -> dict[str, float]:
    """Share of the system's calls in writing vectors as `writing.py` does."""
    vectors_ND = np.random.default_rng(0).standard_normal((VECTORS, 100)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.h5"
        return shares_of_calls(
            lambda: write_vectors(path, vectors_ND),
            lambda _, call: "fsync and rename" if call in SAVING else "HDF5, checks and checksums",
        )


def shares_of_calls(
    work: Callable[[], object], part_of: Callable[[str, str], str]
) -> dict[str, float]:
    """Own time of all calls by part, which file and name of a function tell."""
    work()
    with cProfile.Profile() as calls:
        work()
    seconds: defaultdict[str, float] = defaultdict(float)
    for (file, _, call), (_, _, own, *_) in pstats.Stats(calls).stats.items():
        seconds[part_of(Path(file).name, call)] += own
    return {part: spent / sum(seconds.values()) for part, spent in sorted(seconds.items())}


def main() -> None:
    """Measure, print and write results/profiles.json."""
    options = arguments(__doc__, rounds=3).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    jobs = {
        f"train {network}, {name}": (training, (network, name))
        for network in ("mean", "BiLSTM(64)")
        for name in SETS
    }
    jobs |= {f"embed, BiLSTM(64), {name}": (small, (name,)) for name in SETS}
    jobs |= {"embed, SSA at full size": (full, ()), "FASTA to tokens": (reading, ())}
    jobs |= {f"write {VECTORS:,} vectors": (writing, ())}
    rows = []
    for job, (measure, choice) in jobs.items():
        # As `train.py` does it while training, and not elsewhere.
        torch.set_flush_denormal(measure is training)
        rounds = [measure(*choice) for _ in range(options.rounds)]
        rows += [
            Row(f"{job}: {part}", "%", [100 * shares[part] for shares in rounds])
            for part in rounds[0]
        ]
    write("profiles", rows, ["torch", "pytorch-lightning"], settings={"threads": 1})


if __name__ == "__main__":
    main()
