"""A sweep of eight small runs in one process, against a process for each run.

Both are `train.py` itself, and are charged with all the processor time that they use. The runs are
one network with eight seeds on simulated proteins, with scores and intervals but without baselines
and figures, which would be computed once for all eight anyway. The sweep writes its summary too.
"""

import sys
import tempfile
from collections.abc import Sequence

from _report import arguments, interleave, row_of, use_one_core, write
from startup import ROOT, SMALL, seconds_of

RUNS = 8
BRIEF = ["baselines=false", "figures=false", "vectors=[]", "trainer.enable_progress_bar=false"]


def commands(network: Sequence[str], epochs: int) -> tuple[list[str], list[list[str]]]:
    """The sweep, and the same runs one by one."""
    train = [sys.executable, str(ROOT / "train.py")]
    options = [*network, *SMALL, *BRIEF, f"trainer.max_epochs={epochs}"]
    seeds = ",".join(map(str, range(RUNS)))
    alone = [[*train, *options, f"seed={seed}"] for seed in range(RUNS)]
    return [*train, "-m", *options, f"seed={seeds}"], alone


def main() -> None:
    """Measure, print and write results/sweep.json."""
    parser = arguments(__doc__, rounds=2)
    parser.add_argument("--epochs", type=int, default=5, help="of each run, default: %(default)s")
    parser.add_argument(
        "--starts",
        type=int,
        default=RUNS,
        help="how many of the runs are started one by one; the others take as long",
    )
    options = parser.parse_args()
    use_one_core()
    with tempfile.TemporaryDirectory() as home:
        sweep, alone = commands(["encoder=embedding", "pooling=mean"], options.epochs)
        alone = alone[: options.starts]
        # Runs per second, so that more is better on both sides.
        sides = {
            "one process": lambda: RUNS / seconds_of(sweep, home),
            "a process for each run": lambda: (
                len(alone) / sum(seconds_of(command, home) for command in alone)
            ),
        }
        values = interleave(sides, options.rounds)
    job = f"{RUNS} runs, mean of the table"
    row = row_of(values, *sides, job, "runs/CPU s", target=">= 4.5")
    settings = {
        "epochs of each run": options.epochs,
        "processes started one by one": options.starts,
        "threads": 1,
    }
    write("sweep", [row], ["hydra-core", "torch", "pytorch-lightning"], settings=settings)


if __name__ == "__main__":
    main()
