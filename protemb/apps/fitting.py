"""From a config to a fitted network: recipe, batches, Lightning trainer, Ctrl-C."""

import contextlib
import signal
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.trainer.states import TrainerStatus

from protemb.apps.config import build
from protemb.apps.mirror import log_config
from protemb.models.checkpoint import RECIPE_VERSION, build_classifier
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split
from protemb.training.checkpointing import WholeCheckpointIO
from protemb.training.data import SequenceData
from protemb.training.history import History
from protemb.training.module import ClassifierModule


class Interrupted(Exception):
    """Training was stopped by Ctrl-C; the folder holds what is needed to continue."""


def run_label(values: Mapping[str, Any]) -> str:
    """How tables name the network: bilstm/mean, embedding/mean+64, lstm@table/mean."""
    encoder, pooling = values["choices"]["encoder"], values["choices"]["pooling"]
    level = "" if values["level"] == "states" else f"@{values['level']}"
    hidden = values["task"]["hidden"]
    return f"{encoder}{level}/{pooling}" + ("" if hidden is None else f"+{hidden}")


def recipe_of(values: Mapping[str, Any], data: LabelledSet) -> dict[str, Any]:
    """Plain values that rebuild the network and say what its input and classes are."""
    return {
        "version": RECIPE_VERSION,
        "encoder": values["encoder"],
        "pooling": values["pooling"],
        "level": values["level"],
        "head": {name: values["task"][name] for name in ("hidden", "dropout")},
        "labels": list(data.label_names),
        "alphabet": data.store.alphabet.name,
        "alphabet_fingerprint": data.store.alphabet.fingerprint,
        "label": run_label(values),
        "data": {"name": values["data"]["name"], "fingerprint": data.fingerprint},
    }


def fit(
    values: Mapping[str, Any],
    data: LabelledSet,
    split: Split,
    loggers: list[Logger],
    checkpoint: Path | None,
) -> tuple[pl.Trainer, History, float]:
    """Fit, and return the trainer, the epochs' history and the best objective."""
    pl.seed_everything(values["seed"], verbose=False)
    task = values["task"]
    recipe = recipe_of(values, data)
    classifier = build_classifier(recipe)
    batches = SequenceData(
        data,
        split,
        residues=task["residues"],
        max_records=task["max_records"],
        class_weights=task["class_weights"],
        seed=values["seed"],
        positions=classifier.embedder.pooling.needs_positions,
    )
    if batches.long_records:
        print(f"{batches.long_records} training records exceed task.residues: one batch each")
    optimizer = dict(values["optimizer"])
    if "mixed" in str(values["trainer"]["precision"]):
        # There Lightning does not clip the gradients of a fused optimizer.
        optimizer.pop("fused", None)
    module = ClassifierModule(
        classifier,
        recipe,
        optimizer=build(optimizer),
        scheduler=build(values["scheduler"]) if values["scheduler"] else None,
        objective=values["objective"],
        label_smoothing=task["label_smoothing"],
        seed=values["seed"],
    )
    # Lightning refuses a progress bar that is there and turned off.
    silent = () if values["trainer"]["enable_progress_bar"] else ("progress",)
    callbacks = {
        name: build(node) for name, node in values["callbacks"].items() if name not in silent
    }
    trainer: pl.Trainer = build(
        values["trainer"],
        callbacks=list(callbacks.values()),
        logger=loggers,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        plugins=[WholeCheckpointIO()],
    )
    log_config(loggers, values)
    if checkpoint is not None and _place(checkpoint) != callbacks["best"].dirpath:
        # Lightning would forget which epoch was the best one.
        print("The run's folder was moved before it had finished: starting over")
        checkpoint = None
    with _interruptible(trainer), _flushed_subnormals(), warnings.catch_warnings():
        # A run that resumes finds its own checkpoints.
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
        trainer.fit(module, batches, ckpt_path=checkpoint, weights_only=True)
    best = callbacks["best"].best_model_score
    return trainer, callbacks["history"], float(best)


def _place(checkpoint: Path) -> str | None:
    """The folder that a checkpoint was written to."""
    states = torch.load(checkpoint, map_location="cpu", weights_only=True)["callbacks"]
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
    except SystemExit:
        signal.signal(signal.SIGINT, handler)
        if trainer.state.status is not TrainerStatus.INTERRUPTED:
            raise
        raise Interrupted from None
