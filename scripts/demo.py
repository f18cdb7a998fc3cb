"""The main job on simulated proteins: three encoders, and the question that they answer.

`human` and `swine` in the demo data differ in the order of two segments and in nothing else, so
whatever averages residues must guess between them. Run by `make demo`.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from rich.table import Table

from protemb.apps.naming import sweep_name
from protemb.apps.results import console
from protemb.apps.runs import read_result
from protemb.intervals import Interval, bootstrap_weights, percentile_interval

ROOT = Path(__file__).parents[1]
TWINS = ("human", "swine")
SWEEP = ["-m", "encoder=embedding,lstm,bilstm", "pooling=mean", "trainer.max_epochs=15"]


def main() -> None:
    """Train, then look at the two hosts that differ in order alone."""
    command = [sys.executable, str(ROOT / "train.py"), *SWEEP, *sys.argv[1:]]
    # Networks this small gain nothing from a second thread, and lose much on a busy machine.
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    code = subprocess.run(command, cwd=ROOT, env=os.environ | threads, check=False).returncode
    if code:
        sys.exit(code)
    home = Path(os.environ.get("PROTEMB_HOME", ROOT))
    folder = home / "runs" / "demo" / sweep_name(command[2:])
    table = Table(title=f"{TWINS[0]} or {TWINS[1]}? Chance is 0.500", title_justify="left")
    table.add_column("model", no_wrap=True)
    table.add_column("balanced accuracy [95 %]", justify="right")
    table.add_column("")
    for path in sorted(folder.glob("*/predictions.parquet")):
        record = read_result(path.parent)
        score = twin_accuracy(path)
        told = "sees the order" if score.low > 0.5 else "at chance: order is invisible to it"
        table.add_row(record["label"], str(score), told)
    console().print(table)
    print(f"Figures, vectors, predictions: {folder}")


def twin_accuracy(path: Path) -> Interval:
    """Balanced accuracy between the twins alone; whole families (of both hosts) are resampled."""
    table = pq.read_table(path, filters=[("part", "==", "test"), ("label", "in", TWINS)])
    first, second = (table[f"p({name})"].to_numpy() for name in TWINS)
    is_first_N = np.array(table["label"].to_pylist()) == TWINS[0]
    # Equal probabilities are a guess: half right.
    right_N = np.where(first == second, 0.5, (first > second) == is_first_N)
    families_N = np.array([record_id.split("/")[1] for record_id in table["id"].to_pylist()])
    group_of_N, weights_RG = bootstrap_weights(families_N, replicates=1000, seed=0)
    weights_RN = np.concatenate([np.ones((1, len(right_N))), weights_RG[:, group_of_N]])
    sides = [
        weights_RN[:, side] @ right_N[side] / weights_RN[:, side].sum(1)
        for side in (is_first_N, ~is_first_N)
    ]
    scores_R1 = np.mean(sides, axis=0)
    return percentile_interval(float(scores_R1[0]), scores_R1[1:])


if __name__ == "__main__":
    main()
