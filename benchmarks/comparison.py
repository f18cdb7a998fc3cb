"""Paired comparison: seconds for 20 pairs of models, 10,000 draws each, on 5,000 predictions.

Ours multiplies the draws with sums per group, once for all models. The plain path scores the
resampled records of every pair.
"""

# ruff: noqa: E402
from _report import Row, arguments, interleave, row_of, use_one_core, write

use_one_core()

import time
from collections.abc import Callable
from itertools import combinations

import numpy as np

from protemb.analysis.paired import RunPredictions, compare_models
from protemb.scores import score_difference

N, GROUPS, DRAWS, PLAIN_DRAWS = 5000, 4000, 10_000, 20
NAMES = list("abcdef")
MODELS = 7
PAIRS = list(combinations([f"model {m}" for m in range(MODELS)], 2))[:20]


def simulated(seeds: int) -> list[RunPredictions]:
    """Runs of all models, right in half of the cases; most groups hold one record."""
    rng = np.random.default_rng(0)
    labels_N = rng.integers(0, len(NAMES), N)
    groups_N = np.concatenate([np.arange(GROUPS), rng.integers(0, GROUPS, N - GROUPS)])
    ids_N = np.char.mod("r%d", np.arange(N))
    runs = []
    for m in range(MODELS):
        for seed in range(seeds):
            rows_NC = rng.dirichlet(np.ones(len(NAMES)), N) + np.eye(len(NAMES))[labels_N] / 2
            rows_NC /= rows_NC.sum(1, keepdims=True)
            runs.append(RunPredictions(f"model {m}", ids_N, labels_N, groups_N, rows_NC, seed))
    return runs


def timed(work: Callable[[], object]) -> float:
    """Processor seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compared(
    runs: list[RunPredictions], *, permutations: int = DRAWS, metric: str = "balanced_accuracy"
) -> Callable[[], float]:
    """A function that compares all pairs and returns its seconds."""
    return lambda: timed(
        lambda: compare_models(
            runs,
            NAMES,
            pairs=PAIRS,
            metric=metric,
            replicates=DRAWS,
            permutations=permutations,
        )
    )


def plain(runs: list[RunPredictions]) -> None:
    """The same pairs, scored record by record, with fewer draws."""
    of = {run.model: run for run in runs}
    for first, second in PAIRS:
        one, other = of[first], of[second]
        score_difference(
            one.labels_N,
            one.probabilities_NC,
            other.probabilities_NC,
            one.groups_N,
            NAMES,
            replicates=PLAIN_DRAWS,
        )


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__, rounds=5).parse_args()
    single, three = simulated(1), simulated(3)
    jobs = {
        "bootstrap": compared(single, permutations=2),
        "bootstrap and permutations": compared(single),
        "bootstrap and permutations, three runs of each model": compared(three),
        "the same, macro F1": compared(three, metric="macro_f1"),
    }
    values = interleave(jobs, options.rounds)
    rows = [Row(job, "s", values[job], target="<= 10") for job in jobs]
    rates = interleave(
        {
            "protemb": lambda: DRAWS / compared(single, permutations=2)(),
            "score_difference": lambda: PLAIN_DRAWS / timed(lambda: plain(single)),
        },
        options.rounds,
    )
    rows.append(row_of(rates, "protemb", "score_difference", "bootstrap of 20 pairs", "draws/s"))
    settings = {
        "pairs": len(PAIRS),
        "models": MODELS,
        "draws": DRAWS,
        "records": N,
        "groups": GROUPS,
        "classes": len(NAMES),
        "draws of the plain path": PLAIN_DRAWS,
        "threads": 1,
    }
    write("comparison", rows, ["numpy", "scipy"], settings=settings)


if __name__ == "__main__":
    main()
