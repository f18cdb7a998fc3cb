"""Sections of a grid's report.

Shape letters: N = rows of the table, V = cells, F = nested folds.
"""

from pathlib import Path

import numpy as np

from protemb.analysis.cell_figure import CellScore, cell_heatmap
from protemb.analysis.clustermap import clustermap
from protemb.analysis.document import (
    Block,
    Column,
    Picture,
    Section,
    Table,
    cell_text,
)
from protemb.analysis.measured_figure import (
    choice_figure,
    measured_figure,
    protein_scores_figure,
)
from protemb.apps.variants.outcome import Outcome
from protemb.apps.variants.plan import BASELINE
from protemb.apps.variants.scoring import metrics_of
from protemb.apps.variants.verdict import base_words, metric_name
from protemb.regression_scores import LEAST_ROWS, per_group_scores
from protemb.variants.ensembles import Ensemble


def cells_section(outcome: Outcome, figures: Path) -> Section:
    """The heatmap and the table of all cells."""
    rows, columns, cells = [], [], {}
    for name in outcome.planned:
        cell, contrast = outcome.planned[name].cell, outcome.contrasts.get(name)
        if cell is None or contrast is None:
            continue
        row, column = f"{cell.encoder} · {cell.level} · {cell.pooling}", cell.features
        rows.append(row)
        columns.append(column.replace("_", " "))
        cells[row, columns[-1]] = CellScore(
            contrast.difference, outcome.score(name).value, contrast.marked
        )
    baseline = outcome.score(BASELINE)
    path = cell_heatmap(
        list(dict.fromkeys(rows)),
        list(dict.fromkeys(columns)),
        cells,
        figures / "cells.svg",
        title=f"{metric_name(outcome)} minus that of the baseline, {baseline}",
        baseline=baseline.value,
        metric=metric_name(outcome),
    )
    picture = Picture(
        path,
        f"Heatmap of {len(cells)} cells: encoder, level and pooling by features",
        "Each cell: difference to the baseline and its 95 % interval. White is the baseline. "
        "Framed: the interval that holds over all cells leaves zero out.",
    )
    return Section(
        "Which vectors help?",
        "cells",
        f"Every cell adds its vectors to what the baseline reads: {base_words(outcome.table)}. The "
        "order of the cells was found on the rows that report it, so some of it is luck.",
        (picture, _cell_table(outcome)),
    )


def _cell_table(outcome: Outcome) -> Table:
    metrics = metrics_of(outcome.table)
    columns = (
        Column("cell"),
        Column("trained", hint="no: a control that learned nothing"),
        Column(metrics[0].replace("_", " "), "interval", "95 %", digits=3),
        Column("minus baseline", "interval", "paired, 95 %", digits=3),
        Column("corrected", "interval", "the same, over all cells", digits=3),
        Column("p (Holm)", "number", digits=4),
        Column("by seed", hint="the main score of each seed"),
        *(Column(name.replace("_", " "), "interval", digits=3) for name in metrics[1:]),
    )
    rows = []
    for name in [BASELINE, *outcome.cells]:
        contrast, scores = outcome.contrasts.get(name), outcome.scores[name]
        rows.append(
            (
                name,
                "yes" if outcome.planned[name].trained else "no",
                scores[metrics[0]],
                contrast.difference if contrast else None,
                contrast.corrected if contrast else None,
                contrast.p_holm if contrast else None,
                ", ".join(cell_text(value, 3) for value in outcome.by_seed[name]),
                *(scores[metric] for metric in metrics[1:]),
            )
        )
    caption = "All cells, best first."
    if outcome.table.values_N is not None:
        caption += (
            f" protein: the mean over proteins with {LEAST_ROWS} rows or more; the others are over "
            "all rows together."
        )
    return Table(columns, tuple(rows), caption, "all-cells")


def choice_section(outcome: Outcome, figures: Path) -> Section | None:
    """What the best cell is worth where it had no say, and cells joined."""
    choice, joined = outcome.choice, outcome.joined
    if choice is None or joined is None:
        return None
    shown = {name: name.replace("_", " ") for name in joined}
    path = choice_figure(
        [
            (
                shown[name],
                each.made.choosing_F.tolist(),
                each.made.untouched_F.tolist(),
                each.score.value,
            )
            for name, each in joined.items()
        ],
        figures / "choice.svg",
        title="Scores on the folds that chose, and on the one that did not",
        metric=metric_name(outcome),
    )
    table = Table(
        (
            Column("strategy"),
            Column("on the choosing folds", "number", "mean over the outer folds", digits=3),
            Column("on untouched folds", "interval", "all rows together, 95 %", digits=3),
            Column("minus best cell", "interval", "paired, 95 %", digits=3),
            Column("members", hint="cells chosen, with the number of outer folds"),
        ),
        tuple(
            (
                shown[name],
                _mean(each.made.choosing_F),
                each.score,
                None if name == "best" else each.gain,
                _members([list(members) for members in each.made.members_F]),
            )
            for name, each in joined.items()
        ),
        "best: one cell; average of best: the mean of the 2, 3, 5 or 10 best; stack: non-negative "
        "least squares; pair: the two cells whose mean does best, so both good and little alike.",
        "strategies",
    )
    return Section(
        "What is the choice worth?",
        "choice",
        f"The best of {len(outcome.cells)} cells on all rows is {choice.naive_name} with "
        f"{choice.naive:.3f}. Everything here was chosen inside nested folds instead, on "
        "predictions of models that never saw the fold on which it is then scored.",
        (
            Picture(
                path,
                "Scores on choosing and untouched folds, by strategy",
                "One line per outer fold.",
            ),
            table,
        ),
    )


