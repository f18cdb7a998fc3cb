"""Which residues decide: the task that attributes, and the section that shows it.

Shape letters: M = records that were looked into, L = residues of one, T = residues of all.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from protemb.analysis.attribution import integrated_gradients, occlusion
from protemb.analysis.attribution_figure import attribution_figure, peaks
from protemb.analysis.attribution_summary import (
    class_profile,
    randomisation_check,
    rank_agreement,
    region_density,
)
from protemb.analysis.document import Block, Column, Note, Picture, Section, Table, slug
from protemb.apps.report.explained import Explained, Found, Subject, interval_of
from protemb.errors import ConfigError, InputError, MissingExtra
from protemb.models.classifier import SequenceClassifier
from protemb.sequences.regions import Regions, read_regions, reference_columns, regions_path

RECORDS = 42
"""Test records that are looked into, about as many of each class."""
STEPS = 32
WINDOW, STRIDE = 9, 3
"""Residues that are occluded together, and from one window to the next."""
DRAWS = 2
"""Untrained networks to compare with."""
EVERY, CHECKED = slice(None), slice(None, None, 4)
"""Records that are attributed, and those of them that untrained networks are asked for."""
COMPLETE = 0.9
"""Share of records whose gradients must add up; below it, occlusion is shown."""

GRADIENTS, OCCLUSION = "integrated gradients", "occlusion"


def residues(subject: Subject) -> Found:
    """Attribute the score of the true class to residues; nothing for networks without a table."""
    data = subject.data
    rows = _of_each_class(subject)
    records = subject.split.test[rows]
    targets_M, groups_M = data.labels_N[records], subject.units_M[rows]
    model = subject.trained.model
    positions_M = None
    if model.embedder.pooling.needs_positions:
        positions_M = data.fields["position"][records]

    def explain(method: Callable[..., Any], network: SequenceClassifier, some: slice) -> Any:
        chosen_M = None if positions_M is None else positions_M[some]
        return method(network, data.store, records[some], targets_M[some], positions_M=chosen_M)

    try:
        values = explain(_occlude, model, EVERY)
    except ConfigError:  # no residue table
        return {}, {}
    facts: dict[str, Any] = {"method": OCCLUSION, "complete": None, "agreement": None}
    method: Callable[..., list[np.ndarray]] = _occlude
    try:
        gradients = explain(_integrate, model, EVERY)
    except MissingExtra as error:
        facts["missing"] = str(error)
    else:
        facts["complete"] = float(gradients.complete_M.mean())
        facts["agreement"] = rank_agreement(values, gradients.values, groups_M, seed=0).as_dict()
        if facts["complete"] >= COMPLETE:
            facts["method"], values = GRADIENTS, gradients.values
            method = _integrated_values
    check = randomisation_check(
        model,
        lambda network: explain(method, network, CHECKED),
        groups_M[CHECKED],
        draws=DRAWS,
        seed=0,
    )
    facts["randomisation"] = check.as_dict()
    return facts, {"rows": rows, "values": np.concatenate(values).astype(np.float32)}


_occlude = partial(occlusion, window=WINDOW, stride=STRIDE)
_integrate = partial(integrated_gradients, steps=STEPS, most_steps=STEPS)


def _integrated_values(*about: Any, **options: Any) -> list[np.ndarray]:
    return _integrate(*about, **options).values


def _of_each_class(subject: Subject) -> np.ndarray:
    """Rows of the test part, about `RECORDS`, as many of each class as it has, of other units."""
    labels_M = subject.data.labels_N[subject.split.test]
    order_M = np.random.default_rng(0).permutation(len(labels_M))
    _, first = np.unique(subject.units_M[order_M], return_index=True)
    alone = np.sort(order_M[first])
    each = -(-RECORDS // len(subject.names))
    kept = [alone[labels_M[alone] == c][:each] for c in range(len(subject.names))]
    return np.sort(np.concatenate(kept))


def residues_section(explained: Explained, subject: Subject, folder: Path) -> Section | None:
    """Profiles along the protein, densities of its regions, and how far to trust them."""
    facts = {model: each for model, each in explained.facts("residues").items() if each}
    if not facts:
        return None
    arrays = {model: explained.arrays("residues")[model] for model in facts}
    records = subject.split.test[next(iter(arrays.values()))["rows"]]
    columns_ML, regions, numbering = _numbered(subject, records)
    labels = np.array(subject.names)[subject.data.labels_N[records]].tolist()
    ends = np.cumsum(subject.data.store.lengths_N[records])[:-1]
    trust, dense = [], []
    pictures: list[Block] = []
    for model, each in facts.items():
        values_ML = np.split(arrays[model]["values"].astype(np.float64), ends)
        profile = class_profile(values_ML, labels, columns_ML)
        path = attribution_figure(
            profile,
            folder / f"residues-{slug(model)}.svg",
            title=f"{model}, {each['method']}",
            regions={name: (start + 1, stop) for name, (start, stop) in regions.spans.items()},
        )
        pictures.append(Picture(path, f"What {model} looks at along the protein", model))
        trust.append(_trust(model, each))
        groups_M = subject.units_M[arrays[model]["rows"]]
        density = region_density(values_ML, regions.spans, groups_M, columns_ML, seed=0)
        dense.append((model, *(density[name] for name in regions.spans), _top(profile.absolute_CP)))
    blocks: list[Block] = [_density_table(regions, dense), _trust_table(trust), *pictures]
    missing = next((each["missing"] for each in facts.values() if "missing" in each), None)
    if missing is not None:
        blocks.append(Note(f"No integrated gradients: {missing}", "warning"))
    return Section(
        "Which residues decide",
        "residues",
        f"How much each residue adds to the score of the true class, for {len(records)} test "
        f"records, about equally many of each class."
        f" {numbering} Integrated gradients are shown "
        "where they add up to the score (steep recurrent networks often do not let them); else "
        f"occlusion, the loss of the score when {WINDOW} residues in a row are put to the mean "
        "residue.",
        tuple(blocks),
    )


def _numbered(
    subject: Subject, records: np.ndarray
) -> tuple[Sequence[np.ndarray] | None, Regions, str]:
    """Columns of the residues, regions, and in words how they are numbered."""
    store = subject.data.store
    path = subject.run.values["data"]["source"].get("path")
    beside = regions_path(path) if isinstance(path, str) else None
    regions, numbering = None, "Positions count from each sequence's first residue."
    columns_ML: Sequence[np.ndarray] | None = None
    if beside is not None and beside.is_file():
        try:
            regions = read_regions(beside, store)
            reference = store.sequence(store.positions()[regions.reference])
            columns_ML = reference_columns(reference, [store.sequence(i) for i in records])
        except (InputError, MissingExtra) as error:
            numbering += f" (Its regions could not be used: {error}.)"
    if regions is None or columns_ML is None:
        longest = int(store.lengths_N[records].max())
        thirds = [longest * i // 3 for i in range(4)]
        names = ("first third", "middle third", "last third")
        spans = {
            name: (start, stop)
            for name, start, stop in zip(names, thirds[:-1], thirds[1:], strict=True)
        }
        return None, Regions("", spans), numbering
    return columns_ML, regions, f"Positions are those of record {regions.reference}."


def _top(absolute_CP: np.ndarray) -> str:
    """The positions that matter most, all classes together, 1-based."""
    known_P = ~np.isnan(absolute_CP).all(0)
    mean_P = np.zeros(absolute_CP.shape[1])
    mean_P[known_P] = np.nanmean(absolute_CP[:, known_P], axis=0)
    return ", ".join(str(column + 1) for column in peaks(mean_P, 5, 3))


def _density_table(regions: Regions, rows: list[tuple[Any, ...]]) -> Table:
    columns = [
        Column(name, "interval", "1 = an average residue of the chain") for name in regions.spans
    ]
    return Table(
        (Column("model"), *columns, Column("highest positions")),
        tuple(rows),
        "How much a residue of each region matters, in units of the average residue of the chain "
        "(mean absolute attribution).",
        "residues-regions",
    )


def _trust(model: str, each: Mapping[str, Any]) -> tuple[Any, ...]:
    check = each["randomisation"]
    agreement = each["agreement"]
    return (
        model,
        each["method"],
        each["complete"],
        None if agreement is None else interval_of(agreement),
        *(interval_of(check[kind]) for kind in ("absolute", "signed")),
    )


def _trust_table(rows: list[tuple[Any, ...]]) -> Table:
    return Table(
        (
            Column("model"),
            Column("method"),
            Column("complete", "number", "share of records whose integrated gradients add up", 2),
            Column("agreement", "interval", "rank correlation of the two methods along the chain"),
            Column("untrained, size", "interval", "rank correlation with untrained networks, |x|"),
            Column("untrained, sign", "interval", "the same with signs"),
        ),
        tuple(rows),
        "How far to trust the profiles: those that an untrained network gives as well (correlation "
        "near 1) show the architecture, not what was learned.",
        "residues-trust",
    )
