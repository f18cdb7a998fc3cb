"""Sections of the report on how good the models are: scores, pairs, levels and poolings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from protemb.analysis.document import Block, Column, Note, Picture, Scatter, Section, Table, slug
from protemb.analysis.figures import heatmap, map_figure
from protemb.analysis.forest import forest
from protemb.analysis.level_figure import level_figure
from protemb.analysis.maps import Map
from protemb.apps.report.compare import SplitComparison
from protemb.apps.report.explained import Explained, interval_of
from protemb.apps.report.gather import Run
from protemb.intervals import Interval

METRIC = "balanced accuracy"
OTHERS = {"macro_f1": "macro F1", "mcc": "MCC", "auroc": "AUROC", "log_loss": "log loss"}
OUTCOMES = {
    "above": "first is better",
    "below": "second is better",
    "equivalent": "the same",
    "unclear": "not shown",
}


ALIKE = 0.9
"""Share of records with one and the same vector from which on a level holds nothing."""


def comparison_section(found: SplitComparison, folder: Path, reference: bool) -> Section:
    """Scores and pairs on one split."""
    split, comparison = found.split, found.comparison
    key = slug(split)
    rows = []
    for model, score in sorted(comparison.scores.items(), key=lambda item: -item[1].value):
        runs = [run for run in found.runs if run.model == model]
        kind = f"{len(runs)} run{'s' * (len(runs) > 1)}" if runs else "baseline"
        size = runs[0].record["parameters"] if runs else None
        others = [_mean_score(runs, model, name) for name in OTHERS]
        rows.append((model, kind, size, score, *others))
    columns = (
        Column("model"),
        Column("kind"),
        Column("parameters", "number", digits=0),
        Column(METRIC, "interval", "mean recall of the classes; 95 % interval", digits=3),
        *(Column(name, "number", digits=3) for name in OTHERS.values()),
    )
    pairs = Table(
        (
            Column("first"),
            Column("second"),
            Column("finding"),
            Column("difference", "interval", "first minus second, paired", digits=3),
            Column("p (Holm)", "number", "interval and permutation, corrected for all pairs", 4),
            Column("corrected t", "number", "p of Nadeau and Bengio 2003, over runs", 4),
        ),
        tuple(
            (
                pair.first,
                pair.second,
                OUTCOMES[pair.outcome],
                pair.difference,
                pair.p_holm,
                pair.p_corrected_t,
            )
            for pair in comparison.pairs
        ),
        f"Every pair on split={split}. 'The same' means: the whole interval lies within "
        f"±{comparison.margin:g}.",
        f"pairs-{key}",
    )
    blocks: list[Block] = [
        Table(columns, tuple(rows), f"Test scores on split={split}.", f"scores-{key}")
    ]
    if comparison.pairs:  # none: one network, and no baselines
        picture = forest(
            [
                (f"{pair.first} − {pair.second}", pair.difference, pair.outcome)
                for pair in comparison.pairs
            ],
            folder / f"pairs-{key}.svg",
            margin=comparison.margin,
            metric=METRIC,
        )
        alt = f"Differences of {METRIC} between models on split={split}"
        caption = "Paired differences with 95 % intervals. Shaded: too small to matter."
        blocks += [Picture(picture, alt, caption), pairs]
    if reference:
        blocks.insert(1, _grid(found, folder))
    groups = max((pair.groups for pair in comparison.pairs), default=0)
    return Section(
        f"Which model is better (split={split})",
        f"better-{key}",
        f"Differences are paired: the same test records, {groups} groups of like sequences "
        "resampled. A difference is claimed when its interval leaves out zero and it survives "
        "Holm's correction over all pairs.",
        tuple(blocks),
    )


def _grid(found: SplitComparison, folder: Path) -> Picture:
    """Encoder x pooling."""
    scores = {model: found.comparison.scores[model] for model in found.networks}
    cells = {}
    for model, score in scores.items():
        encoder, _, rest = model.partition("/")
        pooling, plus, head = rest.partition("+")
        cells[encoder + plus + head, pooling] = score
    path = heatmap(cells, folder / "grid.svg", title=f"{METRIC}, split={found.split}")
    return Picture(
        path, f"{METRIC} by encoder and pooling", "Encoder (rows) and pooling (columns)."
    )


def _mean_score(runs: Sequence[Run], model: str, metric: str) -> float | None:
    values = [run.record["scores"][run.record["label"]][metric]["value"] for run in runs]
    return float(np.mean(values)) if values and None not in values else None


def levels_section(
    explained: Explained, scatter: Scatter | None, labels_M: np.ndarray | None, folder: Path
) -> Section | None:
    """What each level and pooling of one checkpoint holds; `labels_M` are those on the maps."""
    facts = explained.facts("levels")
    if not facts:
        return None
    rows = [
        (
            model,
            name,
            interval_of(found["linear"]),
            interval_of(found["knn"]),
            interval_of(found["silhouette"]),
            found["silhouette"]["p_value"],
            interval_of(found["davies_bouldin"]),
        )
        for model, each in facts.items()
        for name, found in each["levels"].items()
        if found["alike"] < ALIKE
    ]
    columns = (
        Column("model"),
        Column("level / pooling"),
        Column("linear probe", "interval", "balanced accuracy, fitted on training alone"),
        Column("nearest neighbours", "interval", "balanced accuracy of 5 neighbours"),
        Column("silhouette", "interval", "of the true classes, in the vectors' own space"),
        Column("p", "number", "share of permuted labels that do as well", 3),
        Column("Davies-Bouldin", "interval", "lower is better"),
    )
    chance = next(iter(next(iter(facts.values()))["levels"].values()))["chance"]
    path = level_figure(
        {
            model: {
                name: interval_of(found["linear"])
                for name, found in each["levels"].items()
                if found["alike"] < ALIKE
            }
            for model, each in facts.items()
        },
        folder / "levels.svg",
        metric=f"{METRIC} of a linear probe",
        chance=chance,
    )
    blocks: list[Block] = [
        Picture(path, "Linear probes by level and pooling", "One checkpoint of each network."),
        Table(columns, tuple(rows), "Every level and pooling of one checkpoint.", "levels-table"),
    ]
    alike = [
        name
        for each in facts.values()
        for name, found in each["levels"].items()
        if found["alike"] >= ALIKE
    ]
    if alike:
        names = ", ".join(dict.fromkeys(alike))
        blocks.append(Note(f"Left out, as nearly every record has the same vector: {names}."))
    if scatter is not None and labels_M is not None:
        path = map_figure(_first_maps(explained), labels_M, folder / "maps.svg")
        alt = "t-SNE maps of the networks' vectors and of their averaged table rows"
        blocks += [scatter, Picture(path, alt, "The same maps side by side, first seed.")]
        blocks.append(_map_table(explained))
    return Section(
        "What the vectors hold: levels and poolings",
        "levels",
        "The same network gives several vectors: the averaged rows of its residue table, its "
        "states pooled in several ways, and what its classifier reads. Probes are fitted on "
        "training records (at most 2,000, all of the rare classes) and scored on test records; the "
        "cluster measures need no fit. One training of each network is looked into.",
        tuple(blocks),
    )


def _first_maps(explained: Explained) -> list[tuple[str, Map]]:
    found = []
    for model, each in explained.facts("maps").items():
        for name, facts in each["maps"].items():
            seed = facts["seeds"][0]
            points_M2 = explained.arrays("maps")[model][f"{name}|{seed}"]
            rows = np.arange(len(points_M2))
            drawn = Map(points_M2, rows, facts["method"], seed, facts["of_each"][0], {})
            found.append((f"{model}: {name}", drawn))
    return found


def _map_table(explained: Explained) -> Table:
    rows = []
    for model, each in explained.facts("maps").items():
        for name, found in each["maps"].items():
            rows.append(
                (
                    model,
                    name,
                    *(_spread(found["trustworthiness"]), _spread(found["silhouette"]["map"])),
                    *(_spread(found["silhouette"]["original"]), _spread(found["purity"]["map"])),
                    _spread(found["purity"]["original"]),
                )
            )
    columns = (
        Column("model"),
        Column("level / pooling"),
        Column("trustworthiness", "interval"),
        Column("silhouette on the map", "interval"),
        Column("silhouette in truth", "interval", "in the vectors' own space"),
        Column("purity on the map", "interval", "share of a point's neighbours with its label"),
        Column("purity in truth", "interval"),
    )
    caption = (
        "How far to trust what a map looks like: mean over t-SNE seeds, with the smallest and "
        "largest in brackets."
    )
    return Table(columns, tuple(rows), caption, "map-spread")


def _spread(found: Mapping[str, float | None]) -> Interval:
    return interval_of(found, ("mean", "low", "high"))
