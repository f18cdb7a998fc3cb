"""Scan of a protein: all single substitutions of 500 residues, against embedding each variant anew.

A BiLSTM(64) of one layer with random weights. Ours runs a variant from its place on, and with a
tolerance only until it has come back to the wild type. "Each variant anew" is protemb's own
embedding of the 9,500 sequences, batched by length; "one at a time" runs a sample of them.
"""

# ruff: noqa: E402
from _report import arguments, interleave, row_of, use_one_core, write

use_one_core()

from collections.abc import Callable
from time import process_time

import numpy as np
import torch

from protemb.models.encoders import RecurrentEncoder
from protemb.models.loading import make_embedder
from protemb.models.scanning import scan_vectors
from protemb.sequences.alphabet import AA21
from protemb.sequences.tokens import TokenStore
from protemb.variants.scan import all_substitutions
from protemb.vectors.embed import RESIDUES, embed_records

LENGTH, HIDDEN, TOLERANCE = 500, 64, 1e-6
SAMPLE = 200
"""Variants that go one at a time."""
REPEATS = 10
"""Scans at a position that are timed together: one takes a few hundredths of a second."""
LEVEL, UNIT = "states", "variants/s"
ANEW, ALONE = "each variant anew", "one at a time"
SMALLER = RESIDUES // 2
ANEW_SMALLER = f"each variant anew, {SMALLER:,} residues a batch"


class Variants:
    """A random protein, and all single substitutions of it."""

    def __init__(self, length: int) -> None:
        rng = np.random.default_rng(0)
        self.tokens_L = rng.integers(0, AA21.size - 1, length)
        sequence = AA21.decode(self.tokens_L)
        mutations = all_substitutions(sequence)
        self.places_V = np.array([mutation.positions[0] for mutation in mutations])
        letters = [mutation.substitutions[0].new for mutation in mutations]
        self.new_V = np.array([AA21.symbols.index(letter) for letter in letters])
        self.store = TokenStore.from_sequences(
            (str(mutation), mutation.apply(sequence)) for mutation in mutations
        )

    def __len__(self) -> int:
        return len(self.new_V)

    def sample(self) -> np.ndarray:
        """Variants from the whole protein."""
        return np.linspace(0, len(self) - 1, SAMPLE).astype(np.int64)


class Scan:
    """The ways to the vectors of one pooling."""

    def __init__(self, encoder: RecurrentEncoder, variants: Variants, pooling: str) -> None:
        self.encoder, self.variants, self.pooling = encoder, variants, pooling
        self.embedder = make_embedder(encoder, LEVEL, pooling)

    def ours(self, tolerance: float = 0.0) -> np.ndarray:
        """What the variants share is computed once."""
        pair, variants = (LEVEL, self.pooling), self.variants
        return scan_vectors(
            self.encoder,
            variants.tokens_L,
            variants.places_V,
            variants.new_V,
            [pair],
            tolerance=tolerance,
        )[pair]

    def anew(self, records: np.ndarray | None = None, residues: int = RESIDUES) -> np.ndarray:
        """Each variant is a sequence of its own."""
        records = np.arange(len(self.variants)) if records is None else records
        return embed_records(
            self.embedder,
            self.variants.store,
            records,
            positions_M=self.variants.places_V[records] if self.pooling == "position" else None,
            residues=residues,
        )

    def alone(self) -> np.ndarray:
        """A sample, one sequence to a batch."""
        return self.anew(self.variants.sample(), residues=1)


def rate(work: Callable[[], object], variants: int, repeats: int = 1) -> float:
    """Variants per second of processor time."""
    start = process_time()
    for _ in range(repeats):
        work()
    return variants * repeats / (process_time() - start)


def error(found_VD: np.ndarray, expected_VD: np.ndarray) -> str:
    """Largest difference, as a share of the largest value."""
    return f"{np.abs(found_VD - expected_VD).max() / np.abs(expected_VD).max():.1e}"


def main() -> None:
    """Measure, print and write results/scan.json."""
    options = arguments(__doc__, rounds=3).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = RecurrentEncoder(hidden_dim=HIDDEN, bidirectional=True).eval()
    variants = Variants(LENGTH)
    count = len(variants)
    mean, position = (Scan(encoder, variants, word) for word in ("mean", "position"))
    exact_VD, anew_VD = mean.ours(), mean.anew()
    settings = {
        "residues": LENGTH,
        "variants": count,
        "largest difference, exact": error(exact_VD, anew_VD),
        f"largest difference, tolerance {TOLERANCE:g}": error(mean.ours(TOLERANCE), anew_VD),
        "largest difference, position": error(position.ours(), position.anew()),
        "sample of one at a time": SAMPLE,
        "threads": 1,
    }
    jobs = {
        "scan, mean, exact": (lambda: rate(mean.ours, count), mean, ">= 2"),
        f"scan, mean, tolerance {TOLERANCE:g}": (
            lambda: rate(lambda: mean.ours(TOLERANCE), count),
            mean,
            ">= 5",
        ),
        "scan, position": (lambda: rate(position.ours, count, REPEATS), position, ">= 100"),
    }
    sides = {job: measure for job, (measure, _, _) in jobs.items()}
    for scan in (mean, position):
        sides[f"{scan.pooling}: {ANEW}"] = lambda scan=scan: rate(scan.anew, count)
        sides[f"{scan.pooling}: {ANEW_SMALLER}"] = lambda scan=scan: rate(
            lambda: scan.anew(residues=SMALLER), count
        )
        sides[f"{scan.pooling}: {ALONE}"] = lambda scan=scan: rate(scan.alone, SAMPLE)
    values = interleave(sides, options.rounds)
    rows = []
    for job, (_, scan, target) in jobs.items():
        for theirs, bound in ((ANEW, target), (ANEW_SMALLER, ""), (ALONE, "")):
            values[theirs] = values[f"{scan.pooling}: {theirs}"]
            rows.append(row_of(values, job, theirs, job, UNIT, target=bound))
    write("scan", rows, ["torch", "numpy"], settings=settings)


if __name__ == "__main__":
    main()
