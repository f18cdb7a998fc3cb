"""Gradients of a step: several batches make one, and their norm is what it says."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from protemb.models.batches import collate
from protemb.sequences.alphabet import AA21
from protemb.training.gradients import BLOCK, GradientNorms
from protemb.training.planned import PlannedData
from protemb.training.task_module import TaskModule


class Numbers(PlannedData):
    """Batches of weighted numbers; as in the tasks, weights are normed inside a batch."""

    def __init__(self, sizes):
        super().__init__()
        rng = np.random.default_rng(0)
        self.batches = [(rng.normal(size=(size, 3)), rng.uniform(0.1, 9, size)) for size in sizes]

    def planned(self, part, epoch):
        return self.batches if part == "train" else self.batches[:1]

    def dealt(self, batch, epoch, rank, devices):
        x_B3, weights_B = (torch.from_numpy(each).float() for each in batch)
        tokens = collate([np.zeros(2, np.uint8)], AA21.size)
        return tokens, x_B3, weights_B / weights_B.sum()

    def amount(self, batch, epoch):
        return float(batch[1].sum())


class Line(TaskModule):
    """Weighted least squares, whose gradient is known in closed form."""

    def __init__(self, **training):
        super().__init__({}, optimizer=lambda p: torch.optim.SGD(p, lr=0.1), **training)
        self.w_3 = torch.nn.Parameter(torch.tensor([0.5, -1.0, 2.0]))

    def _loss(self, batch):
        return ((batch[1] @ self.w_3 - 1) ** 2 * batch[2]).sum()

    def training_step(self, batch, batch_idx):
        return self.logged(self._loss(batch), batch_idx)

    def validation_step(self, batch, batch_idx):
        self.seen = self._loss(batch)

    def on_validation_epoch_end(self):
        self.log_epoch({"val/loss": self.seen})


def fit(sizes, **options):
    """Train for an epoch; what was logged, and the weights."""
    module, data = Line(), Numbers(sizes)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(module, data)
    return trainer.callback_metrics, module.w_3.detach().double().numpy()


def by_hand(sizes, steps, clip=None):
    """The same in numpy: one batch of all records of a step's batches."""
    w_3, batches = np.array([0.5, -1.0, 2.0]), Numbers(sizes).batches
    norms, losses = [], []
    for first in range(0, len(sizes), steps):
        together = batches[first : first + steps]
        x_B3, weights_B = (np.concatenate(each) for each in zip(*together, strict=True))
        weights_B = weights_B / weights_B.sum()
        errors_B = x_B3 @ w_3 - 1
        losses += [(errors_B**2 * weights_B).sum()] * len(together)
        gradient_3 = 2 * (errors_B * weights_B) @ x_B3
        norms.append(np.linalg.norm(gradient_3))
        scale = 1 if clip is None else min(1, clip / norms[-1])
        w_3 = w_3 - 0.1 * scale * gradient_3
    return norms, np.mean(losses), w_3


# The last step of 2 and 3 batches is not full, the batches are of unlike size and weight.
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_a_step_over_several_batches_is_that_over_one_with_their_records(steps, clip):
    sizes = [5, 1, 8, 3, 2]
    logged, w_3 = fit(sizes, accumulate_grad_batches=steps, gradient_clip_val=clip)
    norms, loss, expected_3 = by_hand(sizes, steps, clip)
    np.testing.assert_allclose(w_3, expected_3, rtol=1e-5, atol=1e-6)
    assert float(logged["train/loss"]) == pytest.approx(loss, rel=1e-5)
    # Before they were clipped.
    assert float(logged["train/grad_norm"]) == pytest.approx(np.mean(norms), rel=1e-5)
    assert float(logged["train/grad_norm_max"]) == pytest.approx(max(norms), rel=1e-5)


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_values_can_be_clipped_too():
    _, w_3 = fit([4], gradient_clip_val=0.01, gradient_clip_algorithm="value")
    assert np.abs(w_3 - [0.5, -1, 2]).max() == pytest.approx(0.1 * 0.01, rel=1e-4)


@pytest.mark.parametrize("steps", [1, BLOCK - 1, BLOCK, 2 * BLOCK + 3])
def test_norms_are_folded_without_loss(steps):
    values = np.random.default_rng(steps).exponential(size=steps).astype(np.float32)
    norms = GradientNorms()
    norms.add(torch.tensor(torch.inf))  # a step that was not taken
    for value in values:
        norms.add(torch.tensor(value))
    assert len(norms.waiting) < BLOCK
    found = norms.take()
    assert float(found["train/grad_norm"]) == pytest.approx(values.mean(dtype=float), rel=1e-5)
    assert float(found["train/grad_norm_max"]) == values.max()
    assert norms.take() == {}
