"""Turn a sweep's folder into a committed file of results, and fill the README's table from it.

    python scripts/publish_results.py runs/influenza_ha/question influenza_ha "COMMAND"

writes docs/results/influenza_ha.json and replaces what stands in README.md between
`<!-- results:influenza_ha -->` and `<!-- /results -->`.
"""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from protemb.apps.config import build
from protemb.apps.runs import read_result
from protemb.files import write_json, write_text
from protemb.scores import classification_scores, score_difference
from protemb.sequences.partition import Split
from protemb.training.baselines import fit_baselines

ROOT = Path(__file__).parents[1]
RIVAL = "kmer3"
METRICS = ("balanced_accuracy", "macro_f1", "mcc", "auroc")


def main(folder: Path, name: str, command: str) -> None:
    """Collect, write, fill in."""
    records = [(path.parent, read_result(path.parent)) for path in folder.glob("*/result.json")]
    done = [(path, record) for path, record in records if record and record["status"] == "done"]
    first_path, first = done[0]
    values = first["config"]
    cache = Path(values["paths"]["cache"])
    data = build(values["data"]["source"]).load(cache)
    split = Split.read(first_path / "split.tsv", data.store)
    baselines = fit_baselines(data, split, seed=values["split"]["seed"], cache_dir=cache)
    truth = (data.labels_N[split.test], data.sequences_N[split.test])
    rows = [
        row_of(key, "baseline", probabilities_NC, baselines[RIVAL], truth, data.label_names)
        for key, probabilities_NC in baselines.items()
    ]
    for path, record in done:
        assert (path / "split.tsv").read_text() == (first_path / "split.tsv").read_text()
        table = pq.read_table(path / "predictions.parquet", filters=[("part", "==", "test")])
        probabilities_NC = np.column_stack(
            [table[f"p({label})"].to_numpy() for label in data.label_names]
        )
        label = f"{record['label']}, seed {record['seeds']['model']}"
        row = row_of(label, "trained", probabilities_NC, baselines[RIVAL], truth, data.label_names)
        rows.append(row | {key: record[key] for key in ("epochs", "best_epoch", "parameters")})
    rows.sort(key=lambda row: -row["scores"]["balanced_accuracy"]["value"])
    payload = {
        "command": command,
        "data": first["data"]["name"],
        "split": split.method,
        "test_records": len(split.test),
        "test_sequences": len(np.unique(truth[1])),
        "rival": RIVAL,
        "versions": first["versions"],
        "machine": first["machine"],
        "rows": rows,
    }
    write_json(ROOT / "docs" / "results" / f"{name}.json", payload)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pattern = rf"(<!-- results:{name} -->\n).*?(<!-- /results -->)"
    write_text(
        ROOT / "README.md",
        re.sub(pattern, lambda m: m[1] + markdown(payload) + m[2], readme, flags=re.DOTALL),
    )


def row_of(
    label: str,
    kind: str,
    probabilities_NC: np.ndarray,
    rival_NC: np.ndarray,
    truth: tuple[np.ndarray, np.ndarray],
    names: tuple[str, ...],
) -> dict[str, Any]:
    """One model's scores, and its paired difference to the rival."""
    labels_N, groups_N = truth
    scores = classification_scores(labels_N, probabilities_NC, groups_N, names)
    difference = score_difference(labels_N, probabilities_NC, rival_NC, groups_N, names)
    return {
        "model": label,
        "kind": kind,
        "scores": {metric: interval.as_dict() for metric, interval in scores.items()},
        "difference": difference.as_dict(),
    }


def markdown(payload: dict[str, Any]) -> str:
    """The table as the README shows it."""
    lines = [
        "| model | balanced accuracy | minus 3-mer regression | macro F1 | MCC | AUROC |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in payload["rows"]:
        name = f"**{row['model']}**" if row["kind"] == "trained" else f"{row['model']} (baseline)"
        cells = [interval(row["scores"]["balanced_accuracy"])]
        cells.append("" if row["model"] == payload["rival"] else interval(row["difference"]))
        cells += [f"{row['scores'][metric]['value']:.3f}" for metric in METRICS[1:]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def interval(found: dict[str, float]) -> str:
    """Value and ends, with a real minus."""
    text = f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
    return text.replace("-", "−")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
