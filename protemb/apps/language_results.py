"""What a run that predicted residues leaves behind and prints."""

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
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split
from protemb.training.language_scores import COLUMNS, RecordSums, verdict


@dataclass(frozen=True)
class LanguageOutcome:
    """Everything that a finished training knows.

    Attributes:
        values: the config.
        data: the records.
        split: their parts.
        parts: sums over the records of the validation and test parts, by row of the table.
        units_M: which test records are one unit of the intervals.
        scores: test scores by row of the table (the network first, then baselines).
        history: one dict per epoch.
        label: the network's name in tables.
        rival: the best baseline ("" without baselines).
        gain: nats per residue by which the network is better than it, paired.
    """

    values: Mapping[str, Any]
    data: LabelledSet
    split: Split
    parts: Mapping[str, Mapping[str, RecordSums]]
    units_M: np.ndarray
    scores: Mapping[str, Mapping[str, Interval]]
    history: Sequence[Mapping[str, float]]
    label: str
    rival: str
    gain: Interval | None

    @property
    def best_epoch(self) -> int:
        """Epoch (from 1) that the objective chose; the first of equals."""
        sign = 1 if self.values["objective_mode"] == "max" else -1
        values = [sign * row[self.values["objective"]] for row in self.history]
        return int(self.history[int(np.argmax(values))]["epoch"])


def save_outcome(outcome: LanguageOutcome, folder: Path) -> None:
    """Write predictions, history and learning curves into a run folder."""
    tables = [_rows(outcome, part) for part in outcome.parts]
    with whole_file(folder / "predictions.parquet") as part_path:
        pq.write_table(pa.concat_tables(tables), part_path)
    write_history(outcome.history, folder / "history.csv")
    if outcome.values["figures"]:
        path = folder / "figures" / "learning.png"
        figures.learning_curves(outcome.history, path, outcome.best_epoch)


def _rows(outcome: LanguageOutcome, part: str) -> pa.Table:
    """One row per record.

    Columns: id, part, group (equal numbers are equal sequences), unit (of the intervals; -1 in
    validation), residues (that were predicted), loss (nats, added up) and correct of the network,
    and loss(NAME) and correct(NAME) of the baselines.
    """
    data, records = outcome.data, outcome.split.parts[part]
    rows = outcome.parts[part]
    columns: dict[str, Any] = {
        "id": [data.store.id(record) for record in records],
        "part": [part] * len(records),
        "group": data.sequences_N[records],
        "unit": outcome.units_M if part == "test" else np.full(len(records), -1),
        "residues": rows[outcome.label].residues_M.astype(np.int64),
    }
    for name, sums in rows.items():
        behind = "" if name == outcome.label else f"({name})"
        columns |= {f"loss{behind}": sums.nats_M, f"correct{behind}": sums.right_M}
    return pa.table(columns)


def score_table(scores: Mapping[str, Mapping[str, Interval]], title: str) -> Table:
    """Rows sorted by cross-entropy, best first."""
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("model", no_wrap=True)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right")
    for name, row in sorted(scores.items(), key=lambda item: item[1]["cross_entropy"].value):
        table.add_row(name, *(str(row[metric]) for metric in COLUMNS))
    return table


def print_outcome(outcome: LanguageOutcome, folder: Path) -> None:
    """Show the result table, what it says, and where everything is."""
    units_M = outcome.units_M
    residues = int(outcome.parts["test"][outcome.label].residues_M.sum())
    title = (
        f"{outcome.values['data']['name']}, split {outcome.split.method}: {residues:,} residues "
        f"of {len(units_M):,} test records in {len(np.unique(units_M)):,} groups of like "
        "sequences [95 % interval over these]"
    )
    console().print(score_table(outcome.scores, title))
    if outcome.gain is not None:
        print(verdict(outcome.label, outcome.rival, outcome.gain))
    print(f"Best epoch {outcome.best_epoch} of {len(outcome.history)}. Results: {folder}")
    print(f"Its vectors: protemb embed {folder} new.fasta -o vectors.h5")
