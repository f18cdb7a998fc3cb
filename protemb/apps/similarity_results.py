"""What a run of task `similarity` leaves behind and prints: predictions, scores, tables.

Shape letters: N = records of the data, P = pairs, K = levels above the lowest, so K + 1 levels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.table import Table

from protemb.analysis import figures
from protemb.apps.results import console, write_history
from protemb.files import whole_file
from protemb.intervals import Interval
from protemb.models.pretrained.similarity import Similarity
from protemb.pair_scores import pair_scores, score_differences, score_intervals
from protemb.sequences.pairs import Pairs
from protemb.sequences.tokens import TokenStore

OBJECTIVE = "spearman"
RELATED = "related"
"""What the label 1 of a pairs file means."""

Rows = Mapping[str, Mapping[str, Interval]]


@dataclass(frozen=True)
class PairOutcome:
    """Everything that a finished training knows.

    Attributes:
        values: the config.
        names: of the levels from 1 on.
        label: the network's name in tables.
        store: the records.
        units_N: which records are one unit of the intervals.
        pairs: by part: `test`, and `ready` where a file was given.
        scores: scores_P by part and row of the table (the network first, then what it is compared
            with).
        similarity: turns the network's scores into levels.
        history: one dict per epoch.
    """

    values: Mapping[str, Any]
    names: Sequence[str]
    label: str
    store: TokenStore
    units_N: np.ndarray
    pairs: Mapping[str, Pairs]
    scores: Mapping[str, Mapping[str, np.ndarray]]
    similarity: Similarity
    history: Sequence[Mapping[str, float]]

    @property
    def best_epoch(self) -> int:
        """Epoch (from 1) that the objective chose; the first of equals."""
        sign = 1 if self.values["objective_mode"] == "max" else -1
        values = [sign * row[self.values["objective"]] for row in self.history]
        return int(self.history[int(np.argmax(values))]["epoch"])

    def chances(self, part: str) -> np.ndarray:
        """Probabilities of the levels by the network, chances_PK (K + 1 columns)."""
        return self.similarity.levels(torch.from_numpy(self.scores[part][self.label])).numpy()

    @cached_property
    def replicates(self) -> dict[str, dict[str, dict[str, np.ndarray]]]:
        """Scores of every row and their bootstrap replicates, by part."""
        found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
        for part, pairs in self.pairs.items():
            graded = part == "test"
            found[part] = {
                name: pair_scores(
                    pairs.levels_P,
                    score_P,
                    self.units_N[pairs.records_P2],
                    self.names if graded else [RELATED],
                    chances_PK=self.chances(part) if graded and name == self.label else None,
                    replicates=self.values["replicates"],
                )
                for name, score_P in self.scores[part].items()
            }
        return found

    @cached_property
    def intervals(self) -> dict[str, Rows]:
        """Value and interval of every score, by part and row."""
        return {
            part: {name: score_intervals(found) for name, found in rows.items()}
            for part, rows in self.replicates.items()
        }

    @cached_property
    def differences(self) -> dict[str, Rows]:
        """The network minus each other row, paired."""
        return {
            part: {
                name: score_differences(rows[self.label], found)
                for name, found in rows.items()
                if name != self.label
            }
            for part, rows in self.replicates.items()
        }

    @cached_property
    def rival(self) -> str:
        """The other row with the best rank correlation ("" without any)."""
        rows = self.intervals["test"]
        others = [name for name in rows if name != self.label]
        return max(others, key=lambda name: np.nan_to_num(rows[name][OBJECTIVE].value), default="")


def save_pairs(outcome: PairOutcome, folder: Path) -> dict[str, Any]:
    """Write predictions, history and figures into a run folder; return facts for result.json."""
    for part, name in (("test", "predictions"), ("ready", "ready")):
        if part in outcome.pairs:
            write_pairs(outcome, part, folder / f"{name}.parquet")
    write_history(outcome.history, folder / "history.csv")
    if outcome.values["figures"]:
        path = folder / "figures"
        figures.learning_curves(outcome.history, path / "learning.png", outcome.best_epoch)
        rows = [(name, row[OBJECTIVE]) for name, row in outcome.intervals["test"].items()]
        figures.scores_figure(
            rows,
            path / "scores.png",
            ours=(outcome.label,),
            metric="rank correlation of score and level, test pairs",
            chance=0.0,
        )
    rival = outcome.rival
    facts: dict[str, Any] = {
        "scores": _plain(outcome.intervals["test"]),
        "difference": {
            "against": rival,
            "metric": OBJECTIVE,
            **outcome.differences["test"][rival][OBJECTIVE].as_dict(),
        }
        if rival
        else None,
        "differences": _plain(outcome.differences["test"]),
        "guessing": guessing(outcome),
        "units": {"field": outcome.values["task"]["unit"], "count": _units(outcome, "test")},
        "best_epoch": outcome.best_epoch,
    }
    if "ready" in outcome.pairs:
        facts["ready"] = {
            "pairs": len(outcome.pairs["ready"]),
            "units": _units(outcome, "ready"),
            "scores": _plain(outcome.intervals["ready"]),
            "differences": _plain(outcome.differences["ready"]),
        }
    return facts


def _plain(rows: Rows) -> dict[str, dict[str, dict[str, float | None]]]:
    return {
        name: {metric: interval.as_dict() for metric, interval in row.items()}
        for name, row in rows.items()
    }


def _units(outcome: PairOutcome, part: str) -> int:
    return len(np.unique(outcome.units_N[outcome.pairs[part].records_P2]))


def guessing(outcome: PairOutcome) -> dict[str, float]:
    """Average precision of a random order: the share of the test pairs that reach a level."""
    levels_P = outcome.pairs["test"].levels_P
    return {name: float((levels_P >= k).mean()) for k, name in enumerate(outcome.names, 1)}


def write_pairs(outcome: PairOutcome, part: str, path: Path) -> None:
    """One row per pair.

    Columns: id_a, id_b, unit_a, unit_b (of the intervals), level, score, expected (level) and p0 to
    pK by the network, and the score of every other row under its name.
    """
    pairs, store = outcome.pairs[part], outcome.store
    chances_PK = outcome.chances(part)
    units_P2 = outcome.units_N[pairs.records_P2]
    columns: dict[str, Any] = {}
    for side, name in enumerate("ab"):
        records_P = pairs.records_P2[:, side].tolist()
        columns[f"id_{name}"] = [store.id(record) for record in records_P]
        columns[f"unit_{name}"] = units_P2[:, side]
    columns["level"] = pairs.levels_P
    columns["score"] = outcome.scores[part][outcome.label]
    columns["expected"] = chances_PK @ np.arange(chances_PK.shape[1])
    columns |= {f"p{k}": chances_PK[:, k] for k in range(chances_PK.shape[1])}
    others = {n: score_P for n, score_P in outcome.scores[part].items() if n != outcome.label}
    with whole_file(path) as whole:
        pq.write_table(pa.table(columns | others), whole)


def print_pairs(outcome: PairOutcome, folder: Path) -> None:
    """Show the result tables and where everything is."""
    task = outcome.values["task"]
    title = (
        f"{outcome.values['data']['name']}: {len(outcome.pairs['test']):,} test pairs between "
        f"{_units(outcome, 'test')} groups ({task['unit']}) [95 % interval over these]"
    )
    table = _table(title, "Spearman", ["Pearson", "accuracy", *[f"AP {n}" for n in outcome.names]])
    wanted = ["pearson", "accuracy", *[f"average_precision/{name}" for name in outcome.names]]
    ranked = sorted(outcome.intervals["test"].items(), key=lambda item: -item[1][OBJECTIVE].value)
    for name, row in ranked:
        cells = [f"{row[metric].value:.3f}" if metric in row else "" for metric in wanted]
        table.add_row(name, str(row[OBJECTIVE]), *cells)
    shares = [f"{share:.3f}" for share in guessing(outcome).values()]
    table.add_row("guessing", "0", "0", "", *shares, style="dim")
    console().print(table)
    if outcome.rival:
        difference = outcome.differences["test"][outcome.rival][OBJECTIVE]
        print(pair_verdict(outcome.label, outcome.rival, difference))
    if "ready" in outcome.pairs:
        _print_ready(outcome)
    print(f"Best epoch {outcome.best_epoch} of {len(outcome.history)}. Results: {folder}")


def _print_ready(outcome: PairOutcome) -> None:
    rows, pairs = outcome.intervals["ready"], outcome.pairs["ready"]
    title = (
        f"{Path(outcome.values['task']['pairs_file']).name}: {len(pairs):,} pairs, "
        f"{pairs.levels_P.mean():.0%} related"
    )
    table = _table(title, "AUROC", ["average precision"])
    ranked = sorted(rows.items(), key=lambda item: -item[1][f"auroc/{RELATED}"].value)
    for name, row in ranked:
        precision = row[f"average_precision/{RELATED}"]
        table.add_row(name, str(row[f"auroc/{RELATED}"]), str(precision))
    console().print(table)


def _table(title: str, first: str, others: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("model", no_wrap=True)
    for heading in (first, *others):
        table.add_column(heading, justify="right")
    return table


def pair_verdict(name: str, rival: str, difference: Interval) -> str:
    """Say in words what a paired difference of rank correlations shows.

    >>> pair_verdict("stacked", "kmer3", Interval(0.2, 0.15, 0.25))
    'stacked is above kmer3 by 0.200 [0.150, 0.250] of rank correlation (paired, 95 %).'
    >>> pair_verdict("stacked", "kmer3", Interval(0.02, -0.01, 0.05))
    'stacked and kmer3: no difference shown, 0.020 [-0.010, 0.050] (paired, 95 %).'
    """
    if difference.low > 0:
        return f"{name} is above {rival} by {difference} of rank correlation (paired, 95 %)."
    if difference.high < 0:
        size = Interval(-difference.value, -difference.high, -difference.low)
        return f"{name} is below {rival} by {size} of rank correlation (paired, 95 %)."
    return f"{name} and {rival}: no difference shown, {difference} (paired, 95 %)."
