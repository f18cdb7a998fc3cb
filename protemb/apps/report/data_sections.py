"""Sections of the report on the data: other splits, near relatives, labels, amounts, sizes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from protemb.analysis.document import Block, Column, Note, Picture, Section, Table
from protemb.analysis.leakage import GapTable, gap_table, identity_bands, label_ceiling
from protemb.analysis.leakage_figure import band_figure, gap_figure
from protemb.analysis.metadata import metadata_baselines
from protemb.analysis.paired import Comparison, compare_models
from protemb.analysis.size_figure import capacity_figure, size_figure
from protemb.analysis.sizes import capacity_table, size_curve
from protemb.apps.report.compare import SplitComparison, complete, replicated
from protemb.apps.report.explained import Subject
from protemb.apps.report.gather import Gathered, Run, predictions
from protemb.apps.report.sections import METRIC
from protemb.scores import score_bounds
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.neighbours import nearest_identity
from protemb.sequences.partition import Split

REPLICATES = 1000
BOUNDS = score_bounds("balanced_accuracy")


def gaps(gathered: Gathered, reference: str) -> GapTable | None:
    """Scores of the networks under every split."""
    scores: dict[tuple[str, str], list[tuple[float, np.ndarray | None]]] = {}
    for split in gathered.splits:
        runs = complete(gathered.select(split=split, plain=True))
        for (model, _, _), made in replicated(runs, gathered.names, replicates=REPLICATES).items():
            scores.setdefault((model, split), []).append(made)
    return gap_table(scores, reference, bounds=BOUNDS) if len(gathered.splits) > 1 else None


def splits_section(table: GapTable | None, folder: Path) -> Section | None:
    """The gap table."""
    if table is None:
        return None
    columns = [Column("model"), *(Column(split, "interval", digits=3) for split in table.splits)]
    others = [split for split in table.splits if split != table.reference]
    columns += [Column(f"{split} − {table.reference}", "interval", digits=3) for split in others]
    rows = tuple(
        (
            model,
            *(table.cells.get((model, split)) for split in table.splits),
            *(table.gaps.get((model, split)) for split in others),
        )
        for model in table.models
    )
    return Section(
        "The same networks under other splits",
        "splits",
        "A score depends on who is tested. `random` lets identical sequences stand on both sides, "
        "`unique` does not, `cluster` keeps similar ones together, `time` tests on later years and "
        "`leave_out` on a group that training never saw. Each split tests other records (and not "
        "always all classes), so these differences are not paired.",
        (
            Picture(
                gap_figure(table, folder / "splits.svg", metric=METRIC),
                "Scores by split",
                "Scores under every split, and what each gives against the first.",
            ),
            Table(tuple(columns), rows, "Scores by split.", "splits-table"),
        ),
    )


def metadata_comparison(
    found: SplitComparison, data: LabelledSet, *, margin: float, replicates: int
) -> Comparison | None:
    """The best network against guesses from the other fields of a record, on every part."""
    runs = [run for run in found.runs if run.model == found.best]
    own = predictions(runs, baselines=False)
    made = [
        replace(
            each, model=f"a guess from {name.replace('+', ' + ')}", probabilities_NC=rows_MC, seed=0
        )
        for run, each in {
            run.part: (run, each) for run, each in zip(runs, own, strict=True)
        }.values()
        for name, rows_MC in _guesses(run, each.ids_N, data).items()
    ]
    if not made:
        return None
    return compare_models(
        [*own, *made],
        data.label_names,
        pairs=[(found.best, name) for name in dict.fromkeys(each.model for each in made)],
        margin=margin,
        replicates=replicates,
        permutations=replicates,
    )


def _guess(fields: str) -> str:
    """How a guess from fields is called; a field may have the name of a network's part."""
    return f"a guess from {fields.replace('+', ' + ')}"


def _guesses(run: Run, ids_N: np.ndarray, data: LabelledSet) -> dict[str, np.ndarray]:
    """Guesses for the run's test records, in the order of the ids."""
    split = Split.read(run.folder / "split.tsv", data.store)
    place = {data.store.id(record): row for row, record in enumerate(split.test)}
    rows = [place[record] for record in ids_N.tolist()]
    return {name: rows_MC[rows] for name, rows_MC in metadata_baselines(data, split).items()}


