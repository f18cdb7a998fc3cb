"""Give a network the numbers of a file, if they are its numbers."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from protemb.models.pretrained.pickles import RefusedPickle


def fill(network: nn.Module, tensors: Mapping[str, np.ndarray]) -> None:
    """Set all weights, and put the network into evaluation mode.

    Raises:
        RefusedPickle: tensors are missing, too many, of other shapes, or not finite.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for name in sorted(expected.keys() | tensors.keys()):
        found = tensors[name].shape if name in tensors else "nothing"
        if found != expected.get(name):
            raise RefusedPickle(f"{name}: got {found}, expected {expected.get(name, 'nothing')}")
        if not np.isfinite(tensors[name]).all():
            raise RefusedPickle(f"{name} holds numbers that are not finite")
    network.load_state_dict(
        {name: torch.from_numpy(array.astype(np.float32)) for name, array in tensors.items()}
    )
    network.eval()
