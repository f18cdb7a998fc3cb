"""GB1: from a variant's embedding to its fitness by ridge; writes docs/benchmarks/gb1.json.

    python scripts/benchmark_gb1.py DATA models/unirep64 models/unirep256 ...

DATA is the folder of FLIP's `gb1_*.csv.gz` (Dallago et al. 2021; Wu et al. 2016). Every split has
its own training and test rows; the ridge penalty is chosen inside the training rows.
Scores are Spearman correlations; intervals and paired differences resample test variants, which are
all of one protein: they say nothing of other proteins. Controls: the four sites as one-hot letters,
and the same pipeline with an untrained network.
"""

import csv
import gzip
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from publish_benchmark import PAGES, fill_page
from scipy.stats import rankdata
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from protemb import ProteinEmbedder
from protemb.apps.runs import versions
from protemb.files import write_json
from protemb.intervals import bootstrap_weights, percentile_interval
from protemb.models.encoders import RecurrentEncoder
from protemb.models.loading import EmbeddingModel
from protemb.sequences.alphabet import AA21

SPLITS = ("one_vs_rest", "two_vs_rest", "three_vs_rest", "low_vs_high", "sampled")
PENALTIES = np.logspace(-3, 5, 17)
CONTROL = "one-hot of the four sites"
REPLICATES = 1000


def read(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Sequences, fitness, and which rows train."""
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    fitness_N = np.array([float(row["target"]) for row in rows])
    return [r["sequence"] for r in rows], fitness_N, np.array([r["set"] == "train" for r in rows])


def sites(sequences: list[str]) -> np.ndarray:
    """One-hot letters of the places at which the variants differ."""
    letters_NL = np.array([list(text) for text in sequences])
    varied = [n for n in range(letters_NL.shape[1]) if len(set(letters_NL[:, n])) > 1]
    assert len(varied) == 4, "GB1's library varies four sites"
    return np.concatenate([letters_NL[:, [n]] == np.array(list(AA21.symbols)) for n in varied], 1)


def features(sequences: list[str], models: list[str]) -> dict[str, np.ndarray]:
    """A row for each variant, by name of the representation."""
    torch.manual_seed(0)
    untrained = EmbeddingModel(
        RecurrentEncoder(hidden_dim=256, bidirectional=True).eval(),
        AA21,
        "states",
        "mean",
        "untrained BiLSTM(256)",
        "",
        {},
    )
    found = {CONTROL: sites(sequences).astype(np.float64)}
    for model, name in [(untrained, untrained.name), *((m, Path(m).name) for m in models)]:
        found[name] = ProteinEmbedder(model).fit_transform(sequences).astype(np.float64)
        print(f"{name}: {found[name].shape[1]} features", flush=True)
    return found


def spearman(weights_RN: np.ndarray, one_N: np.ndarray, other_N: np.ndarray) -> np.ndarray:
    """Correlation of ranks in each replicate, ranks taken once over all rows."""
    x_N, y_N = rankdata(one_N), rankdata(other_N)
    weights_RN = weights_RN / weights_RN.sum(1, keepdims=True)
    dx_RN = x_N - (weights_RN @ x_N)[:, None]
    dy_RN = y_N - (weights_RN @ y_N)[:, None]
    covariance = (weights_RN * dx_RN * dy_RN).sum(1)
    spread = (weights_RN * dx_RN**2).sum(1) * (weights_RN * dy_RN**2).sum(1)
    return covariance / np.sqrt(np.maximum(spread, 1e-300))


def main(folder: Path, models: list[str]) -> None:
    """Fit, score, write."""
    splits = {name: read(folder / f"gb1_{name}.csv.gz") for name in SPLITS}
    sequences = splits[SPLITS[0]][0]
    assert all(found[0] == sequences for found in splits.values()), "the same rows in every file"
    vectors = features(sequences, models)
    scores: dict[str, dict[str, Any]] = {name: {} for name in vectors}
    differences: dict[str, dict[str, Any]] = {name: {} for name in vectors}
    for split, (_, fitness_N, train_N) in splits.items():
        test_N = ~train_N
        _, weights_RN = bootstrap_weights(np.arange(test_N.sum()), replicates=REPLICATES, seed=0)
        draws = {}
        for name, vectors_ND in vectors.items():
            pipeline = make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
            predicted_N = pipeline.fit(vectors_ND[train_N], fitness_N[train_N]).predict(
                vectors_ND[test_N]
            )
            ones = np.ones((1, test_N.sum()))
            value = float(spearman(ones, predicted_N, fitness_N[test_N])[0])
            draws[name] = (value, spearman(weights_RN, predicted_N, fitness_N[test_N]))
            scores[name][split] = interval(*draws[name])
        for name, (value, drawn) in draws.items():
            base, base_drawn = draws[CONTROL]
            differences[name][split] = interval(value - base, drawn - base_drawn)
        print(split, {name: round(found[0], 3) for name, found in draws.items()}, flush=True)
    rows = [
        {
            "model": name,
            "kind": "baseline" if name == CONTROL or "untrained" in name else "trained",
            "scores": scores[name],
            "difference": None
            if name == CONTROL
            else {"against": f"{CONTROL}, {SPLITS[-1]}", **differences[name][SPLITS[-1]]},
            "differences": differences[name],
        }
        for name in vectors
    ]
    payload = {
        "commands": [" ".join(["python scripts/benchmark_gb1.py DATA", *models])],
        "data": "gb1",
        "metrics": list(SPLITS),
        "versions": versions(),
        "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
        "rows": sorted(rows, key=lambda row: -row["scores"][SPLITS[-1]]["value"]),
    }
    write_json(PAGES / "gb1.json", payload)
    fill_page("gb1")


def interval(value: float, drawn_R: np.ndarray) -> dict[str, Any]:
    """A value and its percentile interval."""
    return percentile_interval(value, drawn_R).as_dict()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
