"""How large gradients are: the norm of all of them together, before it is clipped."""

import torch
from torch import Tensor

# Norms are folded together so many at a time: one at a time would cost a small network some per
# cent of its time, and all at once would grow with the epoch.
BLOCK = 256


class GradientNorms:
    """Mean and maximum of the steps' gradient norms, on whatever device they are.

    Steps whose gradients overflow are left out: with `precision=16-mixed` some do, are not taken,
    and set the scale of the next ones.

    >>> norms = GradientNorms()
    >>> for norm in (1.0, 2.0, 6.0):
    ...     norms.add(torch.tensor(norm))
    >>> {name: float(value) for name, value in norms.take().items()}
    {'train/grad_norm': 3.0, 'train/grad_norm_max': 6.0}
    >>> norms.take()
    {}
    """

    def __init__(self) -> None:
        self.waiting: list[Tensor] = []
        self.sums: list[Tensor] = []

    def add(self, norm: Tensor) -> None:
        """Count one step."""
        self.waiting.append(norm.detach())
        if len(self.waiting) == BLOCK:
            self._fold()

    def _fold(self) -> None:
        norms_S = torch.stack(self.waiting).float()
        finite_S = norms_S.isfinite()
        norms_S = torch.where(finite_S, norms_S, 0.0)
        sums = [norms_S.sum(), finite_S.sum(), norms_S.max()]
        if self.sums:
            total, steps, largest = self.sums
            sums = [sums[0] + total, sums[1] + steps, torch.maximum(sums[2], largest)]
        self.sums, self.waiting = sums, []

    def take(self) -> dict[str, Tensor]:
        """Mean and maximum since the last time; empty when there was no step."""
        if self.waiting:
            self._fold()
        found = {}
        if self.sums:
            total, steps, largest = self.sums
            found = {"train/grad_norm": total / steps, "train/grad_norm_max": largest}
        self.waiting, self.sums = [], []
        return found
