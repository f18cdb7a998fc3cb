"""Devices by name."""

import torch

from protemb.errors import ConfigError


def open_device(name: str) -> torch.device:
    """The device that was asked for, if it is there.

    Raises:
        ConfigError: it is not.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ConfigError("device", name, "a device of this machine") from error
    return device
