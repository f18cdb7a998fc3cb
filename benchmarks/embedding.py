"""Embedding speed: the published network at full size, and a BiLSTM, against the usual loops.

Residues per second of processor time on one core, over proteins of all lengths that all differ (so
that embedding identical ones once gains nothing). The tutorial's loop takes ten at a time in the
order of the input and packs them; the authors' script takes one at a time. The limit is what the
matrix products of the network alone would take at the rate measured for their shapes, in the same
round. The weights are random: speed does not depend on them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import process_time
from unittest.mock import patch

from _report import Row, arguments, interleave, row_of, use_one_core, write

use_one_core()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _networks import recipe  # noqa: E402
from _products import products  # noqa: E402
from _sets import load, proteome_lengths, simulated  # noqa: E402

from protemb.models.batches import collate  # noqa: E402
from protemb.models.checkpoint import build_classifier  # noqa: E402
from protemb.models.encoders import Encoder  # noqa: E402
from protemb.models.loading import make_embedder  # noqa: E402
from protemb.models.pretrained.recurrent import PublishedRecurrent  # noqa: E402
from protemb.models.recurrent import run_recurrent  # noqa: E402
from protemb.models.rounding import RoundedEncoder  # noqa: E402
from protemb.sequences.tokens import TokenStore  # noqa: E402
from protemb.vectors.embed import embed_records  # noqa: E402

TENS = 10
FEW = 20
"""Proteins that the loops take: their speed does not depend on how many there are."""
ROWS = 64
"""Rows of the products behind the limit, as in a batch of usual size."""
SSA = {
    "lm": {"embed_dim": 21, "hidden_dim": 1024, "layers": 2, "tied": True},
    "inner_dim": 512,
    "hidden_dim": 512,
    "layers": 3,
    "out_dim": 100,
}
# Matrix products of SSA for one residue: (times, inputs, outputs).
SSA_PRODUCTS = [
    (2, 21, 4096),
    (2, 1024, 4096),
    (4, 1024, 4096),
    (1, 4096, 512),
    (2, 512, 2048),
    (4, 1024, 2048),
    (6, 512, 2048),
    (1, 1024, 100),
]
UNIT = "residues/s"


@contextmanager
def packed() -> Iterator[None]:
    """Recurrent layers by PyTorch's packed sequences, as the loops of others run them."""
    way = partial(run_recurrent, path="packed")
    with patch("protemb.models.pretrained.recurrent.run_recurrent", way):
        yield


def looped(encoder: Encoder, level: str, store: TokenStore, size: int) -> np.ndarray:
    """Mean vectors, `size` proteins at a time in the order of the input."""
    rows = []
    for start in range(0, len(store), size):
        here = range(start, min(start + size, len(store)))
        batch = collate([store.tokens(record) for record in here], store.alphabet.size)
        with torch.inference_mode():
            states_BLD = encoder(batch.tokens_BL, batch.lengths_B, (level,))[level]
            for states_LD, length in zip(states_BLD, batch.lengths_B.tolist(), strict=True):
                rows.append(states_LD[:length].mean(0).numpy())
    return np.stack(rows)


def first(store: TokenStore, count: int) -> TokenStore:
    """The first records of a store."""
    return TokenStore.from_sequences((store.id(n), store.sequence(n)) for n in range(count))


def rate(work: Callable[[], object], residues: int) -> float:
    """Residues per second of processor time."""
    start = process_time()
    work()
    return residues / (process_time() - start)


def limit(rows: int) -> float:
    """Residues per second if nothing but the matrix products of SSA had to be computed.

    Each by MKL or by oneDNN, whichever is the faster on this processor.
    """
    seconds = 0.0
    for times, inputs, outputs in SSA_PRODUCTS:
        ways = products(rows, inputs, outputs)
        repeats = max(1, int(2e9 / (2 * rows * inputs * outputs)))
        seconds += times * min(seconds_of(way, repeats) for way in ways) / rows
    return 1 / seconds


