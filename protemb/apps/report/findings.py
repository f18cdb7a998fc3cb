"""From the numbers of a report to what its verdict is about."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from protemb.analysis.leakage import GapTable
from protemb.analysis.paired import Comparison
from protemb.analysis.significance import judged
from protemb.analysis.verdict import Contrast, Findings, OrderEffect
from protemb.apps.report.compare import SplitComparison
from protemb.apps.report.explained import Explained, Subject, interval_of
from protemb.apps.report.gather import Gathered, Run, predictions
from protemb.intervals import Interval
from protemb.scores import score_difference

MOST = 4
"""Contrasts of one kind in the verdict; the tables have all."""
FEW = 10
"""Groups of a class that make intervals wide."""


def sees_no_order(run: Run) -> bool:
    """The network averages or pools rows of its residue table, and nothing else."""
    return run.record["choices"]["encoder"] == "embedding" or run.values["level"] == "table"


def find(
    gathered: Gathered,
    found: SplitComparison,
    explained: Explained,
    retrained: list[tuple[str, Contrast]],
    tables: tuple[Contrast, ...],
    gaps: GapTable | None,
    metadata: Comparison | None,
    *,
    margin: float,
) -> Findings:
    """Choose what the verdict tells; models are chosen by their validation scores."""
    blind = [model for model in found.networks if _blind(found, model)]
    ordered = [model for model in found.networks if model not in blind]
    question: list[Contrast | None] = []
    if ordered:
        question.append(found.contrast(ordered[0], "composition"))
    if blind:
        question += [found.contrast(model, blind[0]) for model in ordered[:MOST]]
    best = found.contrast(found.best, found.rival) if found.rival else None
    if best is None and len(found.networks) > 1:
        best = found.contrast(found.best, found.networks[1])
    told = [each for each in question if each is not None and each != best]
    return Findings(
        split=found.split,
        best=best,
        question=tuple(dict.fromkeys(told)),
        order=_order_effects(found, explained, retrained),
        tables=tables,
        gaps=_gaps(gaps, found.best),
        metadata=_metadata(metadata),
        rare=_rare(found, gathered.names),
        other_classes=tuple(s for s in gathered.splits if _lacks_classes(gathered, s)),
        dropped=found.dropped,
        seeds=min(
            len({run.seed for run in found.runs if run.model == model}) for model in found.networks
        ),
        unfinished=len(gathered.unfinished),
        margin=margin,
    )


def _lacks_classes(gathered: Gathered, split: str) -> bool:
    """Some part of the split tests on fewer classes than there are."""
    first = {run.part: run for run in gathered.select(split=split, plain=True)}
    tested = predictions(first.values(), baselines=False)
    return any(len(np.unique(part.labels_N)) < len(gathered.names) for part in tested)


def _rare(found: SplitComparison, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Classes with fewer than `FEW` groups among the tested records, rarest first."""
    first: dict[str, Run] = {}
    for run in found.runs:
        first.setdefault(run.part, run)
    groups: dict[str, set[object]] = {name: set() for name in names}
    for part in predictions(first.values(), baselines=False):
        for label, group in zip(part.labels_N, part.groups_N, strict=True):
            groups[names[label]].add(group)
    counts = [(name, len(found)) for name, found in groups.items() if 0 < len(found) < FEW]
    return tuple(sorted(counts, key=lambda item: item[1]))


def _blind(found: SplitComparison, model: str) -> bool:
    return all(sees_no_order(run) for run in found.runs if run.model == model)


def _order_effects(
    found: SplitComparison, explained: Explained, retrained: list[tuple[str, Contrast]]
) -> tuple[OrderEffect, ...]:
    facts = explained.facts("order")
    both = {
        contrast.first: contrast.difference
        for kind, contrast in retrained
        if kind == "residues shuffled"
    }
    effects = []
    for model in found.networks:
        each = facts.get(model)
        if each is None:
            if model in both:
                effects.append(OrderEffect(model, both=both[model]))
            continue
        drop = each["drops"].get("residues")
        if drop is None and model not in both:
            continue
        effects.append(
            OrderEffect(
                model,
                test=interval_of(drop["drop"]) if drop else None,
                both=both.get(model),
                blind=_cannot_see(each["probes"].get(each["own"])),
            )
        )
    return tuple(effects)


def _cannot_see(probe: dict[str, Any] | None) -> bool:
    """No change of order moved a vector; vectors that are all the same prove nothing."""
    return probe is not None and probe["order_free"] and probe["typical"] is not None


def table_contrasts(
    found: SplitComparison, explained: Explained, subject: Subject, margin: float
) -> tuple[Contrast, ...]:
    """Are the averaged table rows of other networks better than those of the table-only one?"""
    arrays = explained.arrays("levels")
    reference = next((model for model in found.networks if _blind(found, model)), None)
    key = "table/mean|linear"
    if reference is None or key not in arrays.get(reference, {}):
        return ()
    labels_M = subject.data.labels_N[subject.split.test]
    differences: dict[str, Interval] = {}
    for model in found.networks:
        if model in arrays and not _blind(found, model) and key in arrays[model]:
            first, second = (
                rows_MC.astype(np.float64) / rows_MC.sum(1, dtype=np.float64, keepdims=True)
                for rows_MC in (arrays[model][key], arrays[reference][key])
            )
            differences[model] = score_difference(
                labels_M,
                first,
                second,
                subject.units_M,
                subject.names,
                replicates=subject.replicates,
            )
    outcomes = judged(list(differences.values()), margin)
    made = [
        Contrast(model, reference, difference, said)
        for (model, difference), said in zip(differences.items(), outcomes, strict=True)
    ]
    return tuple(made[:MOST])


def _gaps(table: GapTable | None, model: str) -> tuple[tuple[str, str, Interval], ...]:
    if table is None:
        return ()
    return tuple(
        (model, split, table.gaps[model, split])
        for split in table.splits
        if (model, split) in table.gaps
    )


def _metadata(comparison: Comparison | None) -> Contrast | None:
    """Against the guess that does best."""
    if comparison is None or not comparison.pairs:
        return None
    hardest = max(comparison.pairs, key=lambda pair: comparison.scores[pair.second].value)
    return Contrast(hardest.first, hardest.second, hardest.difference, hardest.outcome)
