"""Fits of a grid of variant cells: 10 folds x 3 seeds of mlp50, two workers against a plain loop.

Ours is what `variants.py` runs for each cell, through two processes of one thread each, in float32,
every result written to disk: new jobs each time. The plain loop is scikit-learn's default network
in one process, in float64, with as many threads as the libraries take. Wall time, as the question
is what two cores do. Features are random, of the widths of real levels, with a part that tells
something of the target; the targets, proteins and one-hots are those of FireProtDB where
`PROTEMB_DATA` has them, else simulated.
"""

import csv
import gzip
import os
import tempfile
import time
import warnings
from functools import partial
from itertools import count
from pathlib import Path

from _report import arguments, interleave, row_of, write

TABLE = "fireprotdb_ddg/fireprot_seed_columns.csv.gz"
FOLDS, SEEDS = 10, (0, 1, 2)


def real_columns() -> tuple[list[list[str]], list[str], list[float]] | None:
    """Structure, wild and new residue of each row; its protein; its ddG."""
    path = Path(os.environ.get("PROTEMB_DATA", "")) / TABLE
    if not path.is_file():
        return None
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = [[row["struc"], row["mutation"][0], row["mutation"][-1]] for row in rows]
    return columns, [row["protein"] for row in rows], [float(row["ddG"]) for row in rows]


def main() -> None:
    """Measure, print and write results/variants_grid.json."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 512], help="of the features")
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    options = parser.parse_args()
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GroupKFold
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from protemb.variants.cell_jobs import evaluate_cells
    from protemb.variants.evaluation import CellData, out_of_fold

    rng = np.random.default_rng(0)
    found = real_columns()
    if found is None:
        columns = rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), (3404, 3))
        proteins_N, target_N = rng.integers(100, size=3404), rng.normal(0.8, 1.6, 3404)
    else:
        columns, proteins_N, target_N = (np.array(part) for part in found)
    N = len(target_N)
    base_NB = np.hstack([np.equal.outer(column, np.unique(column)) for column in columns.T])
    base_NB = base_NB.astype(np.float32)
    fold_N = np.empty(N, np.int64)
    for fold, (_, held_out) in enumerate(GroupKFold(FOLDS).split(base_NB, groups=proteins_N)):
        fold_N[held_out] = fold
    features = {}
    for width in options.widths:
        features[width] = rng.normal(size=(N, width)).astype(np.float32)
        features[width][:, 0] += target_N

    def cell(width: int) -> dict[str, np.ndarray]:
        data = CellData(base_NB, features[width])
        fold_SN, ones_N = np.tile(fold_N, (len(SEEDS), 1)), np.ones(N)
        found = out_of_fold("mlp50", data, target_N, fold_SN, SEEDS, proteins_N, ones_N)
        return {"direct_SN": found.direct_SN}

    def plain_loop(width: int) -> np.ndarray:
        found_SN = np.empty((len(SEEDS), N))
        columns = np.hstack([base_NB, features[width]]).astype(np.float64)
        for place, seed in enumerate(SEEDS):
            for fold in range(FOLDS):
                train, test = fold_N != fold, fold_N == fold
                network = MLPRegressor(hidden_layer_sizes=(50,), random_state=seed)
                model = make_pipeline(StandardScaler(), network)
                found_SN[place, test] = model.fit(columns[train], target_N[train]).predict(
                    columns[test]
                )
        return found_SN

    fits = len(options.widths) * FOLDS * len(SEEDS)
    correlations: dict[str, list[float]] = {"ours": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder:
        numbers = count()

        def ours() -> float:
            # A folder of its own each time: nothing is there yet.
            place = Path(folder) / str(next(numbers))
            start = time.perf_counter()
            jobs = {f"width-{width}": partial(cell, width) for width in options.widths}
            results = evaluate_cells(jobs, options.workers, place)
            rate = fits / (time.perf_counter() - start)
            correlations["ours"] = [
                np.corrcoef(result["direct_SN"].mean(0), target_N)[0, 1]
                for result in results.values()
            ]
            return rate

        def theirs() -> float:
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                results = [plain_loop(width) for width in options.widths]
            rate = fits / (time.perf_counter() - start)
            correlations["plain"] = [
                np.corrcoef(result.mean(0), target_N)[0, 1] for result in results
            ]
            return rate

        sides = {f"{options.workers} workers, float32": ours, "plain loop, float64": theirs}
        values = interleave(sides, options.rounds)
    job = f"mlp50, widths {' and '.join(map(str, options.widths))}"
    rows = [row_of(values, *sides, job, "fits/s")]
    shown = {side: ", ".join(f"{r:.3f}" for r in rs) for side, rs in correlations.items()}
    settings = {
        "table": f"{N} rows, {'FireProtDB' if found else 'simulated'}; {fits} fits a round",
        "pooled Pearson r of the seeds' mean": f"ours {shown['ours']}; plain {shown['plain']}",
    }
    write("variants_grid", rows, ["numpy", "scikit-learn", "joblib"], settings=settings)


if __name__ == "__main__":
    main()
