"""Training by Lightning: callbacks, checkpoints that resume, Ctrl-C."""

import contextlib
import pickle
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.trainer.states import TrainerStatus

from protemb.apps.company import Company
from protemb.apps.config import build
from protemb.apps.devices import open_trainer
from protemb.apps.mirror import EpochMirror, log_config
from protemb.apps.stopping import OwnSignals, signal_of
from protemb.apps.tasks import Fitted
from protemb.apps.tuning.pruning import reporters
from protemb.models.devices import full_float32
from protemb.training.checkpointing import WholeCheckpointIO
from protemb.training.memory import freed_memory_kept


class Interrupted(Exception):
    """Training was stopped by Ctrl-C or a signal; the folder holds what is needed to continue."""


def fit(
    values: Mapping[str, Any],
    prepare: Callable[[], tuple[pl.LightningModule, pl.LightningDataModule]],
    loggers: list[Logger],
    checkpoint: Path | None,
    company: Company,
) -> Fitted:
    """Draw the network's weights by the run's seed, and train it.

    Raises:
        ConfigError: options that cannot work on this machine.
        ProcessLost, NothingToDo: see `Company.agree`.
        Interrupted: Ctrl-C.
    """
    # Lightning refuses a progress bar that is there and turned off.
    silent = () if values["trainer"]["enable_progress_bar"] else ("progress",)
    callbacks = {
        name: build(node) for name, node in values["callbacks"].items() if name not in silent
    }
    trial = reporters(values)
    trainer = open_trainer(
        values["trainer"],
        callbacks=[
            *(*callbacks.values(), *trial, OwnSignals()),
            EpochMirror(loggers, callbacks["history"]),
        ],
        logger=loggers,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        plugins=[WholeCheckpointIO(), *company.plugins],
    )
    with company.beside(trainer):
        pl.seed_everything(values["seed"], verbose=False)
        module, batches = prepare()
        log_config(loggers, values)
        if checkpoint is not None:
            place = _place(checkpoint)
            if place != callbacks["best"].dirpath:
                # Lightning would forget which epoch was the best one.
                reason = "was moved before it had finished" if place else "has a damaged checkpoint"
                print(f"The run's folder {reason}: starting over")
                checkpoint = None
        with (
            _interruptible(trainer),
            _flushed_subnormals(),
            freed_memory_kept(),
            full_float32(),
            warnings.catch_warnings(),
        ):
            # A run that resumes finds its own checkpoints.
            warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
            # What is logged at an epoch's end is that of all devices already.
            warnings.filterwarnings("ignore", ".*sync_dist=True.* when logging on epoch level")
            # Frozen encoders are meant to be.
            warnings.filterwarnings("ignore", "Found .* module.* in eval mode")
            checkpoint = company.agree(checkpoint)
            trainer.fit(module, batches, ckpt_path=checkpoint, weights_only=True)
    best = callbacks["best"].best_model_score
    pruned = any(reporter.stopped for reporter in trial)
    return Fitted(trainer, callbacks["history"], float(best), pruned)


def _place(checkpoint: Path) -> str | None:
    """The folder that a checkpoint was written to; None for a file that cannot be read."""
    try:
        states = torch.load(checkpoint, map_location="cpu", weights_only=True)["callbacks"]
    except (OSError, EOFError, RuntimeError, KeyError, pickle.UnpicklingError):
        return None
    return next((state["dirpath"] for state in states.values() if "dirpath" in state), None)


@contextlib.contextmanager
def _flushed_subnormals() -> Iterator[None]:
    """Take numbers below 1e-38 for zero while training.

    Gradients that fade over hundreds of residues become subnormal, which processors compute
    several times slower. The setting is the process's, so it is taken back.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextlib.contextmanager
def _interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """Lightning turns Ctrl-C into SystemExit and leaves the signal off; undo both."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        signal.signal(signal.SIGINT, handler)
        stopped = signal_of(ended)
        # One that no signal caused is submitit's: it has put the job into the queue again.
        if trainer.state.status is not TrainerStatus.INTERRUPTED or stopped is None:
            raise
        raise Interrupted(stopped.name) from None
