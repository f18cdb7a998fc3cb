"""Means over an epoch that are kept where they arise, and logged once.

Lightning's own log of every step costs a small network more than its forward pass.
"""

from torch import Tensor


class EpochMean:
    """Mean of one value of each step, on whatever device it is: nothing waits for the device.

    >>> import torch
    >>> loss = EpochMean()
    >>> loss.add(torch.tensor(1.0)); loss.add(torch.tensor(2.0))
    >>> loss.take(), loss.take()
    (tensor(1.5000), None)
    """

    def __init__(self) -> None:
        self.sum: Tensor | None = None
        self.steps = 0

    def add(self, value: Tensor) -> None:
        """Count one step."""
        value = value.detach().float()
        self.sum = value if self.sum is None else self.sum + value
        self.steps += 1

    def take(self) -> Tensor | None:
        """Mean since the last time; None when there was no step."""
        mean = None if self.sum is None else self.sum / self.steps
        self.sum, self.steps = None, 0
        return mean
