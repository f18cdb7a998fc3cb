"""A training under Lightning as `train.py` runs it: every callback of conf/, and the CSV log."""

import tempfile
import time
from functools import cache
from pathlib import Path

import pytorch_lightning as pl
import torch
from _networks import batches, recipe
from _sets import load
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from protemb.apps.config import build, register_schema
from protemb.apps.devices import open_trainer
from protemb.apps.naming import register_resolvers
from protemb.models.checkpoint import build_classifier
from protemb.training.module import ClassifierModule

CONF = str(Path(__file__).parents[1] / "conf")
PARTS = ["trainer", "callbacks", "task", "out_dir", "objective", "objective_mode"]


class Clock(pl.Callback):
    """Processor time and residues of the steps, without those of the first epoch.

    Attributes:
        running: while such steps are made; validation and checkpoints are none.
    """

    def __init__(self) -> None:
        self.residues, self.seconds, self.start, self.running = 0, 0.0, 0.0, False

    def on_train_epoch_start(self, trainer, module) -> None:
        """Begin, unless it is the first epoch."""
        self.running, self.start = trainer.current_epoch > 0, time.process_time()

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        """Count; end with the epoch's last step."""
        self.residues += self.running * int(batch[0].lengths_B.sum())
        if trainer.is_last_batch and self.running:
            self.seconds += time.process_time() - self.start
            self.running = False


def fit(network: str, name: str, clock: Clock) -> None:
    """Train one of the networks on one of the sets."""
    epochs = 12 if network == "mean" else 2  # fewer than early stopping would wait for
    with tempfile.TemporaryDirectory() as folder:
        values = _values(folder, epochs)
        trainer = open_trainer(
            values["trainer"],
            callbacks=[*map(build, values["callbacks"].values()), clock],
            logger=pl.loggers.CSVLogger(folder),
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            enable_model_summary=False,
            log_every_n_steps=1,
        )
        module = ClassifierModule(
            build_classifier(recipe(network)),
            recipe(network),
            optimizer=lambda weights: torch.optim.Adam(weights, fused=True),
        )
        trainer.fit(module, _batches(name))


@cache
def _batches(name: str):
    return batches(load(name))


def _values(folder: str, epochs: int) -> dict:
    options = ["trainer=cpu", f"trainer.max_epochs={epochs}", f"out_dir={folder}"]
    register_resolvers()
    register_schema()
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = OmegaConf.masked_copy(compose("train", options), PARTS)
    return OmegaConf.to_container(cfg, resolve=True)
