"""Points of a sweep as jobs of one Slurm array; see `hydra_plugins/protemb_slurm.py`."""

import copy
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, open_dict, read_write

from protemb.apps.runs import read_result, record_refusal
from protemb.apps.slurm import JobLost, ended, number_of, submit
from protemb.errors import ProtembError


@dataclass(frozen=True)
class Point:
    """One job of a sweep: its number, what was asked for, and where it goes."""

    number: int
    overrides: list[str]
    folder: Path
    config: DictConfig


def launch(launcher: Any, overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Submit what is not done yet as one array, and wait; return the objective of every point.

    A point whose job was lost is recorded as failed and gives not a number: the sweep's summary
    names it.

    Args:
        launcher: of hydra-submitit-launcher.
        overrides: of each point.
        first: number of the first point.
    """
    sweep = Path(launcher.config.hydra.sweep.dir)
    points = [_point(launcher, sweep, *item) for item in enumerate(overrides, first)]
    found = {point.number: _finished(point) for point in points}
    missing = [point for point in points if found[point.number] is None]
    if len(missing) < len(points):
        print(f"Done already: {len(points) - len(missing)} of {len(points)}")
    if missing:
        found |= _run(launcher, sweep, missing)
    return [_returned(point, found[point.number]) for point in points]


def _point(launcher: Any, sweep: Path, number: int, overrides: Sequence[str]) -> Point:
    loader = launcher.hydra_context.config_loader
    config = loader.load_sweep_config(launcher.config, list(overrides))
    folder = sweep / str(config.hydra.sweep.subdir)
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(folder.absolute())
    return Point(number, list(overrides), folder, config)


def _finished(point: Point) -> float | None:
    """The objective, when there is nothing left to compute: no job need wait in the queue for that.

    A point that cannot even be checked gets its job, which finds the same and records it.
    """
    record = read_result(point.folder)
    if record is None or record["status"] != "done":
        return None
    shared = HydraConfig.instance()
    before = shared.cfg
    shared.set_config(point.config)
    try:
        config = copy.deepcopy(point.config)
        with read_write(config), open_dict(config):
            del config["hydra"]
        done = _record(config)
    except ProtembError:
        return None
    finally:
        shared.cfg = before
    return float(done["objective"]) if done else None


def _record(config: DictConfig) -> dict[str, Any] | None:
    if "task" in config:
        from protemb.apps.train import finished
    else:
        from protemb.apps.variants.run import finished
    return finished(config)


def _run(launcher: Any, sweep: Path, points: Sequence[Point]) -> dict[int, float]:
    options = dict(launcher.params)
    singletons = Singleton.get_state()
    rows = [
        (point.overrides, "hydra.sweep.dir", point.number, f"job_{point.number}", singletons)
        for point in points
    ]
    columns = list(zip(*rows, strict=True))
    try:
        jobs = submit(launcher, columns, Path(options.pop("submitit_folder")), options)
    except ProtembError as error:
        print(f"protemb: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    try:
        return {points[n].number: _objective(points[n], result) for n, result in ended(jobs)}
    except KeyboardInterrupt:
        print(
            f"No longer waiting. The jobs go on (scancel {number_of(jobs)} ends them); the same "
            f"command, or protemb collect {sweep}, makes the summary.",
            file=sys.stderr,
        )
        raise SystemExit(130) from None


def _objective(point: Point, result: JobReturn | JobLost) -> float:
    """What the job returned; a job that was lost could not record it itself."""
    if isinstance(result, JobLost):
        record = read_result(point.folder)
        if record is None or record["status"] == "running":
            record_refusal(point.folder, point.overrides, result)
        return math.nan
    try:
        value = result.return_value
    except Exception as error:  # what the job could not record, on a full disk for instance
        print(f"protemb: {point.folder}: {type(error).__name__}: {error}", file=sys.stderr)
        return math.nan
    return math.nan if value is None else float(value)


def _returned(point: Point, objective: float | None) -> JobReturn:
    returned = JobReturn(overrides=point.overrides, status=JobStatus.COMPLETED)
    returned.return_value = objective
    return returned
