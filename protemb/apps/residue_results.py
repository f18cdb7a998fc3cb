"""What a run of task=residue leaves behind and prints.

Shape letters: M = test records, T = residues of a part's records end to end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from protemb.analysis import figures
from protemb.apps.results import console, write_history
from protemb.files import whole_file
from protemb.intervals import Interval
from protemb.sequences.partition import Split
from protemb.sequences.residue_set import ResidueSet
from protemb.sequences.segments import NOT_COUNTED
from protemb.tagging_scores import Tagging, confusion_counts

COLUMNS = {
    "accuracy": "accuracy",
    "protein_accuracy": "per protein",
    "macro_f1": "macro F1",
    "sov": "SOV",
    "membrane_topology": "topology",
    "kind": "kind",
    "balanced_kind": "balanced kind",
}
"""Headings of the table, which shows those that the data have."""


@dataclass(frozen=True)
class ResidueOutcome:
    """Everything that a finished training knows.

    Attributes:
        values: the config.
        data: the records.
        split: their parts.
        tagging: true labels of the test part.
        predicted: predicted codes_T of the validation and test records, by part.
        units_M: which test records are one unit of the intervals.
        scores: test scores by row of the table (the network first, then baselines).
        differences: by score, the best baseline and the network's score minus its, paired.
        history: one dict per epoch.
        label: the network's name in tables.
    """

    values: Mapping[str, Any]
    data: ResidueSet
    split: Split
    tagging: Tagging
    predicted: Mapping[str, np.ndarray]
    units_M: np.ndarray
    scores: Mapping[str, Mapping[str, Interval]]
    differences: Mapping[str, tuple[str, Interval]]
    history: Sequence[Mapping[str, float]]
    label: str

    @property
    def best_epoch(self) -> int:
        """Epoch (from 1) that the objective chose; the first of equals."""
        sign = 1 if self.values["objective_mode"] == "max" else -1
        values = [sign * row[self.values["objective"]] for row in self.history]
        return int(self.history[int(np.argmax(values))]["epoch"])


def save_residue_outcome(outcome: ResidueOutcome, folder: Path) -> None:
    """Write predictions, history and figures into a run folder."""
    tables = [_rows(outcome, part) for part in outcome.predicted]
    with whole_file(folder / "predictions.parquet") as part_path:
        pq.write_table(pa.concat_tables(tables), part_path)
    write_history(outcome.history, folder / "history.csv")
    if outcome.values["figures"]:
        draw_residue_figures(outcome, folder / "figures")


def _rows(outcome: ResidueOutcome, part: str) -> pa.Table:
    """One row per protein of a part.

    Columns: id, part, group (equal numbers are equal sequences), unit (of the intervals; -1 in
    validation), length, labels and predicted (one letter per residue; '?' in labels does not
    count), counted and correct (residues).
    """
    data, records = outcome.data, outcome.split.parts[part]
    codes_T, offsets_M1 = data.flat(records)
    predicted_T, inner = outcome.predicted[part], offsets_M1[1:-1]
    counted_T = codes_T != NOT_COUNTED
    right_T = counted_T & (codes_T == predicted_T)
    return pa.table(
        {
            "id": [data.labelled.store.id(record) for record in records],
            "part": [part] * len(records),
            "group": data.labelled.sequences_N[records],
            "unit": outcome.units_M if part == "test" else np.full(len(records), -1),
            "length": np.diff(offsets_M1),
            "labels": [data.text(codes_L) for codes_L in np.split(codes_T, inner)],
            "predicted": [data.text(codes_L) for codes_L in np.split(predicted_T, inner)],
            "counted": np.add.reduceat(counted_T, offsets_M1[:-1], dtype=np.int64),
            "correct": np.add.reduceat(right_T, offsets_M1[:-1], dtype=np.int64),
        }
    )


def draw_residue_figures(outcome: ResidueOutcome, folder: Path) -> None:
    """Confusion of labels, learning curves, scores beside baselines."""
    counts_CC = confusion_counts(outcome.tagging, outcome.predicted["test"])
    figures.confusion_matrix(counts_CC, list(outcome.data.letters), folder / "confusion.png")
    figures.learning_curves(outcome.history, folder / "learning.png", outcome.best_epoch)
    for metric, words in (("accuracy", "residue accuracy"), ("sov", "segment overlap (SOV'99)")):
        figures.scores_figure(
            [(name, row[metric]) for name, row in outcome.scores.items()],
            folder / f"{metric}.png",
            ours=(outcome.label,),
            metric=f"{words} on the test part",
        )


METRICS = {"accuracy": "residue accuracy", "sov": "segment overlap"}


def residue_verdict(name: str, differences: Mapping[str, tuple[str, Interval]]) -> str:
    """Say in words what the paired differences to the best baselines show.

    Accuracy alone would mislead: a network can be right about more residues and yet cut the
    segments that a baseline leaves whole.

    >>> print(residue_verdict("cnn", {"accuracy": ("window", Interval(0.05, 0.04, 0.06))}))
    cnn is above window by 0.050 [0.040, 0.060] residue accuracy (paired, 95 %).
    >>> print(residue_verdict("cnn", {"sov": ("majority", Interval(0.01, -0.01, 0.03))}))
    cnn shows no difference to majority, 0.010 [-0.010, 0.030] segment overlap (paired, 95 %).
    """
    parts = []
    for metric, words in METRICS.items():
        if metric not in differences:
            continue
        rival, gap = differences[metric]
        if gap.low > 0:
            parts.append(f"is above {rival} by {gap} {words}")
        elif gap.high < 0:
            size = Interval(-gap.value, -gap.high, -gap.low)
            parts.append(f"is below {rival} by {size} {words}")
        else:
            parts.append(f"shows no difference to {rival}, {gap} {words}")
    return f"{name} {' and '.join(parts)} (paired, 95 %)."


def residue_table(outcome: ResidueOutcome) -> Table:
    """Rows sorted by accuracy, best first; the intervals of the other scores are in result.json."""
    units_M, values = outcome.units_M, outcome.values
    title = (
        f"{values['data']['name']}, split {outcome.split.method}: {len(units_M)} test proteins in "
        f"{len(np.unique(units_M))} groups of like sequences [95 % interval over these]"
    )
    shown = {key: name for key, name in COLUMNS.items() if key in outcome.scores[outcome.label]}
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("model", no_wrap=True)
    for heading in shown.values():
        table.add_column(heading, justify="right")
    for name, row in sorted(outcome.scores.items(), key=lambda item: -item[1]["accuracy"].value):
        others = [f"{row[key].value:.3f}" for key in shown if key != "accuracy"]
        table.add_row(name, str(row["accuracy"]), *others)
    return table


def print_residue_outcome(outcome: ResidueOutcome, folder: Path) -> None:
    """Show the result table, the verdict and where everything is."""
    console().print(residue_table(outcome))
    if outcome.differences:
        print(residue_verdict(outcome.label, outcome.differences))
    print(f"Best epoch {outcome.best_epoch} of {len(outcome.history)}. Results: {folder}")
