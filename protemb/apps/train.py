"""Train one encoder and score it: data, split, fit, scores beside baselines, vectors, figures."""

import logging
import math
import resource
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from protemb.apps.config import build, check, plain
from protemb.apps.fitting import Interrupted, fit, run_label
from protemb.apps.mirror import mirror_results, open_loggers
from protemb.apps.results import Outcome, print_outcome, save_outcome
from protemb.apps.runs import RunFolder, read_result, run_key
from protemb.errors import ConfigError, InputError, ProtembError
from protemb.files import write_text
from protemb.intervals import Interval
from protemb.models.checkpoint import load_classifier
from protemb.scores import classification_scores, score_difference
from protemb.sequences.audit import audit, audit_lines, audit_split, audit_split_lines
from protemb.sequences.dataset import LabelledSet, report_lines
from protemb.sequences.partition import Split
from protemb.sequences.shuffles import shuffled_set
from protemb.sequences.thinning import thin
from protemb.sequences.units import resampling_units
from protemb.training.baselines import fit_baselines
from protemb.vectors.embed import predict_records


def main(cfg: DictConfig) -> float | None:
    """Run one job as a command: one line for bad input, a record for every outcome.

    In a sweep a failed point is recorded and the next one runs; the sweep's summary names it.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    # Lightning calls torch's pytree by a deprecated name, and advertises; neither is the user's.
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*")
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
        _record_refusal(cfg, error)
    except Exception as error:
        # A defect keeps its traceback; in a sweep it must not take the other points along.
        if not sweeping:
            raise
        print(f"protemb: {type(error).__name__}: {error}", file=sys.stderr)
        _record_refusal(cfg, error)
    return math.nan


def _record_refusal(cfg: DictConfig, error: Exception) -> None:
    """A point refused before its folder was begun stands in the sweep's summary all the same.

    An older record's key stays, so that the point can go on when its input is back.
    """
    reason = f"{type(error).__name__}: {error}"
    record = read_result(Path(cfg.out_dir)) or {}
    if record.get("error") != reason:
        folder = RunFolder(Path(cfg.out_dir), record.get("key", ""))
        facts = {name: record[name] for name in ("config", "label") if name in record}
        folder.write("failed", error=reason, overrides=list(cfg.overrides), **facts)


def run(cfg: DictConfig) -> float:
    """Train, score and save; return the objective of the best epoch.

    Raises:
        ProtembError: input or options that cannot work.
        Interrupted: Ctrl-C while training.
    """
    values = plain(cfg)
    check(values)
    data = load_data(values)
    split = _split(values, data)
    split = thin(data, split, values["train_share"], seed=values["split"].get("seed", 0))
    if values["shuffle"] != "none":
        data = shuffled_set(data, values["shuffle"], values["split"].get("seed", 0))
    key = run_key(values, data.fingerprint, split.fingerprint)
    folder = RunFolder(Path(values["out_dir"]), key)
    first = is_first_process()
    done = folder.finished() if values["resume"] == "auto" else None
    if done is not None:
        if first:
            print(f"Done already (resume=never computes it again): {folder.path}")
        return float(done["objective"])
    if not first:
        # Under DDP the other processes only take part in training.
        return fit(values, data, split, [], folder.resumable())[2]
    checkpoint = folder.begin(values["resume"] == "auto")
    try:
        with open_loggers(values) as loggers:
            return _run_first(values, data, split, folder, loggers, checkpoint)
    except (Exception, KeyboardInterrupt) as error:
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        status = "interrupted" if stopped else "failed"
        reason = f"{type(error).__name__}: {error}"
        folder.write(
            status,
            error=reason,
            config=values,
            choices=values["choices"],
            overrides=values["overrides"],
            label=run_label(values),
        )
        raise


def is_first_process() -> bool:
    """False in the processes that DDP starts beside the first."""
    return getattr(rank_zero_only, "rank", 0) == 0


def load_data(values: Mapping[str, Any]) -> LabelledSet:
    """The records that the config names."""
    try:
        return build(values["data"]["source"]).load(Path(values["paths"]["cache"]))
    except InputError as error:
        hint = values["data"]["hint"]
        if hint is None or Path(error.source).exists():
            raise
        raise InputError(error.source, f"{error.problem} ({hint})") from error


def _split(values: Mapping[str, Any], data: LabelledSet) -> Split:
    split = build(values["split"]).split(data, Path(values["paths"]["cache"]))
    if not len(split.validation):
        raise ConfigError("split", split.method, "a validation part that is not empty")
    return split


def _run_first(
    values: Mapping[str, Any],
    data: LabelledSet,
    split: Split,
    folder: RunFolder,
    loggers: list[Logger],
    checkpoint: Path | None,
) -> float:
    split.write(folder.path / "split.tsv", data.store)
    facts = audit(data)
    split_facts = audit_split(data, split)
    counted = report_lines(data.report)
    lines = [*counted, *audit_lines(facts), *audit_split_lines(split_facts)]
    write_text(folder.path / "audit.txt", "\n".join(lines) + "\n")
    print("\n".join(counted))
    sizes = ", ".join(f"{len(records):,} {name}" for name, records in split.parts.items())
    print(
        f"{values['data']['name']}: {len(data):,} records, {data.store.n_sequences:,} distinct "
        f"sequences, {len(data.label_names)} labels; split {split.method}: {sizes} (audit.txt)"
    )
    if checkpoint is not None:
        print(f"Continuing from {checkpoint}")

    trainer, history, objective = fit(values, data, split, loggers, checkpoint)
    best = load_classifier(folder.path, device=trainer.strategy.root_device)
    predict = partial(predict_records, best.model, data.store, residues=values["task"]["residues"])
    positions_N = (
        data.fields.get("position") if best.model.embedder.pooling.needs_positions else None
    )
    parts = {}
    for name, records in split.parts.items():
        if name != "train":
            positions = None if positions_N is None else positions_N[records]
            parts[name] = predict(
                records, positions_M=positions, device=trainer.strategy.root_device
            )
    baselines: dict[str, np.ndarray] = {}
    if values["baselines"]:
        cache = Path(values["paths"]["cache"])
        seed = values["split"].get("seed", 0)
        baselines = fit_baselines(data, split, seed=seed, cache_dir=cache)
    rows = {run_label(values): parts["test"], **baselines}
    units_M, unit_facts = resampling_units(data, split, identity=values["unit_identity"])
    scores = {
        name: classification_scores(
            data.labels_N[split.test],
            probabilities_NC,
            units_M,
            data.label_names,
            replicates=values["replicates"],
        )
        for name, probabilities_NC in rows.items()
    }
    rival, difference = _against_best_baseline(
        data.labels_N[split.test], units_M, data.label_names, rows, scores, values["replicates"]
    )
    outcome = Outcome(
        values=values,
        data=data,
        split=split,
        model=best,
        probabilities=parts,
        baselines=baselines,
        units_M=units_M,
        scores=scores,
        history=history.rows,
        label=run_label(values),
        rival=rival,
        difference=difference,
    )
    save_outcome(outcome, folder.path)
    mirror_results(loggers, outcome, folder.path)
    folder.write(
        "done",
        objective=objective,
        scores={
            name: {metric: interval.as_dict() for metric, interval in row.items()}
            for name, row in scores.items()
        },
        label=outcome.label,
        difference={"against": rival, **difference.as_dict()} if difference else None,
        best_epoch=outcome.best_epoch,
        epochs=len(history.rows),
        config=values,
        choices=values["choices"],
        overrides=values["overrides"],
        seeds={"model": values["seed"], "split": values["split"].get("seed")},
        parameters=sum(p.numel() for p in best.model.parameters()),
        data={"name": values["data"]["name"], "fingerprint": data.fingerprint, **facts},
        reading=dict(data.report),
        split=split_facts,
        units=unit_facts,
        device=str(trainer.strategy.root_device),
        process_peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    )
    print_outcome(outcome, folder.path)
    return objective


def _against_best_baseline(
    labels_M: np.ndarray,
    units_M: np.ndarray,
    names: Sequence[str],
    rows: Mapping[str, np.ndarray],
    scores: Mapping[str, Mapping[str, Interval]],
    replicates: int,
) -> tuple[str, Interval | None]:
    """The baseline with the best balanced accuracy, and how much the network is above it."""
    own, *others = rows
    if not others:
        return "", None
    rival = max(others, key=lambda name: scores[name]["balanced_accuracy"].value)
    difference = score_difference(
        labels_M, rows[own], rows[rival], units_M, names, replicates=replicates
    )
    return rival, difference
