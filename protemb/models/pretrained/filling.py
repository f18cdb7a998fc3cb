"""Give a network the numbers of a file, if they are its numbers."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from protemb.models.pretrained.pickles import RefusedPickle


def check(network: nn.Module, tensors: Mapping[str, np.ndarray]) -> None:
    """Hold names and shapes against a network, which may be one on torch's device `meta`.

    Raises:
        RefusedPickle: tensors are missing, too many, or of other shapes.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for name in sorted(expected.keys() | tensors.keys()):
        found = tensors[name].shape if name in tensors else "nothing"
        if found != expected.get(name):
            raise RefusedPickle(f"{name}: got {found}, expected {expected.get(name, 'nothing')}")


def fill(network: nn.Module, tensors: Mapping[str, np.ndarray]) -> None:
    """Set all weights, and put the network into evaluation mode.

    Raises:
        RefusedPickle: tensors are missing, too many, of other shapes, or not finite.
    """
    check(network, tensors)
    for name in sorted(tensors):
        if not np.isfinite(tensors[name]).all():
            raise RefusedPickle(f"{name} holds numbers that are not finite")
    network.load_state_dict(
        {name: torch.from_numpy(array.astype(np.float32)) for name, array in tensors.items()}
    )
    network.eval()
