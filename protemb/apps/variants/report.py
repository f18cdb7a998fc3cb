"""The report of a grid: report.html, report.md and its figures, in the same room as comparisons.

Shape letters: N = rows of the table, V = cells.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from protemb import __version__
from protemb.analysis import markdown
from protemb.analysis.document import Code, Document, Note, Section
from protemb.analysis.page import write_page
from protemb.apps.runs import code_facts, versions
from protemb.apps.variants.caution_sections import antisymmetry_section, leak_section
from protemb.apps.variants.outcome import Outcome
from protemb.apps.variants.reading import report_lines
from protemb.apps.variants.sections import (
    alike_section,
    cells_section,
    choice_section,
    proteins_section,
)
from protemb.apps.variants.verdict import base_words
from protemb.files import write_text


def write_report(outcome: Outcome, folder: Path, said: Sequence[str]) -> Path:
    """Write the page, its text form and all figures into the run's folder."""
    figures = folder / "report"
    sections = (
        cells_section(outcome, figures),
        choice_section(outcome, figures),
        proteins_section(outcome, figures),
        alike_section(outcome, figures),
        antisymmetry_section(outcome),
        leak_section(outcome),
        _methods(outcome),
    )
    values, table = outcome.values, outcome.table
    document = Document(
        title=f"Which vectors predict {values['table']['name']}?",
        subtitle="protemb variants",
        verdict=tuple(said),
        facts={
            "table": values["table"]["name"],
            "rows": f"{len(table):,}",
            "proteins": f"{len(set(table.proteins_N.tolist())):,}",
            "cells": f"{len(outcome.cells):,}",
            "regressor": values["regressor"],
            "folds": f"{outcome.fold_facts['folds']} by {outcome.fold_facts['kind']}",
            "seeds": ", ".join(map(str, values["seeds"])),
            "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, protemb {__version__}",
        },
        sections=tuple(section for section in sections if section is not None),
    )
    page = write_page(document, folder / "report.html")
    write_text(folder / "report.md", markdown.render(document, folder))
    return page


SIGNS = "A difference of scores is cell minus baseline."
VALUE_SIGNS = (
    "Values keep the sign of the table. Difference is variant minus wild type; the reverse of a "
    "mutation has the negative value. "
)


def _methods(outcome: Outcome) -> Section:
    values, facts = outcome.values, outcome.fold_facts
    units = len(np.unique(outcome.units_N))
    text = (
        f"Cells were scored with protemb {__version__} (commit "
        f"{code_facts()['commit'] or 'unknown'}) on {values['table']['name']}: "
        f"{len(outcome.table):,} rows. A {values['regressor']} was fitted to the base features "
        f"({base_words(outcome.table)}) and a cell's vectors, scaled by the training rows; the "
        "baseline has the base features alone. Every row was "
        f"predicted by models fitted without its fold ({facts['folds']} folds by {facts['kind']}), "
        f"once for each of {len(values['seeds'])} seeds; scores are means over seeds. Intervals "
        f"are 95 % t-intervals: the jackknife over {units} groups together with the spread between "
        f"seeds; {values['replicates']:,} bootstrap replicates of the groups give their skewness. "
        "Differences are paired; corrected intervals have the level that Holm's method (1979) "
        "leaves a cell among all of them. "
        + (
            f"Cells were chosen and joined in {values['nested']} nested folds, on predictions of "
            "models that saw neither the fold in question nor the row's own. "
            if outcome.choice is not None
            else ""
        )
        + VALUE_SIGNS * (outcome.table.values_N is not None and outcome.table.has_mutations)
        + SIGNS
        + " Versions: "
        + ", ".join(f"{name} {version}" for name, version in versions().items())
        + "."
    )
    return Section(
        "How it was done",
        "methods",
        "",
        (Note(text, "method"), Code("\n".join(report_lines(outcome.table)))),
    )