def seconds_of(work: Callable[[], object], repeats: int) -> float:
    """Processor time of one call, after a first one."""
    with torch.inference_mode():
        work()
        start = process_time()
        for _ in range(repeats):
            work()
    return (process_time() - start) / repeats


def ssa_rows(rounds: int, proteins: int) -> tuple[list[Row], dict[str, str]]:
    """The published network at full size."""
    torch.manual_seed(0)
    network = PublishedRecurrent(**SSA).eval()
    rng = np.random.default_rng(0)
    lengths_N = proteome_lengths(1024, rng)
    store = simulated(rng.choice(lengths_N[lengths_N < 2000], proteins, replace=False), rng).store
    few = first(store, FEW)
    residues, few_residues = int(store.lengths_N.sum()), int(few.lengths_N.sum())
    level = "projection"
    embedder = make_embedder(network, level, "mean")

    def ours() -> np.ndarray:
        return embed_records(embedder, store, np.arange(len(store)))

    half = make_embedder(RoundedEncoder(network, "bfloat16"), level, "mean")

    def in_16_bits() -> np.ndarray:
        return embed_records(half, store, np.arange(len(store)))

    def tutorial() -> np.ndarray:
        with packed():
            return looped(network, level, few, TENS)

    def one_by_one() -> np.ndarray:
        with packed():
            return looped(network, level, few, 1)

    exact = one_by_one()
    errors = {
        f"largest difference of SSA to one at a time{said}": (
            f"{np.abs(vectors()[: len(few)] - exact).max() / np.abs(exact).max():.1e}"
        )
        for said, vectors in (("", ours), (", bfloat16", in_16_bits))
    }
    sides = {
        "protemb": lambda: rate(ours, residues),
        "bfloat16": lambda: rate(in_16_bits, residues),
        "tutorial's loop": lambda: rate(tutorial, few_residues),
        "one at a time": lambda: rate(one_by_one, few_residues),
        "matrix products alone": lambda: limit(ROWS),
    }
    values = interleave(sides, rounds)
    job = "embed, SSA at full size"
    return [
        row_of(values, "protemb", "tutorial's loop", job, UNIT, target=">= 2.8"),
        row_of(values, "protemb", "one at a time", job, UNIT),
        row_of(values, "protemb", "matrix products alone", job, UNIT, target=">= 0.58"),
        row_of(values, "bfloat16", "tutorial's loop", f"{job}, bfloat16", UNIT, target=">= 5"),
    ], errors


def bilstm_rows(rounds: int, name: str, bound: float) -> list[Row]:
    """BiLSTM(64), the size that is trained here."""
    torch.manual_seed(0)
    classifier = build_classifier(recipe("BiLSTM(64)")).eval()
    encoder, store = classifier.embedder.encoder, load(name).store
    embedder = make_embedder(encoder, "states", "mean")
    few = first(store, 100)

    def loop(size: int) -> float:
        encoder.path = "packed"
        try:
            return rate(lambda: looped(encoder, "states", few, size), int(few.lengths_N.sum()))
        finally:
            encoder.path = "auto"

    sides = {
        "protemb": lambda: rate(
            lambda: embed_records(embedder, store, np.arange(len(store))),
            int(store.lengths_S.sum()),
        ),
        "tutorial's loop": lambda: loop(TENS),
        "one at a time": lambda: loop(1),
    }
    values = interleave(sides, rounds)
    job = f"embed, BiLSTM(64), {name}"
    return [
        row_of(values, "protemb", "tutorial's loop", job, UNIT, target=f">= {bound:g}"),
        row_of(values, "protemb", "one at a time", job, UNIT, target=">= 2.7"),
    ]


def main() -> None:
    """Measure, print and write results/embedding.json."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--proteins", type=int, default=160, help="for SSA (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, errors = ssa_rows(options.rounds, options.proteins)
    settings = {"threads": 1, "proteins for SSA": options.proteins, **errors}
    rows += bilstm_rows(options.rounds, "HA", 5) + bilstm_rows(options.rounds, "proteome-like", 8)
    write("embedding", rows, ["torch", "numpy"], settings=settings)


if __name__ == "__main__":
    main()
