"""Run a training job: one record for every outcome, whatever the task."""

import contextlib
import logging
import math
import os
import resource
import signal
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from protemb.apps.company import Company, company
from protemb.apps.config import check, plain
from protemb.apps.devices import NothingToDo, StartedTogether, check_sweep, is_first_process
from protemb.apps.encoders import weights_fingerprint
from protemb.apps.fitting import Interrupted, fit
from protemb.apps.mirror import open_loggers
from protemb.apps.runs import RunFolder, record_refusal, run_key, say_held
from protemb.apps.stopping import signal_of, stoppable
from protemb.apps.tasks import Task, open_task
from protemb.claims import HeldElsewhere
from protemb.errors import ProtembError


def main(cfg: DictConfig) -> float | None:
    """Run one job as a command: one line for bad input, a record for every outcome.

    In a sweep a failed point is recorded and the next one runs; the sweep's summary names it.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    # Lightning calls torch's pytree by a deprecated name, and advertises; neither is the user's.
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*")
    # On a cluster's login node it recommends srun, also for what needs one process.
    warnings.filterwarnings("ignore", "The `srun` command is available")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    sweeping = HydraConfig.get().mode is RunMode.MULTIRUN
    # A group that was taken out is refused where the config is checked.
    trainer = {} if OmegaConf.is_missing(cfg, "trainer") else cfg.trainer
    first = is_first_process(trainer)
    try:
        if sweeping:
            check_sweep(trainer)
        with stoppable():
            return run(cfg)
    except (Interrupted, KeyboardInterrupt) as error:
        stopped = signal_of(error) or signal.SIGINT
        said = "Interrupted" if stopped is signal.SIGINT else f"Stopped by {stopped.name}"
        if first:
            print(f"{said}. The same command continues this run.", file=sys.stderr)
        raise SystemExit(128 + stopped) from None
    except HeldElsewhere as held:
        say_held(held, sweeping)
    except ProtembError as error:
        if first:
            print(f"protemb: {error}", file=sys.stderr)
        if isinstance(error, StartedTogether) or not (sweeping and first):
            raise SystemExit(2) from None
        record_refusal(Path(cfg.out_dir), list(cfg.overrides), error)
    except Exception as error:
        # A defect keeps its traceback; in a sweep it must not take the other points along.
        if not (sweeping and first):
            raise
        print(f"protemb: {type(error).__name__}: {error}", file=sys.stderr)
        record_refusal(Path(cfg.out_dir), list(cfg.overrides), error)
    return math.nan


def run(cfg: DictConfig) -> float:
    """Train, score and save; return the objective of the best epoch.

    Raises:
        ProtembError: input or options that cannot work.
        HeldElsewhere: another process computes this run.
        Interrupted: Ctrl-C while training.
    """
    values = plain(cfg)
    task, folder = _open(values)
    with company(values) as others:
        if is_first_process(values["trainer"]):
            return _lead(values, task, folder, others)
        # The others only take part in training, and keep silent.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            with contextlib.suppress(NothingToDo):
                return fit(values, task.prepare, [], None, others).objective
    return math.nan


def finished(cfg: DictConfig) -> dict[str, Any] | None:
    """The record of this very run, when nothing is left to compute; raises what `run` raises."""
    values = plain(cfg)
    return _open(values)[1].finished() if values["resume"] == "auto" else None


def _open(values: Mapping[str, Any]) -> tuple[Task, RunFolder]:
    check(values)
    weights = weights_fingerprint(values["encoder"])
    task = open_task(values)
    return task, RunFolder(Path(values["out_dir"]), run_key(values, *task.fingerprints, weights))


def _lead(values: Mapping[str, Any], task: Task, folder: RunFolder, others: Company) -> float:
    done = folder.finished() if values["resume"] == "auto" else None
    if done is not None:
        return _done_already(folder, done)
    with folder.held():
        # Whoever held it until now may have finished it.
        done = folder.finished() if values["resume"] == "auto" else None
        return _done_already(folder, done) if done else _run_alone(values, task, folder, others)


def _done_already(folder: RunFolder, done: Mapping[str, Any]) -> float:
    print(f"Done already (resume=never computes it again): {folder.path}")
    return float(done["objective"])


def _run_alone(values: Mapping[str, Any], task: Task, folder: RunFolder, others: Company) -> float:
    checkpoint = folder.begin(values["resume"] == "auto")
    try:
        with open_loggers(values, folder.identity()) as loggers:
            return _run_first(values, task, folder, loggers, checkpoint, others)
    except (Exception, KeyboardInterrupt) as error:
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        status = "interrupted" if stopped else "failed"
        reason = f"{type(error).__name__}: {error}"
        folder.write(status, error=reason, label=task.label, **_config_facts(values))
        raise


def _config_facts(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "config": values,
        "choices": values["choices"],
        "overrides": values["overrides"],
    }


def _run_first(
    values: Mapping[str, Any],
    task: Task,
    folder: RunFolder,
    loggers: list[Logger],
    checkpoint: Path | None,
    others: Company,
) -> float:
    # What is tuned must not be chosen by the test part: a trial ends with its training.
    trial = values["trial"] is not None
    if not trial:
        task.begin(folder.path)
    if checkpoint is not None:
        print(f"Continuing from {checkpoint}")
    fitted = fit(values, task.prepare, loggers, checkpoint, others)
    facts = {} if trial else task.finish(folder.path, fitted, loggers)
    folder.write(
        "pruned" if fitted.pruned else "done",
        objective=fitted.objective,
        label=task.label,
        epochs=len(fitted.history.rows),
        seeds={"model": values["seed"], "split": values["split"].get("seed")},
        device=str(fitted.trainer.strategy.root_device),
        process_peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        fingerprints=list(task.fingerprints),
        **_config_facts(values),
        **facts,
    )
    if not trial:
        task.show(folder.path)
    return fitted.objective
