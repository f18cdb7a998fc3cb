"""Run a grid of variant effects: one record for every outcome.

Shape letters: N = rows of the table, S = seeds.
"""

import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from protemb.apps.commands.arguments import counted_progress
from protemb.apps.config import build, plain
from protemb.apps.mirror import log_config, mirror_grid, open_loggers
from protemb.apps.runs import RunFolder, code_key, cores, record_refusal, say_held
from protemb.apps.variants.config import check, words
from protemb.apps.variants.encoders import GridEncoder, encoder_key, open_encoder
from protemb.apps.variants.fits import Task
from protemb.apps.variants.outcome import Arrays, Outcome, score_grid
from protemb.apps.variants.plan import (
    BASELINE,
    Planned,
    embed_cells,
    list_cells,
    prediction_key,
)
from protemb.apps.variants.reading import report_lines
from protemb.apps.variants.results import print_outcome, save_outcome
from protemb.claims import HeldElsewhere
from protemb.errors import ConfigError, InputError, ProtembError
from protemb.files import content_key
from protemb.models.devices import open_device
from protemb.variants.cell_jobs import evaluate_cells
from protemb.variants.folds import fold_groups, make_folds
from protemb.variants.regressors import CLASSIFIERS, REGRESSORS
from protemb.variants.table import VariantTable


def main(cfg: DictConfig) -> float | None:
    """Run one grid as a command: one line for bad input, a record for every outcome."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    sweeping = HydraConfig.get().mode is RunMode.MULTIRUN
    try:
        return run(cfg)
    except KeyboardInterrupt:
        print("Interrupted. The same command continues this grid.", file=sys.stderr)
        raise SystemExit(130) from None
    except HeldElsewhere as held:
        say_held(held, sweeping)
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
    """Embed, fit, score and save; return the best cell's main score.

    Raises:
        ProtembError: input or options that cannot work.
        HeldElsewhere: another process computes this grid.
    """
    values = plain(cfg)
    table, encoders, folder = _open(values)
    if values["resume"] == "auto" and (done := folder.finished()):
        return _done_already(folder, done)
    with folder.held():
        # Whoever held it until now may have finished it.
        if values["resume"] == "auto" and (done := folder.finished()):
            return _done_already(folder, done)
        return _run_alone(values, table, encoders, folder)


def finished(cfg: DictConfig) -> dict[str, Any] | None:
    """The record of this very grid, when nothing is left to compute; raises what `run` raises."""
    values = plain(cfg)
    return _open(values)[-1].finished() if values["resume"] == "auto" else None


def _open(
    values: dict[str, Any],
) -> tuple[VariantTable, dict[str, GridEncoder], RunFolder]:
    check(values)
    open_device(values["device"])
    table = load_table(values)
    values["regressor"] = _regressor(values, table)
    _check_table(values, table)
    encoders = {
        name: open_encoder(name, node, values["level"], values["device"])
        for name, node in values["encoders"].items()
    }
    _check_level(values, encoders)
    return table, encoders, RunFolder(Path(values["out_dir"]), _run_key(values, table, encoders))


def _done_already(folder: RunFolder, done: Mapping[str, Any]) -> float:
    print(f"Done already (resume=never scores it again): {folder.path}")
    return float(done["objective"])


def _run_alone(
    values: Mapping[str, Any],
    table: VariantTable,
    encoders: Mapping[str, GridEncoder],
    folder: RunFolder,
) -> float:
    folder.begin(values["resume"] == "auto")
    facts = {"config": values, "overrides": values["overrides"], "label": values["table"]["name"]}
    try:
        with open_loggers(values, folder.identity()) as loggers:
            log_config(loggers, values)
            print("\n".join(report_lines(table)))
            outcome = _compute(values, table, encoders)
            more = save_outcome(outcome, folder.path)
            mirror_grid(loggers, folder.path, more["verdict"])
    except (Exception, KeyboardInterrupt) as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        folder.write(status, error=f"{type(error).__name__}: {error}", **facts)
        raise
    folder.write("done", objective=outcome.objective, **facts, **more)
    print_outcome(outcome, folder.path)
    return outcome.objective


def load_table(values: Mapping[str, Any]) -> VariantTable:
    """Read the table that the config names; where a file is missing, say how to get it."""
    try:
        return build(values["table"]["source"]).load()
    except InputError as error:
        hint = values["table"]["hint"]
        if hint is None or Path(error.source).exists():
            raise
        raise InputError(error.source, f"{error.problem} ({hint})") from error


def _check_table(values: Mapping[str, Any], table: VariantTable) -> None:
    """Refuse what a table cannot answer."""
    if values["augment"] and (table.values_N is None or not table.has_mutations):
        raise ConfigError("augment", True, "false: only values of mutations have reverses")
    if table.values_N is not None and np.ptp(table.values_N) == 0:
        raise ConfigError("table", values["table"]["name"], "values that are not all the same")


def _check_level(values: Mapping[str, Any], encoders: Mapping[str, GridEncoder]) -> None:
    """Refuse a level that no encoder has; controls would quietly keep their own."""
    known = {level for found in encoders.values() for level in found.encoder.levels}
    for level in words(values["level"], "level") if values["level"] is not None else ():
        if level not in known:
            raise ConfigError("level", level, f"one of {', '.join(sorted(known))}")


def _regressor(values: Mapping[str, Any], table: VariantTable) -> str:
    what, known = ("values", REGRESSORS) if table.values_N is not None else ("labels", CLASSIFIERS)
    word = values["regressor"] or known[0]
    if word not in known:
        raise ConfigError("regressor", word, f"one of {', '.join(known)} for {what}")
    return word


def _run_key(
    values: Mapping[str, Any], table: VariantTable, encoders: Mapping[str, GridEncoder]
) -> str:
    """Content key: the config without places, the table, the encoders' numbers, the code."""
    left_out = (
        "paths",
        "workers",
        "resume",
        "logger",
        "out_dir",
        "choices",
        "overrides",
        "table",
        "encoders",
    )
    return content_key(
        {
            "config": {name: value for name, value in values.items() if name not in left_out},
            "table": table.fingerprint,
            "encoders": {
                name: [encoder_key(found), *found.levels] for name, found in encoders.items()
            },
            "code": code_key(),
        }
    )


