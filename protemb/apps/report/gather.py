"""Read the runs of sweeps: what each was, and what it predicted for its test records.

Shape letters: N = test records, C = classes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from protemb.analysis.alignment import RunPredictions
from protemb.apps.runs import read_result, stored
from protemb.errors import InputError

# What makes a network another one; the split, the seed and the amount of data are told beside it.
NETWORK = (
    *("encoder", "pooling", "level", "task", "optimizer", "scheduler", "trainer", "objective"),
    *("objective_mode", "unit_identity"),
)
# Where it ran does not change what it is.
PLACE = ("trainer.accelerator", "trainer.devices", "trainer.enable_progress_bar")

KIND = "classification"


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
        folder: where it lies.
        record: its result.json.
        model: its name in tables; runs of one model differ in seed, split or amount of data alone.
        split: the kind of split.
        part: which of several test parts of that split (a fold, a left-out value), or "".
        train_share: share of the training sequences that it was given.
        shuffle: how the order of its residues was destroyed, or "none".
    """

    folder: Path
    record: Mapping[str, Any]
    model: str
    split: str
    part: str
    train_share: float
    shuffle: str

    @property
    def values(self) -> Mapping[str, Any]:
        """Its config."""
        return self.record["config"]

    @property
    def seed(self) -> int:
        """Its model's seed."""
        return int(self.record["seeds"]["model"])

    @property
    def plain(self) -> bool:
        """Trained on all of the training part, in the order that nature chose."""
        return self.train_share == 1 and self.shuffle == "none"


@dataclass(frozen=True, eq=False)
class Gathered:
    """The runs of all sweeps.

    Attributes:
        runs: finished ones.
        unfinished: folder name and reason of the others.
        names: the C class names.
    """

    runs: tuple[Run, ...]
    unfinished: tuple[tuple[str, str], ...]
    names: tuple[str, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """Kinds of split, in the order in which they first appear among the plain runs."""
        return tuple(dict.fromkeys(run.split for run in self.runs if run.plain))

    def select(self, **wanted: Any) -> list[Run]:
        """Runs with the given attributes."""
        return [
            run
            for run in self.runs
            if all(getattr(run, name) == value for name, value in wanted.items())
        ]


def gather(folders: Sequence[Path]) -> Gathered:
    """Read every run folder in the folders.

    Raises:
        InputError: no finished run, or runs on different data.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(str(folder), "no such folder")
    found = [
        (path.parent, record)
        for folder in folders
        for path in sorted(folder.glob("*/result.json"))
        if (record := read_result(path.parent)) is not None
    ]
    done = [(path, record) for path, record in found if record["status"] == "done"]
    source = ", ".join(map(str, folders))
    if not done:
        raise InputError(source, "no finished run inside")
    kinds = {record["config"]["task"].get("kind", KIND) for _, record in done} - {KIND}
    if kinds:
        problem = f"runs of task={min(kinds)}; a report compares those of task={KIND}"
        raise InputError(source, f"{problem} (protemb collect is for all)")
    data = {record["config"]["data"]["name"] for _, record in done}
    if len(data) > 1:
        raise InputError(source, f"runs on several data sets ({', '.join(sorted(data))})")
    shown = {
        record["data"]["fingerprint"]
        for _, record in done
        if record["config"].get("shuffle", "none") == "none"
    }
    if len(shown) > 1:
        raise InputError(source, "runs on several versions of the data")
    extras = _extras([record for _, record in done])
    runs = [_run(path, record, extra) for (path, record), extra in zip(done, extras, strict=True)]
    unfinished = tuple(
        (path.name, f"{record['status']} {record.get('error', '')}".strip())
        for path, record in found
        if record["status"] != "done"
    )
    columns = [stored(run.folder / "predictions.parquet", pq.read_schema).names for run in runs]
    for run, present in zip(runs, columns, strict=True):
        if "unit" not in present:
            raise InputError(str(run.folder), "made by an older protemb: train it again")
    names = set(map(_names, columns))
    if len(names) > 1:
        raise InputError(source, "runs with different classes")
    return Gathered(tuple(runs), unfinished, names.pop())


def _extras(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells networks apart that share a label: the options in which they differ, as text."""
    options = [_options(record) for record in records]
    found = []
    for record, own in zip(records, options, strict=True):
        alike = [
            other
            for rival, other in zip(records, options, strict=True)
            if rival["label"] == record["label"]
        ]
        varied = sorted(
            path
            for path in {path for other in alike for path in other}
            if any(other.get(path) != own.get(path) for other in alike)
        )
        found.append(", ".join(f"{path}={own[path]}" for path in varied if path in own))
    return found


def _options(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a network was made with; that it was tuned stands for what was tuned."""
    tuned = tuple(record["config"].get("tuned") or ())
    found = {
        path: value
        for group in NETWORK
        for path, value in _leaves(record["config"].get(group), group)
        if path not in PLACE and not any(f"{path}.".startswith(f"{key}.") for key in tuned)
    }
    return found | ({"tuned": True} if tuned else {})


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _leaves(value, f"{path}.{name}")
    else:
        yield path, node


def _run(folder: Path, record: Mapping[str, Any], extra: str) -> Run:
    values = record["config"]
    split = values["split"]
    about = [str(split["value"])] if split.get("value") is not None else []
    about += [f"fold {split['fold']}"] if split.get("folds") else []
    about += [f"split seed {split['seed']}"] if split.get("seed") else []
    part = ", ".join(about)
    return Run(
        folder,
        record,
        f"{record['label']} ({extra})" if extra else record["label"],
        str(record["choices"]["split"]),
        part,
        float(values.get("train_share", 1.0)),
        str(values.get("shuffle", "none")),
    )


def predictions(runs: Iterable[Run], *, baselines: bool = True) -> list[RunPredictions]:
    """What the runs and, once per test part, their baselines predicted."""
    found: list[RunPredictions] = []
    seen: set[str] = set()
    for run in runs:
        test = [("part", "==", "test")]
        table = stored(run.folder / "predictions.parquet", pq.read_table, filters=test)
        found.append(_predictions(run.model, table, run.seed, run.part))
        path = run.folder / "baselines.parquet"
        if baselines and run.part not in seen and path.exists():
            seen.add(run.part)
            rows = stored(path, pq.read_table)
            for name in dict.fromkeys(rows["baseline"].to_pylist()):
                chosen = rows.filter(pa.compute.equal(rows["baseline"], name))
                found.append(_predictions(name, chosen, 0, run.part))
    return found


def _predictions(model: str, table: pa.Table, seed: int, part: str) -> RunPredictions:
    names = _names(table.column_names)
    place = {name: c for c, name in enumerate(names)}
    return RunPredictions(
        model=model,
        ids_N=np.array(table["id"].to_pylist()),
        labels_N=np.array([place[label] for label in table["label"].to_pylist()]),
        # Numbers of units begin anew in every part.
        groups_N=np.array([f"{part}/{unit}" for unit in table["unit"].to_pylist()]),
        probabilities_NC=np.column_stack([table[f"p({name})"].to_numpy() for name in names]),
        seed=seed,
        part=part,
    )


def _names(columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(name[2:-1] for name in columns if name.startswith("p("))
