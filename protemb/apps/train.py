"""Run a training job: one record for every outcome, whatever the task."""

import logging
import math
import resource
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from protemb.apps.config import check, plain
from protemb.apps.encoders import weights_fingerprint
from protemb.apps.fitting import Interrupted, fit
from protemb.apps.mirror import open_loggers
from protemb.apps.runs import RunFolder, record_refusal, run_key
from protemb.apps.tasks import Task, open_task
from protemb.errors import ConfigError, ProtembError


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
    try:
        if sweeping and "ddp" in str(cfg.trainer.strategy):
            # Lightning would start the whole sweep again in each process.
            raise ConfigError("trainer.strategy", cfg.trainer.strategy, "another one in a sweep")
        return run(cfg)
    except (Interrupted, KeyboardInterrupt):
        print("Interrupted. The same command continues this run.", file=sys.stderr)
        raise SystemExit(130) from None
    except ProtembError as error:
        print(f"protemb: {error}", file=sys.stderr)
        if not sweeping:
            raise SystemExit(2) from None
        record_refusal(Path(cfg.out_dir), list(cfg.overrides), error)
    except Exception as error:
        # A defect keeps its traceback; in a sweep it must not take the other points along.
        if not sweeping:
            raise
        print(f"protemb: {type(error).__name__}: {error}", file=sys.stderr)
        record_refusal(Path(cfg.out_dir), list(cfg.overrides), error)
    return math.nan


def run(cfg: DictConfig) -> float:
    """Train, score and save; return the objective of the best epoch.

    Raises:
        ProtembError: input or options that cannot work.
        Interrupted: Ctrl-C while training.
    """
    values = plain(cfg)
    check(values)
    weights = weights_fingerprint(values["encoder"])
    task = open_task(values)
    folder = RunFolder(Path(values["out_dir"]), run_key(values, *task.fingerprints, weights))
    first = is_first_process()
    done = folder.finished() if values["resume"] == "auto" else None
    if done is not None:
        if first:
            print(f"Done already (resume=never computes it again): {folder.path}")
        return float(done["objective"])
    if not first:
        # Under DDP the other processes only take part in training.
        return fit(values, task.prepare, [], folder.resumable()).objective
    checkpoint = folder.begin(values["resume"] == "auto")
    try:
        with open_loggers(values) as loggers:
            return _run_first(values, task, folder, loggers, checkpoint)
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
) -> float:
    task.begin(folder.path)
    if checkpoint is not None:
        print(f"Continuing from {checkpoint}")
    fitted = fit(values, task.prepare, loggers, checkpoint)
    facts = task.finish(folder.path, fitted, loggers)
    folder.write(
        "done",
        objective=fitted.objective,
        label=task.label,
        epochs=len(fitted.history.rows),
        seeds={"model": values["seed"], "split": values["split"].get("seed")},
        device=str(fitted.trainer.strategy.root_device),
        process_peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        **_config_facts(values),
        **facts,
    )
    task.show(folder.path)
    return fitted.objective


def is_first_process() -> bool:
    """False in the processes that DDP starts beside the first."""
    return getattr(rank_zero_only, "rank", 0) == 0