def _compute(
    values: Mapping[str, Any], table: VariantTable, encoders: Mapping[str, GridEncoder]
) -> Outcome:
    options, numbers = values["folds"], table.values_N is not None
    cells = list_cells(values, table, encoders)
    folds = partial(_folds, values, table)
    fold_SN, fold_facts = folds(options["kind"], options["count"])
    random_SN = nested_N = None
    if numbers and options["kind"] != "random":
        random_SN, _ = folds("random", options["count"])
    if numbers and values["nested"] and len(cells) > 1:
        nested_N = folds(options["kind"], values["nested"], "nested")[0][0]
    # Random folds keep nothing together; rows of a protein are alike all the same.
    unit = "protein" if options["kind"] == "random" else options["kind"]
    cache = Path(values["paths"]["cache"])
    units_N, _ = fold_groups(unit, table, options["identity"], cache)

    task = Task(table, values["regressor"], tuple(values["seeds"]), values["augment"])
    fit = partial(_fit, values, table)
    planned = embed_cells(values, table, encoders, cells)
    found = fit(planned, task.predict, fold_SN, "fitting")
    random = nested = None
    if random_SN is not None:
        baseline = {BASELINE: planned[BASELINE]}
        flattered = fit(baseline, task.predict, random_SN, "random folds")
        random = flattered[BASELINE]["direct"], random_SN
    if nested_N is not None:
        chosen = {name: each for name, each in planned.items() if name != BASELINE}
        nested = fit(chosen, task.nested, nested_N, "nested folds"), nested_N
    return score_grid(values, table, planned, found, units_N, fold_facts, random, nested)


def _folds(
    values: Mapping[str, Any],
    table: VariantTable,
    kind: str,
    count: int,
    option: str = "folds.count",
) -> tuple[np.ndarray, Mapping[str, object]]:
    """Folds of each seed; those by protein are the same for all."""
    cache, identity = Path(values["paths"]["cache"]), values["folds"]["identity"]
    made = [
        make_folds(kind, table, count, seed, identity=identity, cache_dir=cache, option=option)
        for seed in values["seeds"]
    ]
    return np.stack([fold_N for fold_N, _ in made]), made[0][1]


def _fit(
    values: Mapping[str, Any],
    table: VariantTable,
    planned: Mapping[str, Planned],
    compute: Callable[..., dict[str, np.ndarray]],
    folds: np.ndarray,
    what: str,
) -> dict[str, Arrays]:
    """Predictions of each cell; those that are in the cache already are not computed again."""
    kind = compute.__name__
    keys = {
        name: prediction_key(values, table, each, folds, kind) for name, each in planned.items()
    }
    jobs = {
        keys[name]: partial(compute, each.cell, each.vectors, folds)
        for name, each in planned.items()
    }
    folder = Path(values["paths"]["cache"]) / "variants" / "predictions"
    with counted_progress(what, len(jobs), 0, "cells") as advance:
        found = evaluate_cells(jobs, values["workers"] or cores(), folder, advance)
    return {name: found[key] for name, key in keys.items()}
