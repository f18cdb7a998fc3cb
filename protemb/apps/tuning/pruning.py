"""A trial tells its study how each epoch went, and stops when others were better by then."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from protemb.apps.tuning.journal import JOURNAL, NAME, need_optuna, open_journal
from protemb.errors import ConfigError


def reporters(values: Mapping[str, Any]) -> list["Reporter"]:
    """Callbacks that a run needs as a trial; none for any other run."""
    if values["trial"] is None:
        return []
    folder = Path(values["out_dir"]).parent
    if not (folder / JOURNAL).exists():
        raise ConfigError(
            "trial", values["trial"], "null: sweeps that tune give their trials numbers"
        )
    return [Reporter(folder, values["trial"], values["objective"])]


class Reporter(pl.Callback):
    """Reports the objective after each epoch, and ends training that is hopeless.

    Args:
        folder: the study's.
        number: the trial's.
        objective: name of the metric.

    Attributes:
        stopped: training was ended before its time.
    """

    def __init__(self, folder: Path, number: int, objective: str) -> None:
        self.folder, self.number, self.objective = folder, number, objective
        self.stopped = False

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """A trial that died between its last report and its record stops where it stood."""
        self._judge(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Report (validation has run by now), and look at the other trials."""
        if trainer.is_global_zero:
            value = float(trainer.callback_metrics[self.objective])
            self._trial().report(trainer.current_epoch + 1, value)
        if trainer.current_epoch + 1 < (trainer.max_epochs or 0):
            self._judge(trainer)

    def _judge(self, trainer: pl.Trainer) -> None:
        if trainer.should_stop:
            return
        hopeless = trainer.is_global_zero and self._trial().hopeless()
        # Every device stops when the first one does.
        if trainer.strategy.reduce_boolean_decision(hopeless, all=False):
            trainer.should_stop = self.stopped = True

    def _trial(self) -> "_Trial":
        return _Trial(self.folder, self.number)


class _Trial:
    """A trial as its study's journal knows it."""

    def __init__(self, folder: Path, number: int) -> None:
        optuna = need_optuna()
        self.storage = open_journal(folder)
        self.study = optuna.load_study(study_name=NAME, storage=self.storage)
        study_id = self.storage.get_study_id_from_name(NAME)
        self.id = self.storage.get_trial_id_from_study_id_trial_number(study_id, number)
        prune = self.study.user_attrs["prune"]
        self.pruner = optuna.pruners.NopPruner() if prune is None else _median(optuna, **prune)

    def report(self, epoch: int, value: float) -> None:
        """A trial that died may compute an epoch again: it says the same."""
        self.storage.set_trial_intermediate_value(self.id, epoch, value)

    def hopeless(self) -> bool:
        """Whether its best so far is below the median of the others at the same epoch."""
        return self.pruner.prune(self.study, self.storage.get_trial(self.id))


def _median(optuna: Any, startup: int, warmup: int) -> Any:
    # Epochs count from 1, and Optuna's first step that may be the last is `n_warmup_steps`.
    return optuna.pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup + 1)
