"""Make the report of one or more sweeps: gather, compare, explain, say, write."""

import textwrap
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from protemb.analysis import markdown
from protemb.analysis.document import Document, Scatter, Section, Table, table_rows
from protemb.analysis.page import write_page
from protemb.analysis.verdict import Findings, verdict
from protemb.apps.mirror import mirror_report
from protemb.apps.records import load_data
from protemb.apps.report.compare import SplitComparison, compare_splits, retrained
from protemb.apps.report.data_sections import (
    amount_section,
    gaps,
    leakage_section,
    metadata_comparison,
    splits_section,
)
from protemb.apps.report.explained import Explained, Found, Subject
from protemb.apps.report.findings import find, table_contrasts
from protemb.apps.report.gather import Run, gather
from protemb.apps.report.methods import facts_of, methods_section, runs_section
from protemb.apps.report.residues import residues_section
from protemb.apps.report.sections import comparison_section, levels_section
from protemb.apps.report.tasks import TASKS, perform, residue_rows
from protemb.apps.report.why_sections import order_section, table_section
from protemb.apps.runs import cores
from protemb.errors import InputError, ProtembError
from protemb.files import write_json, write_text
from protemb.models.checkpoint import load_classifier
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split

REFERENCE = "unique"
REPLICATES = 10_000
MARGIN = 0.02


def make_report(
    folders: Sequence[Path],
    *,
    margin: float = MARGIN,
    replicates: int = REPLICATES,
    jobs: int | None = None,
) -> tuple[Path, tuple[str, ...]]:
    """Write report.html, report.md, report.json and the figures into the first folder.

    Args:
        folders: Sweeps on the same data.
        margin: Differences of balanced accuracy up to this do not matter.
        replicates: Bootstrap replicates and permutations of the comparisons.
        jobs: Processes; None for one per core.

    Returns:
        The page's path, and the sentences of the verdict.

    Raises:
        InputError: no finished runs, or runs that do not fit together.
    """
    gathered = gather(folders)
    home = folders[0].absolute()
    figures = home / "report"
    comparisons = compare_splits(gathered, margin=margin, replicates=replicates)
    if not comparisons:
        raise InputError(str(home), "no run on all of its training data")
    main = comparisons.get(REFERENCE) or next(iter(comparisons.values()))
    subjects, missing = _subjects(main)
    explained = _explain(subjects, jobs)
    subject = next(iter(subjects.values()), None)
    shuffled = retrained(gathered, main.split, margin=margin, replicates=replicates)
    table = gaps(gathered, main.split)
    metadata = None
    if subject is not None:
        metadata = metadata_comparison(main, subject.data, margin=margin, replicates=replicates)
    found = find(
        gathered,
        main,
        explained,
        shuffled,
        table_contrasts(main, explained, subject, margin) if subject else (),
        table,
        metadata,
        margin=margin,
    )
    sections: list[Section | None] = [
        comparison_section(each, figures, each is main)
        for each in sorted(comparisons.values(), key=lambda each: each is not main)
    ]
    scatter = _scatter(explained, subject) if subject else None
    labels_M = np.array(scatter.fields[scatter.colour_by]) if scatter else None
    sections.append(levels_section(explained, scatter, labels_M, figures))
    sections.append(order_section(explained, shuffled, figures))
    if subject is not None:
        sections.append(table_section(explained, _tables(main), figures))
        sections.append(residues_section(explained, subject, figures))
    sections.append(splits_section(table, figures))
    if subject is not None:
        sections.append(leakage_section(main, subject, metadata, figures))
    sections.append(amount_section(gathered, main.split, figures))
    sections += [methods_section(gathered, main, margin, replicates, missing)]
    sections.append(runs_section(gathered, home))
    found_said = verdict(found)
    said = found_said + ((f"{missing}. So only predictions were compared.",) if missing else ())
    document = Document(
        title=f"Which encoder, which pooling? {main.runs[0].values['data']['name']}",
        subtitle="protemb report",
        verdict=said,
        facts=facts_of(gathered, main),
        sections=tuple(section for section in sections if section is not None),
    )
    page = write_page(document, home / "report.html")
    write_text(home / "report.md", markdown.render(document, home))
    write_json(home / "report.json", _numbers(document, comparisons, explained, found))
    # Not why data could not be read: that names a place on this machine.
    mirror_report(main.runs[0].values, home, found_said, *_score_rows(comparisons))
    return page, said


def print_report(page: Path, said: Sequence[str]) -> None:
    """Show where the report is, and what it says last of all."""
    print(f"Report: {page}")
    print("\n".join(textwrap.fill(sentence, 100) for sentence in said))


def _subjects(main: SplitComparison) -> tuple[dict[str, Subject], str | None]:
    """One run of each network with its data; and why there are none, if so."""
    first: dict[str, Run] = {}
    for run in sorted(main.runs, key=lambda run: (run.part, run.seed)):
        first.setdefault(run.model, run)
    try:
        data = load_data(main.runs[0].values)
    except ProtembError as error:
        return {}, f"The data could not be read: {error}"
    if data.fingerprint != main.runs[0].record["data"]["fingerprint"]:
        return {}, "The data are not those of the runs any more"
    if not all(map(_checkpoint_exists, first.values())):
        return {}, "Checkpoints of the runs are not there any more"
    return {model: _subject(first[model], data) for model in main.networks}, None


