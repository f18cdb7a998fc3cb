"""The whole question: minutes for its sweep on the influenza set, and for the report.

Trains each of the six networks of `experiment=question` once, two at a time; the sweep trains
them for three seeds on two splits, so it takes six times that. Then makes the report of these
runs anew, with the default options. Wall-clock time: meaningful on an idle machine only.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _report import Row, arguments, write

ROOT = Path(__file__).parents[1]
HOME = Path(os.environ.get("PROTEMB_HOME", ROOT))
JOBS, REPEATS = 2, 6
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def timed(*command: str) -> float:
    """Seconds of a command that has to succeed."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], env=ENVIRONMENT, check=True, stdout=sys.stderr)
    return time.perf_counter() - start


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__, rounds=1).parse_args()
    if not (HOME / "data" / "influenza_ha").is_dir():
        sys.exit("no data/influenza_ha here: `protemb fetch influenza_ha` makes it")
    trained: list[float] = []
    reported: list[float] = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            sweep = Path(folder) / "sweep"
            trained.append(
                timed(
                    str(ROOT / "train.py"),
                    "experiment=question",
                    "data=influenza_ha",
                    "split=unique",
                    "seed=0",
                    "trainer.enable_progress_bar=false",
                    "hydra/launcher=joblib",
                    f"hydra.launcher.n_jobs={JOBS}",
                    "hydra.callbacks.summary.report=false",
                    f"hydra.sweep.dir={sweep}",
                )
            )
            for kept in sweep.glob("*/analysis"):
                shutil.rmtree(kept)
            reported.append(timed("-m", "protemb.cli", "report", str(sweep), "--jobs", str(JOBS)))
    whole = [REPEATS * seconds / 60 for seconds in trained]
    rows = [
        Row("train each of the six networks once, two at a time", "s", trained),
        Row("the whole sweep, six times that", "min", whole, target="<= 60"),
        Row("report of finished runs", "s", reported, target="<= 120"),
    ]
    write("question", rows, ["torch", "pytorch-lightning", "captum"], settings={"jobs": JOBS})


if __name__ == "__main__":
    main()