def leakage_section(
    found: SplitComparison, subject: Subject, metadata: Comparison | None, folder: Path
) -> Section:
    """Near relatives, conflicting labels, and what the other fields give away."""
    data, split, part = subject.data, subject.split, subject.run.part
    near = nearest_identity(data, split)
    position = {data.store.id(record): row for row, record in enumerate(split.test)}
    bands = {}
    rivals = [found.rival] if found.rival else []
    for model in (*found.networks[:4], *rivals):
        # Other parts have other test records.
        runs = [run for run in predictions(found.runs) if (run.model, run.part) == (model, part)]
        if not runs:
            continue
        rows = np.array([position[record] for record in runs[0].ids_N.tolist()])
        bands[model] = identity_bands(
            near.identity_R[rows],
            runs[0].labels_N,
            np.stack([run.probabilities_NC for run in runs]),
            runs[0].groups_N,
            data.label_names,
        )
    ceiling = label_ceiling(data.sequences_N, data.labels_N, data.label_names, split.test)
    band_rows = tuple(
        (model, band.name, band.records, band.groups, band.classes, band.accuracy)
        for model, found_bands in bands.items()
        for band in found_bands
        if band.records
    )
    blocks: list[Block] = [
        Picture(
            band_figure(bands, folder / "bands.svg"),
            "Accuracy by identity to the nearest training sequence",
            "Test records by how near their nearest training sequence is.",
        ),
        Table(
            (
                Column("model"),
                Column("identity"),
                Column("records", "number"),
                Column("groups", "number"),
                Column("classes", "number"),
                Column("accuracy", "interval", digits=3),
            ),
            band_rows,
            "Accuracy by identity band. Bands differ in their classes, too.",
            "bands-table",
        ),
        Note(
            f"{ceiling.sequences} sequences of the test part carry several labels "
            f"({ceiling.records} records). No function of the sequence alone can exceed an "
            f"accuracy of {ceiling.accuracy:.3f} or a balanced accuracy of "
            f"{ceiling.balanced_accuracy:.3f}.",
            "plain",
        ),
    ]
    if metadata is not None:
        blocks.append(
            Table(
                (
                    Column("guess"),
                    Column(METRIC, "interval", digits=3),
                    Column(f"{found.best} minus it", "interval", digits=3),
                ),
                tuple(
                    (pair.second, metadata.scores[pair.second], pair.difference)
                    for pair in metadata.pairs
                ),
                "Labels guessed from the other fields of a record, without looking at its "
                "sequence. A network that recognises these fields gets as far.",
                "metadata-table",
            )
        )
    return Section(
        "Near relatives, conflicting labels and confounding",
        "leakage",
        f"On split={found.split}{part and f', {part}'}: how much of a score is owed to "
        "close relatives in the training part, what conflicting labels allow at most, and what "
        "other fields give away.",
        tuple(blocks),
    )


def amount_section(gathered: Gathered, reference: str, folder: Path) -> Section | None:
    """Learning curves over the training part, and scores over the size of the network."""
    runs = [run for run in gathered.runs if run.split == reference and run.shuffle == "none"]
    whole = [run for run in runs if run.plain]
    if not whole or any(run.part for run in runs):
        return None
    made = replicated(runs, gathered.names, replicates=REPLICATES)
    records = {(run.model, run.train_share): train_records(run) for run in runs}
    blocks: list[Block] = []
    if len({share for _, share, _ in made}) > 1:
        several = {model for model, share, _ in made if share < 1}
        curves = size_curve(
            [
                (records[model, share], model, *scored)
                for (model, share, _), scored in made.items()
                if model in several
            ],
            bounds=BOUNDS,
        )
        rows = tuple(
            (
                model,
                *(point.train_records, point.score, curve.gain, curve.last_gain),
            )
            for model, curve in curves.curves.items()
            for point in curve.points
        )
        columns = (
            Column("model"),
            Column("training records", "number", digits=0),
            Column(METRIC, "interval", digits=3),
            Column("gain per doubling", "interval", "over all sizes", 3),
            Column("gain of the last doubling", "interval", digits=3),
        )
        blocks += [
            Picture(
                size_figure(curves, folder / "amount.svg", metric=METRIC),
                "Scores over the number of training records",
                "Learning curves over the amount of training data.",
            ),
            Table(columns, rows, "More data, better scores?", "amount-table"),
        ]
    rows_of_size = [
        (run.model, int(run.record["parameters"]), *made[run.model, 1.0, _order(run, whole)])
        for run in whole
    ]
    table = capacity_table(rows_of_size, bounds=BOUNDS)
    blocks += [
        Picture(
            capacity_figure(table, folder / "capacity.svg", metric=METRIC),
            "Scores over the number of parameters",
            "Does the better network win by its size alone?",
        ),
        Table(
            (
                Column("model"),
                Column("parameters", "number", digits=0),
                Column("ratio", "number", "to the first", 2),
                Column(METRIC, "interval", digits=3),
                Column("minus the first", "interval", digits=3),
            ),
            tuple(
                (row.model, row.parameters, row.ratio, row.score, row.difference) for row in table
            ),
            "Sizes of the networks.",
            "capacity-table",
        ),
    ]
    return Section(
        "Amount of data and size of the network",
        "amount",
        "Intervals resample the test groups and, where there are several seeds, hold their spread.",
        tuple(blocks),
    )


def _order(run: Run, whole: Sequence[Run]) -> int:
    """Place of the run's seed among those of its model."""
    return sorted(other.seed for other in whole if other.model == run.model).index(run.seed)


def train_records(run: Run) -> int:
    """Records that a run was trained on."""
    return int(run.record["split"]["parts"]["train"]["records"])
