"""Sections of the report on why: what shuffling changes, what the table learned."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from protemb.analysis.document import Block, Cell, Column, Picture, Section, Table, slug
from protemb.analysis.order import Movement, OrderProbe
from protemb.analysis.order_figure import order_figure
from protemb.analysis.residue_table import Tested, agreement, compare_table, drift
from protemb.analysis.table_figure import table_figure
from protemb.analysis.verdict import Contrast
from protemb.apps.report.explained import Explained, interval_of
from protemb.apps.report.sections import METRIC

CHANGED = {
    "residues": "residues shuffled",
    "dipeptides": "shuffled, dipeptides kept",
    "reversal": "read backwards",
}


MOVES = {
    "substitution": "one residue replaced",
    "rotation": "rotated",
    "segments": "segments swapped",
    "reversal": "read backwards",
    "dipeptides": "shuffled, dipeptides kept",
    "residues": "residues shuffled",
}


def order_section(
    explained: Explained, retrained: Sequence[tuple[str, Contrast]], folder: Path
) -> Section | None:
    """Rotations, shuffles, substitutions; and the score on shuffled sequences."""
    facts = explained.facts("order")
    if not facts:
        return None
    moved: list[tuple[Cell, ...]] = []
    lost: list[tuple[Cell, ...]] = []
    for model, each in facts.items():
        for name, probe in each["probes"].items():
            if probe["typical"] is not None:
                moved.append((model, name, *_distances(probe["movements"])))
        for kind, drop in each["drops"].items():
            ends = (interval_of(drop[x]) for x in ("intact", "shuffled", "drop"))
            lost.append((model, CHANGED[kind], *ends))
    blocks: list[Block] = [
        Picture(
            order_figure(_probes(facts), folder / "order.svg"),
            "How far vectors move when residues change places",
            "Distance that vectors move, in units of the distance between proteins.",
        ),
        Table(
            (
                Column("model"),
                Column("test sequences"),
                Column("intact", "interval", digits=3),
                Column("changed", "interval", digits=3),
                Column("lost", "interval", "paired", digits=3),
            ),
            tuple(lost),
            f"{METRIC.capitalize()} when test sequences are changed.",
            "order-drop",
        ),
    ]
    if retrained:
        rows = tuple((each.first, kind, each.difference) for kind, each in retrained)
        blocks.append(
            Table(
                (
                    Column("model"),
                    Column("trained and tested on"),
                    Column("lost", "interval", "against intact sequences, paired", 3),
                ),
                rows,
                "What is lost when training sequences are shuffled as well: how much of the task "
                "needs order.",
                "order-retrained",
            )
        )
    blocks.append(
        Table(
            (
                Column("model"),
                Column("level / pooling"),
                *(Column(name, "number", digits=3) for name in MOVES.values()),
            ),
            tuple(moved),
            "How far vectors move: 0 is not at all, 1 the distance between two proteins. The "
            "replacement of one residue is the yardstick.",
            "order-moved",
        )
    )
    return Section(
        "Does order matter?",
        "order",
        "Residues change places and stay what they are: a vector that does not move cannot see "
        "order. One replaced residue is the yardstick. And: what does the score lose?",
        tuple(blocks),
    )


def _distances(movements: Mapping[str, Any]) -> list[Cell]:
    return [
        0.0 if movements[move]["unchanged"] else movements[move]["distance"]["value"]
        for move in MOVES
    ]


def _probes(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, OrderProbe]:
    """What each network's classifier reads, and the mean of its table, for the figure."""
    probes = {}
    for model, each in facts.items():
        for name in dict.fromkeys([each["own"], "table/mean"]):
            found = each["probes"].get(name)
            if found is None:
                continue
            movements = {
                change: Movement(
                    interval_of(moves["distance"]),
                    interval_of(moves["ratio"]),
                    np.nan if moves["moved"] is None else moves["moved"],
                    moves["sequences"],
                )
                for change, moves in found["movements"].items()
            }
            probes[f"{model}: {name}"] = OrderProbe(movements, found["typical"])
    return probes


def table_section(
    explained: Explained, every: Mapping[tuple[str, int], np.ndarray], folder: Path
) -> Section | None:
    """The learned rows of the 20 residues; `every` has the tables of all runs by model and seed."""
    arrays = {model: each for model, each in explained.arrays("table").items() if each}
    if not arrays:
        return None
    rows, blocks, drifts = [], [], []
    for model, found in arrays.items():
        tested = compare_table(found["trained"], seed=0)
        moved = drift(found["initial"], found["trained"])
        for name, result in tested.references.items():
            rows.append((model, name, result.value, tested.holm[name], tested.random[name]))
        drifts.append((model, moved.overall, moved.distances))
        picture = table_figure(found["trained"], folder / f"table-{slug(model)}.svg", title=model)
        blocks.append(
            Picture(picture, f"Distances between residues in the table of {model}", model)
        )
    columns = (
        Column("model"),
        Column("reference"),
        Column("Mantel r", "number", "Spearman, over pairs of residues", 3),
        Column("p (Holm)", "number", "", 4),
        Column("random tables", "interval", "r of random tables: mean and central 95 %"),
    )
    return Section(
        "What the residue table learned",
        "table",
        "Distances between the learned rows of the 20 residues, against what is known of them. A "
        "one-hot table has all residues equally far apart, so nothing can be compared; random "
        "tables show what chance gives.",
        (
            Table(columns, tuple(rows), "Learned distances against known ones.", "table-mantel"),
            Table(
                (
                    Column("model"),
                    Column("moved", "number", "|trained − initial| / |initial|", 3),
                    Column("geometry kept", "number", "rank correlation of distances", 3),
                ),
                tuple(drifts),
                "How far training moved the tables from their random start.",
                "table-drift",
            ),
            _agreement_table(every),
            *blocks,
        ),
    )


def _agreement_table(every: Mapping[tuple[str, int], np.ndarray]) -> Table:
    """Shapes of tables of different seeds, averaged over pairs of seeds."""
    names = {f"{model}|{seed}": (model, seed) for model, seed in every}
    found = agreement({name: every[key] for name, key in names.items()}, permutations=199, seed=0)
    pairs: dict[tuple[str, str], list[Tested]] = {}
    for (first, second), tested in found.items():
        (one, seed), (other, other_seed) = names[first], names[second]
        if seed != other_seed and tested.value is not None:
            low, high = sorted((one, other))
            pairs.setdefault((low, high), []).append(tested)
    rows = tuple(
        (
            *models,
            len(each),
            float(np.mean([tested.value for tested in each])),
            float(np.mean([tested.chance.value for tested in each if tested.chance])),
        )
        for models, each in sorted(pairs.items())
    )
    return Table(
        (
            Column("first"),
            Column("second"),
            Column("pairs of seeds", "number"),
            Column("common shape", "number", "1 − Procrustes disparity, mean", 3),
            Column("by chance", "number", "residues permuted, mean", 3),
        ),
        rows,
        "Do tables of other seeds and networks have the same shape? Runs of one seed share their "
        "random start, so only different seeds are compared.",
        "table-agreement",
    )
