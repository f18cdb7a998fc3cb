"""Sections of a report on what a score does not say: reverse mutations, kinder judgements."""

from protemb.analysis.document import Column, Note, Section, Table
from protemb.apps.variants.outcome import Outcome
from protemb.apps.variants.plan import BASELINE
from protemb.apps.variants.verdict import metric_name
from protemb.intervals import Interval


def antisymmetry_section(outcome: Outcome) -> Section | None:
    """Direct and reverse mutations."""
    if not outcome.reverse:
        return None
    rows = tuple(
        (name, each.direct, each.reverse, each.between, each.bias)
        for name in [BASELINE, *outcome.cells]
        for each in [outcome.reverse[name]]
    )
    columns = (
        Column("cell"),
        Column("direct r", "interval", digits=3),
        Column("reverse r", "interval", "of the reverse mutations", digits=3),
        Column("between", "interval", "r of direct and reverse predictions; −1 is right", digits=3),
        Column("bias", "interval", "half of their mean sum; 0 is right", digits=3),
    )
    trained = "with reverses added" if outcome.values["augment"] else "on direct mutations alone"
    return Section(
        "Is A to B the negative of B to A?",
        "reverse",
        "Reverse mutations start from the variant's own sequence; their value is the negative. "
        f"Models were trained {trained}.",
        (Table(columns, rows, "Held-out proteins, 95 % intervals.", "antisymmetry"),),
    )


def leak_section(outcome: Outcome) -> Section | None:
    """The same baseline, judged kindly."""
    leak = outcome.leak
    if leak is None:
        return None
    rows: tuple[tuple[str, Interval], ...] = (
        ("the grid's folds, interval over groups", outcome.score(BASELINE)),
        ("the grid's folds, interval over rows", leak.rows),
        ("random folds", leak.random),
        ("random folds: mean of the protein's other rows", leak.identity),
    )
    columns = (Column("baseline judged by"), Column(metric_name(outcome), "interval", digits=3))
    return Section(
        "How it must not be judged",
        "leak",
        "Rows of one protein are no independent observations. With random folds a protein stands "
        "on both sides, and its name alone predicts.",
        (
            Table(
                columns, rows, "The same predictions, or the same regressor, four ways.", "leaks"
            ),
            Note("No claim of this page rests on the lower three rows."),
        ),
    )
