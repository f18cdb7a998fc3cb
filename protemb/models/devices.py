"""Devices by name, and computing on them in full float32."""

import contextlib
from collections.abc import Iterator
from typing import Any

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


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Keep cuDNN from rounding the inputs of float32 products to TF32, which has 10 bits for them.

    PyTorch lets it, for recurrent networks and convolutions, on every GPU since NVIDIA's Ampere: an
    error of 1e-3, where vectors are to be exact to 1e-6. The setting is the process's, so it is
    taken back. Whoever has made one by `torch.backends.cudnn.rnn` or `.conv` keeps it.
    """
    cudnn: Any = torch.backends.cudnn
    try:
        before = cudnn.allow_tf32
    except RuntimeError:  # those two say something else
        yield
        return
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before


@contextlib.contextmanager
def inference() -> Iterator[None]:
    """Compute without gradients, and in full float32."""
    with torch.inference_mode(), full_float32():
        yield
