"""Batches that are planned for the whole job and dealt to the devices, epoch by epoch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset

TINY = 1e-30  # where nothing weighs anything


class PlannedData(pl.LightningDataModule, ABC):
    """Base of the tasks' batches: a plan is a pure function of part and epoch.

    So the number of devices changes the speed and not the result, and a resumed run goes on with
    the order of its own epoch. A step over several batches (`trainer.accumulate_grad_batches`) is
    that over one batch of all their records.
    """

    @abstractmethod
    def planned(self, part: str, epoch: int | None) -> Sequence[Any]:
        """What every batch of a part ("train" or "validation") holds; epoch None is evaluation."""

    @abstractmethod
    def dealt(self, batch: Any, epoch: int | None, rank: int, devices: int) -> Any:
        """One device's share of a planned batch; its last item weighs the terms of the loss.

        The weights of all devices together make the mean over the batch.
        """

    @abstractmethod
    def amount(self, batch: Any, epoch: int | None) -> float:
        """What the terms of a planned batch weigh beside those of another batch."""

    def train_dataloader(self) -> DataLoader:
        """Batches in an order that is a function of (seed, epoch)."""
        # batch_size=None: an item of the data set is a whole batch.
        return DataLoader(_Part(self, "train", epoch=0), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """Batches of the validation part, the same in every epoch."""
        return DataLoader(_Part(self, "validation", epoch=None), batch_size=None)


class _Part(Dataset):
    """Item i is batch i of the current epoch.

    The epoch is asked for when a batch is fetched, never before: Lightning makes iterators ahead
    of time.
    """

    def __init__(self, source: PlannedData, part: str, epoch: int | None) -> None:
        self.source, self.part, self.epoch = source, part, epoch
        self.batches = source.planned(part, epoch)
        self.amounts: tuple[int | None, int, list[float]] = (None, -1, [])

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        trainer = self.source.trainer
        assert trainer is not None, "Lightning attaches the trainer"
        if self.epoch is not None and self.epoch != trainer.current_epoch:
            self.epoch = trainer.current_epoch
            self.batches = self.source.planned(self.part, self.epoch)
        rank, devices = trainer.global_rank, trainer.world_size
        dealt = self.source.dealt(self.batches[index], self.epoch, rank, devices)
        if self.epoch is None or trainer.accumulate_grad_batches == 1:
            return dealt
        return *dealt[:-1], dealt[-1] * self._factor(index, trainer.accumulate_grad_batches)

    def _factor(self, index: int, steps: int) -> float:
        """What makes the mean over the batches of a step, as Lightning takes it, that of its terms.

        Lightning divides by the number of batches of a full step, also in the last one.
        """
        first = index - index % steps
        if self.amounts[:2] != (self.epoch, first):
            together = self.batches[first : first + steps]
            amounts = [self.source.amount(batch, self.epoch) for batch in together]
            self.amounts = (self.epoch, first, amounts)
        amounts = self.amounts[2]
        return steps * amounts[index - first] / max(sum(amounts), TINY)


def step_share(trainer: pl.Trainer, index: int) -> float:
    """Batches of a batch's step over those of a full one: below 1 in an epoch's last step alone."""
    full = trainer.accumulate_grad_batches
    if full == 1:
        return 1.0
    left = int(trainer.num_training_batches) - (index - index % full)
    return min(left, full) / full
