"""Batches that are planned for the whole job and dealt to the devices, epoch by epoch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset


class PlannedData(pl.LightningDataModule, ABC):
    """Base of the tasks' batches: a plan is a pure function of part and epoch.

    So the number of devices changes the speed and not the result, and a resumed run goes on with
    the order of its own epoch.
    """

    @abstractmethod
    def planned(self, part: str, epoch: int | None) -> Sequence[Any]:
        """What every batch of a part ("train" or "validation") holds; epoch None is evaluation."""

    @abstractmethod
    def dealt(self, batch: Any, epoch: int | None, rank: int, devices: int) -> Any:
        """One device's share of a planned batch."""

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

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        trainer = self.source.trainer
        assert trainer is not None, "Lightning attaches the trainer"
        if self.epoch is not None and self.epoch != trainer.current_epoch:
            self.epoch = trainer.current_epoch
            self.batches = self.source.planned(self.part, self.epoch)
        rank, devices = trainer.global_rank, trainer.world_size
        return self.source.dealt(self.batches[index], self.epoch, rank, devices)
