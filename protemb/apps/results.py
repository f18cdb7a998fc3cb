"""What a run leaves behind and what it prints: predictions, vectors, figures, the result table."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from protemb import __version__
from protemb.analysis import figures, maps
from protemb.errors import ConfigError
from protemb.files import whole_file
from protemb.intervals import Interval
from protemb.models.checkpoint import TrainedClassifier
from protemb.models.loading import embedding_model
from protemb.scores import confusion
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split
from protemb.vectors.embed import embed_records
from protemb.vectors.table import VectorTable

OBJECTIVE = "balanced_accuracy"
COLUMNS = {
    OBJECTIVE: "balanced accuracy",
    "macro_f1": "macro F1",
    "mcc": "MCC",
    "auroc": "AUROC",
    "log_loss": "log loss",
    "calibration_error": "ECE",
}


@dataclass(frozen=True)
class Outcome:
    """Everything that a finished training knows.

    Attributes:
        values: the config.
        data: the records.
        split: their parts.
        model: the best checkpoint.
        probabilities: class probabilities of the validation and test records, by part.
        baselines: those of the test records, by baseline.
        units_M: which test records are one unit of the intervals.
        scores: test scores by row of the table (the network first, then baselines).
        history: one dict per epoch.
        label: the network's name in tables.
        rival: the best baseline ("" without baselines).
        difference: the network's balanced accuracy minus the rival's, paired.
    """

    values: Mapping[str, Any]
    data: LabelledSet
    split: Split
    model: TrainedClassifier
    probabilities: Mapping[str, np.ndarray]
    baselines: Mapping[str, np.ndarray]
    units_M: np.ndarray
    scores: Mapping[str, Mapping[str, Interval]]
    history: Sequence[Mapping[str, float]]
    label: str
    rival: str
    difference: Interval | None

    @property
    def best_epoch(self) -> int:
        """Epoch (from 1) that the objective chose; the first of equals."""
        sign = 1 if self.values["objective_mode"] == "max" else -1
        values = [sign * row[self.values["objective"]] for row in self.history]
        return int(self.history[int(np.argmax(values))]["epoch"])


def save_outcome(outcome: Outcome, folder: Path) -> None:
    """Write predictions, history, vectors and figures into a run folder."""
    write_predictions(outcome, folder / "predictions.parquet")
    if outcome.baselines:
        write_baselines(outcome, folder / "baselines.parquet")
    write_history(outcome.history, folder / "history.csv")
    tables = {name: vector_table(outcome, name) for name in _wanted(outcome)}
    for table in tables.values():
        name = f"{table.attributes['level']}-{table.attributes['pooling']}.h5"
        table.write(folder / "vectors" / name)
    if outcome.values["figures"]:
        draw_figures(outcome, tables, folder / "figures")


def _wanted(outcome: Outcome) -> list[str]:
    """Names of the vector tables to write."""
    if outcome.values["vectors"] is not None:
        return outcome.values["vectors"]
    levels = outcome.model.model.embedder.encoder.levels
    return ["own", "table/mean"] if "table" in levels else ["own"]


def write_predictions(outcome: Outcome, path: Path) -> None:
    """One row per validation and test record.

    Columns: id, part, group (equal numbers are equal sequences), unit (of the intervals; -1 in
    validation), label, predicted, and a probability per class.
    """
    parts = [
        _prediction_rows(outcome, part, probabilities_NC)
        for part, probabilities_NC in outcome.probabilities.items()
    ]
    with whole_file(path) as part_path:
        pq.write_table(pa.concat_tables(parts), part_path)


def write_baselines(outcome: Outcome, path: Path) -> None:
    """The same columns for the baselines' test predictions, and which baseline."""
    parts = [
        _prediction_rows(outcome, "test", probabilities_NC).append_column(
            "baseline", pa.array([name] * len(probabilities_NC))
        )
        for name, probabilities_NC in outcome.baselines.items()
    ]
    with whole_file(path) as part_path:
        pq.write_table(pa.concat_tables(parts), part_path)


def _prediction_rows(outcome: Outcome, part: str, probabilities_NC: np.ndarray) -> pa.Table:
    data, names = outcome.data, np.array(outcome.data.label_names)
    records = outcome.split.parts[part]
    columns: dict[str, Any] = {
        "id": [data.store.id(record) for record in records],
        "part": [part] * len(records),
        "group": data.sequences_N[records],
        "unit": outcome.units_M if part == "test" else np.full(len(records), -1),
        "label": names[data.labels_N[records]].tolist(),
        "predicted": names[probabilities_NC.argmax(1)].tolist(),
    }
    columns |= {f"p({name})": probabilities_NC[:, c] for c, name in enumerate(names)}
    return pa.table(columns)