def _checkpoint_exists(run: Run) -> bool:
    return (run.folder / "checkpoints" / "best.ckpt").exists()


def _subject(run: Run, data: LabelledSet) -> Subject:
    split = Split.read(run.folder / "split.tsv", data.store)
    return Subject(run, data, split, int(run.values["replicates"]))


def _explain(subjects: dict[str, Subject], jobs: int | None) -> Explained:
    """Do all tasks of all subjects, the long ones first."""
    wanted = [(model, task) for task in TASKS for model in subjects]
    jobs = min(jobs or cores(), max(len(wanted), 1))
    console = Console(stderr=True)
    found: dict[tuple[str, str], Found] = {}
    with (
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
        ProcessPoolExecutor(jobs, get_context("spawn")) as workers,
    ):
        bar = progress.add_task("explaining", total=len(wanted))
        calls = [workers.submit(_perform, *each, subjects[each[0]]) for each in wanted]
        try:
            for call in as_completed(calls):
                key, made = call.result()
                found[key] = made
                progress.advance(bar)
        finally:
            workers.shutdown(cancel_futures=True)
    return Explained({model: subject.run for model, subject in subjects.items()}, found)


def _perform(model: str, task: str, subject: Subject) -> tuple[tuple[str, str], Found]:
    torch.set_num_threads(1)
    return (model, task), perform(task, subject)


def _scatter(explained: Explained, subject: Subject) -> Scatter | None:
    """The maps of all networks, on the same test records."""
    facts, arrays = explained.facts("maps"), explained.arrays("maps")
    if not facts:
        return None
    data = subject.data
    records = subject.split.test[next(iter(facts.values()))["rows"]]
    maps, notes = {}, {}
    for model, each in arrays.items():
        for key, points_M2 in each.items():
            level, _, seed = key.partition("|")
            name = f"{model}: {level}, seed {seed}"
            maps[name] = points_M2
            trust = facts[model]["maps"][level]["trustworthiness"]
            notes[name] = (
                f"trustworthiness {trust['mean']:.3f} ({trust['low']:.3f} to {trust['high']:.3f} "
                "over seeds)"
            )
    if not maps:
        return None
    label = np.array(data.label_names)[data.labels_N[records]].tolist()
    fields: dict[str, Any] = {"label": label}
    for name, column_N in data.fields.items():
        # A field may have the name of the label, which it must not replace.
        fields[f"{name} (field)" if name == "label" else name] = _field(name, column_N[records])
    return Scatter(
        "maps",
        maps,
        [data.store.id(record) for record in records],
        fields,
        "label",
        "t-SNE of test records. A map keeps neighbours, not distances: see the table below.",
        notes,
    )


def _field(name: str, column_M: np.ndarray) -> list[Any]:
    if name == "year":  # 0 stands for no year
        return [year if year > 0 else None for year in column_M.tolist()]
    return column_M.tolist()


def _tables(main: SplitComparison) -> dict[tuple[str, int], np.ndarray]:
    """Trained tables of every run of the split."""
    tables = {
        (run.model, run.seed): residue_rows(load_classifier(run.folder).model)
        for run in main.runs
        if not run.part and _checkpoint_exists(run)
    }
    return {key: rows_VD for key, rows_VD in tables.items() if rows_VD is not None}


def _score_rows(comparisons: dict[str, SplitComparison]) -> tuple[list[str], list[list[object]]]:
    """Scores of all models on all splits, for a dashboard."""
    rows: list[list[object]] = [
        [split, model, score.value, score.low, score.high]
        for split, each in comparisons.items()
        for model, score in each.comparison.scores.items()
    ]
    return ["split", "model", "balanced accuracy", "low", "high"], rows


def _numbers(
    document: Document,
    comparisons: dict[str, SplitComparison],
    explained: Explained,
    found: Findings,
) -> dict[str, Any]:
    """Everything that the report says, as plain values; its tables as rows by column."""
    first = next(iter(comparisons.values())).runs[0].record
    return {
        "verdict": list(document.verdict),
        "data": first["data"]["name"],
        "versions": first["versions"],
        "machine": first["machine"],
        "comparisons": {
            split: each.comparison.as_dict()
            | {
                "runs": [
                    {
                        "model": run.model,
                        "seed": run.seed,
                        "part": run.part,
                        "parameters": run.record["parameters"],
                        "best_epoch": run.record["best_epoch"],
                        "seconds": run.record["seconds"],
                        "scores": run.record["scores"][run.record["label"]],
                    }
                    for run in each.runs
                ]
            }
            for split, each in comparisons.items()
        },
        "levels": explained.facts("levels"),
        "order": explained.facts("order"),
        "maps": {
            model: {name: value for name, value in each.items() if name != "rows"}
            for model, each in explained.facts("maps").items()
        },
        "findings": found.as_dict(),
        "tables": {
            block.key: table_rows(block)
            for section in document.sections
            for block in section.blocks
            if isinstance(block, Table)
        },
    }