def _mean(scores_F: np.ndarray) -> float | None:
    """Of the folds that have a score; a stack that gives no cell any weight has none."""
    return float(np.nanmean(scores_F)) if not np.isnan(scores_F).all() else None


def _both(made: Ensemble) -> tuple[list[float], list[float]]:
    return made.choosing_F.tolist(), made.untouched_F.tolist()


def _members(chosen: list[list[str]]) -> str:
    names = [name for members in chosen for name in members]
    ranked = sorted(set(names), key=lambda name: (-names.count(name), name))
    shown = [f"{name} ({names.count(name)})" for name in ranked[:4]]
    return ", ".join(shown) + (f" and {len(ranked) - 4} more" if len(ranked) > 4 else "")


def proteins_section(outcome: Outcome, figures: Path) -> Section | None:
    """Predicted against measured, and protein by protein."""
    table = outcome.table
    if table.values_N is None:
        return None
    best = outcome.cells[0]
    means = {name: outcome.predictions[name].mean(0) for name in (BASELINE, best)}
    blocks: list[Block] = []
    for name, mean_N in means.items():
        stem = "baseline" if name == BASELINE else "best"
        path = measured_figure(
            table.values_N,
            mean_N,
            table.proteins_N,
            figures / f"measured-{stem}.svg",
            title=name,
            unit="value",
        )
        blocks.append(
            Picture(path, f"Predicted against measured values, {name}", f"{name}: held-out rows.")
        )
    own, other = (
        per_group_scores(table.values_N, means[name], table.proteins_N) for name in (best, BASELINE)
    )
    if own:
        rows = [
            (str(a.group), a.rows, a.pearson, b.pearson) for a, b in zip(own, other, strict=True)
        ]
        path = protein_scores_figure(
            rows, figures / "proteins.svg", title=f"{best} and the baseline, protein by protein"
        )
        alt = "Pearson's r of each protein, for the best cell and the baseline"
        blocks.append(Picture(path, alt, f"Proteins with {LEAST_ROWS} rows or more."))
        blocks.append(_protein_table(own, other))
    return Section(
        "Protein by protein",
        "proteins",
        "A score over all rows together mixes two things: how proteins differ, and how mutations "
        "of one protein differ. Large proteins rule it. Within proteins the second is left alone."
        * table.has_mutations,
        tuple(blocks),
    )


def _protein_table(own, other) -> Table:
    columns = (
        Column("protein"),
        Column("rows", "number", digits=0),
        Column("r", "number", "Pearson, best cell", digits=3),
        Column("r, baseline", "number", digits=3),
        Column("rank correlation", "number", "Spearman, best cell", digits=3),
        Column("RMSE", "number", "best cell", digits=2),
    )
    rows = tuple(
        (str(a.group), a.rows, a.pearson, b.pearson, a.spearman, a.rmse)
        for a, b in sorted(zip(own, other, strict=True), key=lambda pair: -pair[0].rows)
    )
    return Table(columns, rows, "Scores within proteins, the largest first.", "within-proteins")


def alike_section(outcome: Outcome, figures: Path) -> Section | None:
    """Which cells say the same."""
    if outcome.table.values_N is None or len(outcome.cells) < 3:
        return None
    names = [name for name in outcome.planned]
    means_VN = np.stack([outcome.predictions[name].mean(0) for name in names])
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations_VV = np.corrcoef(means_VN)
    groups = [cell.encoder if (cell := outcome.planned[name].cell) else BASELINE for name in names]
    path = figures / "alike.svg"
    clustermap(names, correlations_VV, path, title="Correlation of predictions", groups=groups)
    return Section(
        "Which cells say the same?",
        "alike",
        "Cells that agree have little to add to each other; a good pair is both good and unlike.",
        (
            Picture(
                path,
                "Clustered correlations between the predictions of all cells",
                "Average linkage on 1 − r of the predictions of held-out rows.",
            ),
        ),
    )