def write_history(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """One row per epoch."""
    with whole_file(path) as part, open(part, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, sorted({name for row in history for name in row}))
        writer.writeheader()
        writer.writerows(history)


def vector_table(outcome: Outcome, name: str) -> VectorTable:
    """Vectors of all records; `name` is `own` or level/pooling."""
    level, pooling = None, None
    if name != "own":
        level, slash, pooling = name.partition("/")
        if not slash:
            raise ConfigError("vectors", name, "own, or level/pooling such as table/mean")
    embedder = embedding_model(outcome.model, outcome.label).embedder(level, pooling)
    data = outcome.data
    vectors_ND = embed_records(
        embedder,
        data.store,
        np.arange(len(data)),
        positions_M=data.fields.get("position") if embedder.pooling.needs_positions else None,
        residues=outcome.values["task"]["residues"],
        device=next(embedder.parameters()).device,
    )
    attributes = {
        "level": embedder.level,
        "pooling": embedder.pooling_name,
        "model": outcome.label,
        "checkpoint": outcome.model.sha256,
        "alphabet": data.store.alphabet.name,
        "data": data.fingerprint,
        "protemb": __version__,
    }
    labels_N = np.array(data.label_names)[data.labels_N]
    return VectorTable(list(data.store.ids()), vectors_ND, labels_N, attributes)


def draw_figures(outcome: Outcome, tables: Mapping[str, VectorTable], folder: Path) -> None:
    """Confusion matrix, learning curves, scores beside baselines, t-SNE of the test records."""
    data, test = outcome.data, outcome.split.test
    predicted_N = outcome.probabilities["test"].argmax(1)
    counts_CC = confusion(data.labels_N[test], predicted_N, len(data.label_names))
    figures.confusion_matrix(counts_CC, data.label_names, folder / "confusion.png")
    figures.learning_curves(outcome.history, folder / "learning.png", outcome.best_epoch)
    figures.scores_figure(
        [(name, row["balanced_accuracy"]) for name, row in outcome.scores.items()],
        folder / "scores.png",
        ours=(outcome.label,),
        metric="balanced accuracy on the test part",
        chance=1 / len(data.label_names),
    )
    labels_N = np.array(data.label_names)[data.labels_N[test]]
    panels = [
        (
            f"{table.attributes['level']} / {table.attributes['pooling']}",
            maps.tsne(table.vectors_ND[test], seed=outcome.values["seed"], stratify=labels_N),
        )
        for table in tables.values()
    ]
    if panels:
        figures.map_figure(panels, labels_N, folder / "tsne.png")


def verdict(name: str, rival: str, difference: Interval) -> str:
    """Say in words what a paired difference of balanced accuracy shows.

    >>> verdict("bilstm/mean", "kmer3", Interval(-0.2, -0.25, -0.15))
    'bilstm/mean is below kmer3 by 0.200 [0.150, 0.250] balanced accuracy (paired, 95 %).'
    >>> verdict("bilstm/mean", "kmer3", Interval(0.02, -0.01, 0.05))
    'bilstm/mean and kmer3: no difference shown, 0.020 [-0.010, 0.050] (paired, 95 %).'
    """
    if difference.low > 0:
        return f"{name} is above {rival} by {difference} balanced accuracy (paired, 95 %)."
    if difference.high < 0:
        size = Interval(-difference.value, -difference.high, -difference.low)
        return f"{name} is below {rival} by {size} balanced accuracy (paired, 95 %)."
    return f"{name} and {rival}: no difference shown, {difference} (paired, 95 %)."


def score_table(scores: Mapping[str, Mapping[str, Interval]], title: str) -> Table:
    """Rows sorted by balanced accuracy, best first."""
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("model", no_wrap=True)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right")
    ranked = sorted(scores.items(), key=lambda item: -item[1]["balanced_accuracy"].value)
    for name, row in ranked:
        # Intervals of the other scores are in result.json: a table must fit a terminal.
        others = [f"{row[metric].value:.3f}" for metric in COLUMNS if metric != OBJECTIVE]
        table.add_row(name, str(row[OBJECTIVE]), *others)
    return table


def console() -> Console:
    """The terminal; a file or pipe gets lines that are wide enough for a table."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=120)


def print_outcome(outcome: Outcome, folder: Path) -> None:
    """Show the result table and where everything is."""
    units_M = outcome.units_M
    title = (
        f"{outcome.values['data']['name']}, split {outcome.split.method}: {len(units_M)} test "
        f"records in {len(np.unique(units_M))} groups of like sequences [95 % interval over these]"
    )
    console().print(score_table(outcome.scores, title))
    if outcome.difference is not None:
        print(verdict(outcome.label, outcome.rival, outcome.difference))
    print(f"Best epoch {outcome.best_epoch} of {len(outcome.history)}. Results: {folder}")
