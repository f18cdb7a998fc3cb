"""Folder names of runs and sweeps: functions of what the user asked for.

The same command gets the same folder, so running it again finds what is done already. This module
is imported before Hydra composes, so it stays light.
"""

import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from protemb.apps.hydra_versions import register_resolver

# Where and how a job runs does not change what it computes.
NOT_IN_NAMES = (
    *("hydra.", "hydra/", "launcher", "paths", "resume", "logger", "out_dir", "--", "-m"),
)
_LONGEST = 80


def run_name(overrides: Sequence[str]) -> str:
    """Folder name of a run: readable, safe, and different for different overrides.

    >>> run_name(["seed=1", "encoder=lstm"]).startswith("encoder=lstm,seed=1-")
    True
    >>> run_name(["encoder=lstm", "seed=1"]) == run_name(["seed=1", "encoder=lstm"])
    True
    >>> run_name([])[:9], run_name(["data.source.path=../../x"])[:22]
    ('defaults-', 'data.source.path=____x')
    """
    chosen = sorted(item for item in overrides if not item.lstrip("+").startswith(NOT_IN_NAMES))
    digest = hashlib.sha256("\n".join(chosen).encode()).hexdigest()[:6]
    text = re.sub(r"[^\w.,=+-]+|\.{2,}", "_", ",".join(chosen))[:_LONGEST] or "defaults"
    return f"{text}-{digest}"


def sweep_name(arguments: Sequence[str]) -> str:
    """Folder name of a sweep, from the command line's arguments."""
    return f"sweep-{run_name(arguments)}"


def parent_name(path: str) -> str:
    """Name of the folder of a run's sweep."""
    from protemb.apps.runs import sweep_of

    return sweep_of(Path(path)).name


def devices_per_node(_root_: DictConfig) -> int:
    """How many devices, each with a process, a job wants on each of its nodes.

    >>> devices_per_node(OmegaConf.create({"trainer": {"devices": 4}}))
    4
    >>> devices_per_node(OmegaConf.create({"device": "cpu"}))
    1
    """
    devices = OmegaConf.select(_root_, "trainer.devices", default=1)
    return devices if isinstance(devices, int) and devices > 0 else 1


def gpus_per_node(_root_: DictConfig) -> int | None:
    """How many GPUs a job wants on each of its nodes; None for none.

    >>> gpus_per_node(OmegaConf.create({"trainer": {"devices": 2, "accelerator": "gpu"}}))
    2
    >>> gpus_per_node(OmegaConf.create({"device": "cuda"}))
    1
    """
    accelerator = OmegaConf.select(_root_, "trainer.accelerator")
    device = str(OmegaConf.select(_root_, "device"))
    wanted = accelerator in ("gpu", "cuda") or device.startswith("cuda")
    return devices_per_node(_root_) if wanted else None


def register_resolvers() -> None:
    """Make `${run_name:...}`, `${sweep_name:}` and what launchers ask for known to configs.

    The sweep's name is read once, in the process that launches it; its jobs inherit the cached
    value with the config.
    """
    register_resolver("run_name", run_name)
    register_resolver("devices_per_node", devices_per_node)
    register_resolver("gpus_per_node", gpus_per_node)
    register_resolver("parent_name", parent_name)
    register_resolver("sweep_name", lambda: sweep_name(sys.argv[1:]), use_cache=True)
