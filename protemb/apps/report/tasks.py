"""Explain one run: tasks that need its network and its data, each kept in the run's folder.

A task gives plain facts (JSON) and arrays. It is computed again when the checkpoint, the options
or the program change.

Shape letters: N = records, M = test records, V = rows of a residue table, D = features.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protemb.analysis.changes import levels_callable, predict_callable
from protemb.analysis.levels import own_name, pooled_levels
from protemb.analysis.maps import map_spread
from protemb.analysis.order import order_probes
from protemb.analysis.separation import balanced_sample, separation
from protemb.analysis.shuffle_drop import shuffle_drop
from protemb.apps.report.explained import Found, Subject
from protemb.apps.report.residues import residues
from protemb.apps.runs import code_key
from protemb.files import content_key, whole_file, write_json
from protemb.models.checkpoint import build_classifier
from protemb.models.classifier import SequenceClassifier

TRAIN_RECORDS = 2000
"""Training records that probes are fitted to, at most."""
PROBED = 150
"""Test sequences whose vectors the order probe follows."""
MAPPED = 450
"""Test records on a t-SNE map."""
MAP_SEEDS = (0, 1, 2)
DROPPED = ("residues", "dipeptides", "reversal")


def levels(subject: Subject) -> Found:
    """Probe every level and pooling: `separation` by name, and the probes' predictions."""
    data, split = subject.data, subject.split
    chosen = balanced_sample(data.labels_N[split.train], TRAIN_RECORDS, seed=0)
    train = split.train[chosen]
    records = np.concatenate([train, split.test])
    vectors = pooled_levels(subject.trained.model, data.store, records)
    rows = np.arange(len(records))
    # Units of the test part are numbered apart from the sequences of training.
    groups = np.concatenate([data.sequences_N[train], -1 - subject.units_M])
    facts: dict[str, Any] = {"own": own_name(subject.trained.model), "levels": {}}
    arrays = {}
    for name, vectors_ND in vectors.items():
        found = separation(
            vectors_ND,
            data.labels_N[records],
            rows[: len(train)],
            rows[len(train) :],
            groups,
            subject.names,
            replicates=subject.replicates,
        )
        _, counts = np.unique(vectors_ND, axis=0, return_counts=True)
        facts["levels"][name] = found.as_dict() | {"alike": float(counts.max() / len(records))}
        for probe, probabilities_MC in found.predictions.items():
            arrays[f"{name}|{probe}"] = probabilities_MC.astype(np.float32)
    return facts, arrays


def maps(subject: Subject) -> Found:
    """Draw t-SNE maps of the classifier's own vectors and of the table's mean, several seeds."""
    rows = subject.test_sample(MAPPED)
    records = subject.split.test[rows]
    labels = subject.data.labels_N[records]
    vectors = pooled_levels(subject.trained.model, subject.data.store, records)
    own = own_name(subject.trained.model)
    facts: dict[str, Any] = {"rows": rows.tolist(), "own": own, "maps": {}}
    arrays = {}
    # A network may have no table, or read its vector at a position, which levels do not give.
    for name in dict.fromkeys(name for name in (own, "table/mean") if name in vectors):
        spread = map_spread(vectors[name], labels, seeds=MAP_SEEDS, sample=len(rows))
        facts["maps"][name] = spread.as_dict()
        for drawn in spread.maps:
            arrays[f"{name}|{drawn.seed}"] = drawn.points_M2.astype(np.float32)
    return facts, arrays


def order(subject: Subject) -> Found:
    """Follow vectors and scores through rotations, shuffles and substitutions."""
    data, split = subject.data, subject.split
    model, alphabet = subject.trained.model, data.store.alphabet
    rows = subject.test_sample(PROBED)
    probes = order_probes(
        levels_callable(model, alphabet),
        [data.store.tokens(record) for record in split.test[rows]],
        subject.units_M[rows],
        draws=2,
        replicates=subject.replicates,
    )
    # A position in a shuffled sequence names another residue.
    kinds = () if model.embedder.pooling.needs_positions else DROPPED
    drops = (
        shuffle_drop(
            predict_callable(model, alphabet),
            [data.store.tokens(record) for record in split.test],
            data.labels_N[split.test],
            subject.units_M,
            subject.names,
            kinds=kinds,
            draws=1,
            replicates=subject.replicates,
        )
        if kinds
        else {}
    )
    facts = {
        "own": own_name(model),
        "probes": {name: found.as_dict() for name, found in probes.items()},
        "drops": {kind: drop.as_dict() for kind, drop in drops.items()},
    }
    return facts, {}


def table(subject: Subject) -> Found:
    """The rows of the residue table before and after training; nothing without a table."""
    trained = subject.trained
    torch.manual_seed(subject.run.seed)
    initial = build_classifier(trained.recipe)
    rows = {"trained": residue_rows(trained.model), "initial": residue_rows(initial)}
    return {}, {name: rows_VD for name, rows_VD in rows.items() if rows_VD is not None}


def residue_rows(classifier: SequenceClassifier) -> np.ndarray | None:
    """Return rows_VD of the classifier's residue table, None where it has none."""
    residues = classifier.embedder.encoder.table_at("table")
    return None if residues is None else residues.rows.weight.detach().numpy().copy()


TASKS: Mapping[str, Callable[[Subject], Found]] = {
    "levels": levels,
    "maps": maps,
    "order": order,
    "table": table,
    "residues": residues,
}


def perform(name: str, subject: Subject) -> Found:
    """Do a task, or read what it gave before."""
    folder = subject.run.folder / "analysis"
    key = content_key(
        {
            "task": name,
            "run": subject.run.record["key"],
            "replicates": subject.replicates,
            "code": code_key(),
        }
    )
    record, arrays = folder / f"{name}.json", folder / f"{name}.npz"
    kept = _read(record)
    if kept.get("key") != key or not arrays.exists():
        facts, made = TASKS[name](subject)
        with whole_file(arrays) as part, open(part, "wb") as out:
            np.savez(out, **made)  # type: ignore[arg-type]  # numpy's stub takes names for options
        write_json(record, {"key": key, "facts": facts})
        kept = _read(record)
    with np.load(arrays, allow_pickle=False) as stored:
        return kept["facts"], dict(stored)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
