"""Who takes part in a run: this process alone, with others of its own, or with those beside it."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
from pytorch_lightning.plugins.environments import SLURMEnvironment

from protemb.apps.children import Children
from protemb.apps.devices import SHOWN, NothingToDo, Place, open_trainer, place
from protemb.errors import ConfigError


class Company(Protocol):
    """The processes beside this one."""

    plugins: list[Any]

    def beside(self, trainer: pl.Trainer) -> contextlib.AbstractContextManager[None]:
        """Training: those that are to be started prepare while this one does, and end with it.

        Raises:
            ProcessLost: instead of what the loss of another process led to.
        """

    def agree(self, checkpoint: Path | None) -> Path | None:
        """The checkpoint that all begin with; the first process decides.

        Raises:
            NothingToDo: the first process has nothing to train.
            ProcessLost: another process is gone already.
        """


@contextlib.contextmanager
def company(values: Mapping[str, Any]) -> Iterator[Company]:
    """The processes of the run that a checked config describes.

    Raises:
        ConfigError: what was started from outside does not fit to the config.
        ProcessLost: another process is gone.
    """
    trainer, found = values["trainer"], place(values["trainer"])
    strategy = str(trainer["strategy"])
    # Processes that are made by fork or spawn keep what they learned for themselves.
    spawned = any(word in strategy for word in ("spawn", "fork", "notebook"))
    if spawned or not strategy.startswith(("auto", "ddp")):
        raise ConfigError("trainer.strategy", strategy, "auto, or a ddp of processes (trainer=ddp)")
    if found is None and trainer["num_nodes"] != 1:
        expected = "1, or processes that torchrun or srun starts on every node"
        raise ConfigError("trainer.num_nodes", trainer["num_nodes"], expected)
    if found is None:
        yield Children(values)
        return
    others = StartedOutside(values, found)
    others.strategy.setup_environment()
    try:
        yield others
    finally:
        others.dismiss()


class StartedOutside:
    """Processes that torchrun or srun has started; all of them run the same program.

    Args:
        values: the config.
        found: this process among them.

    Raises:
        ConfigError: another number of them than the config's devices.
    """

    def __init__(self, values: Mapping[str, Any], found: Place) -> None:
        self.found, self.agreed = found, False
        self.plugins: list[Any] = []
        if "RANK" not in os.environ:
            # Who continues a job that is taken away is said elsewhere, not by Lightning.
            try:
                self.plugins.append(SLURMEnvironment(auto_requeue=False))
            except RuntimeError as error:
                raise ConfigError("the Slurm step", f"{found.size} tasks", str(error)) from error
        asked = values["trainer"]
        node = {name: asked[name] for name in ("_target_", "num_nodes", *SHOWN) if name in asked}
        probe = open_trainer(node, logger=False, plugins=self.plugins)
        if probe.num_devices * probe.num_nodes != found.size:
            expected = f"{found.size} in all, since so many processes were started"
            raise ConfigError("trainer.devices", _devices(values), expected)
        self.strategy = probe.strategy

    def beside(self, trainer: pl.Trainer) -> contextlib.AbstractContextManager[None]:
        """They are there, and end by themselves; whoever started them sees to those that fail.

        Their connection stays: torchrun's store does not take a second one.
        """
        return contextlib.nullcontext()

    def agree(self, checkpoint: Path | None) -> Path | None:
        """Hear what the first process says."""
        return self._hear([True, checkpoint and str(checkpoint)])

    def _hear(self, word: list[Any]) -> Path | None:
        self.agreed = True
        go, path = self.strategy.broadcast(word)
        if not go:
            raise NothingToDo
        return Path(path) if path else None

    def dismiss(self) -> None:
        """Tell those who still wait that there is nothing to train."""
        if not self.agreed and self.found.rank == 0:
            # Where they have failed as this process has, nobody listens.
            with contextlib.suppress(NothingToDo, RuntimeError):
                self._hear([False, None])


def _devices(values: Mapping[str, Any]) -> Any:
    """The devices that a config asks for, with the number of nodes where there are several."""
    nodes, devices = values["trainer"]["num_nodes"], values["trainer"]["devices"]
    return devices if nodes == 1 else f"{devices} on each of {nodes} nodes"
