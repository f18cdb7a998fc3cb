"""What a grid leaves behind and what it prints."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.markup import escape
from rich.table import Table

from protemb.apps.results import console
from protemb.apps.variants.fitted import save_fitted
from protemb.apps.variants.outcome import Outcome
from protemb.apps.variants.plan import BASELINE
from protemb.apps.variants.report import write_report
from protemb.apps.variants.scoring import metrics_of
from protemb.apps.variants.verdict import verdict
from protemb.files import whole_file

TOP = 12
"""Cells that the terminal shows; the report has all."""


def save_outcome(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Write predictions, scores, the fitted model, figures and the report; return facts."""
    write_predictions(outcome, folder / "predictions.parquet")
    write_scores(outcome, folder / "cells.parquet")
    save_fitted(outcome, folder / "model")
    said = verdict(outcome)
    write_report(outcome, folder, said)
    table = outcome.table
    return {
        "data": {
            "name": outcome.values["table"]["name"],
            "fingerprint": table.fingerprint,
            "rows": len(table),
            "proteins": len(set(table.proteins_N.tolist())),
            "reading": table.report,
        },
        "folds": dict(outcome.fold_facts),
        "units": {"count": len(np.unique(outcome.units_N))},
        "metric": outcome.metric,
        "verdict": list(said),
        "scores": {
            name: {metric: score.as_dict() for metric, score in row.items()}
            for name, row in outcome.scores.items()
        },
        "by_seed": {name: _finite(each) for name, each in outcome.by_seed.items()},
        "contrasts": {name: each.as_dict() for name, each in outcome.contrasts.items()},
        "antisymmetry": {name: each.as_dict() for name, each in outcome.reverse.items()},
        "leak": outcome.leak.as_dict() if outcome.leak else None,
        "nested": _nested_facts(outcome),
    }


def _finite(values: Sequence[float]) -> list[float | None]:
    """JSON has no NaN."""
    return [None if math.isnan(value) else value for value in values]


def _nested_facts(outcome: Outcome) -> dict[str, Any] | None:
    choice, joined = outcome.choice, outcome.joined
    if choice is None or joined is None:
        return None
    return {
        "folds": len(choice.names_F),
        "chosen": list(choice.names_F),
        **dict(zip(("choosing", "honest"), _finite([choice.choosing, choice.honest]), strict=True)),
        "naive": {"name": choice.naive_name, "score": _finite([choice.naive])[0]},
        "strategies": {
            name: {
                "score": each.score.as_dict(),
                "gain": each.gain.as_dict(),
                "members": [dict(members) for members in each.made.members_F],
                "facts": [
                    dict(zip(facts, _finite(list(facts.values())), strict=True))
                    for facts in each.made.facts_F
                ],
            }
            for name, each in joined.items()
        },
    }


def write_predictions(outcome: Outcome, path: Path) -> None:
    """One row per row of the table: protein, mutation, target, and every cell's mean prediction.

    Predictions are of held-out rows, means over seeds; of labels, one column per class.
    """
    table = outcome.table
    columns: dict[str, Any] = {
        "protein": table.proteins_N.tolist(),
        "mutation": [str(mutation) for mutation in table.mutations],
        "unit": np.unique(outcome.units_N, return_inverse=True)[1],
    }
    if table.labels_N is None:
        columns["value"] = table.values_N
    else:
        columns["label"] = np.array(table.label_names)[table.labels_N].tolist()
    for name, predicted in outcome.predictions.items():
        mean = predicted.mean(0)
        if table.labels_N is None:
            columns[name] = mean
        else:
            for c, label in enumerate(table.label_names):
                columns[f"{name} p({label})"] = mean[:, c]
    with whole_file(path) as part:
        pq.write_table(pa.table(columns), part)


def write_scores(outcome: Outcome, path: Path) -> None:
    """One row per cell: its four words, every score with its interval, what it adds."""
    rows = []
    for name, planned in outcome.planned.items():
        cell = planned.cell
        row: dict[str, Any] = {"cell": name, "trained": planned.trained}
        for word in ("encoder", "level", "pooling", "features"):
            row[word] = getattr(cell, word) if cell else None
        for metric, score in outcome.scores[name].items():
            row |= {f"{metric}/{end}": value for end, value in score.as_dict().items()}
        for seed, value in zip(outcome.values["seeds"], outcome.by_seed[name], strict=True):
            row[f"{outcome.metric}/seed {seed}"] = value
        if name in outcome.contrasts:
            contrast = outcome.contrasts[name].as_dict()
            for which in ("difference", "corrected"):
                row |= {f"{which}/{end}": value for end, value in contrast[which].items()}
            row |= {"p": contrast["p"], "p_holm": contrast["p_holm"]}
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with whole_file(path) as part:
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), part)


def print_outcome(outcome: Outcome, folder: Path) -> None:
    """The best cells beside the baseline, the verdict, and where everything is."""
    metric = outcome.metric.replace("_", " ")
    units = len(np.unique(outcome.units_N))
    values = outcome.values
    title = (
        f"{values['table']['name']}: {len(outcome.table):,} rows, {values['regressor']}, "
        f"{outcome.fold_facts['folds']} folds by {outcome.fold_facts['kind']} "
        f"[95 % intervals over {units} groups]"
    )
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("cell", no_wrap=True)
    other = metrics_of(outcome.table)[1]
    for heading in (metric, "minus baseline", "p (Holm)", other.replace("_", " ")):
        table.add_column(heading, justify="right", no_wrap=True)
    shown = outcome.cells[:TOP]
    for name in sorted([*shown, BASELINE], key=lambda name: -outcome.score(name).value):
        contrast = outcome.contrasts.get(name)
        table.add_row(
            name + (" *" if contrast and contrast.marked else ""),
            escape(str(outcome.score(name))),
            escape(str(contrast.difference)) if contrast else "",
            f"{contrast.p_holm:.3g}" if contrast else "",
            f"{outcome.scores[name][other].value:.3f}",
            style="bold" if name == BASELINE else None,
        )
    console().print(table)
    if len(outcome.cells) > TOP:
        print(f"{len(outcome.cells) - TOP} more cells: cells.parquet and report.html")
    print("\n".join(verdict(outcome)))
    print(f"Results: {folder}")
