"""What Hydra 1.3 and 1.4 (with OmegaConf 2.4) want said differently; light, for every command."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from omegaconf import OmegaConf

NEW = not hydra.__version__.startswith("1.3.")

# 1.3 warns where this is missing, 1.4 where it is there.
BASE: dict[str, Any] = {} if NEW else {"version_base": "1.3"}
# From 1.4 on, Hydra builds what is named here and nothing else. The objects of a config are built
# by protemb.apps.config.build, which has a list of its own.
MAIN: dict[str, Any] = BASE | ({"execution_whitelist": ("protemb.*",)} if NEW else {})


def register_resolver(name: str, resolver: Callable[..., Any], **options: Any) -> None:
    """Make `${name:...}` known to configs, in the place of an older one.

    OmegaConf 2.3 has another function by the name that the new one has from 2.4 on.
    """
    renamed = "replace" in inspect.signature(OmegaConf.register_resolver).parameters
    register: Any = OmegaConf.register_resolver if renamed else OmegaConf.register_new_resolver
    register(name, resolver, replace=True, **options)


# Files of these groups may say that a command is a sweep.
_GROUPS = ("sweep", "experiment", "launcher")


def say_when_sweeping(*folders: Path) -> None:
    """Add `--multirun` to the command line where a chosen file says `hydra.mode: MULTIRUN`.

    Hydra 1.3 reads that from the composed config; 1.4 from its root and the command line alone.

    Args:
        folders: of the config's groups.
    """
    arguments = sys.argv[1:]
    # Whoever gives a flag, such as --cfg, has said what to do.
    if NEW and not any(item.startswith("-") for item in arguments):
        chosen = [item.partition("=")[::2] for item in arguments]
        files = [f"{key}/{name}.yaml" for key, name in chosen if key in _GROUPS]
        if any(_sweeps(folder / file) for folder in folders for file in files):
            sys.argv.append("--multirun")


def _sweeps(path: Path) -> bool:
    try:
        return "\n  mode: MULTIRUN" in path.read_text(encoding="utf-8")
    except OSError:
        return False  # Hydra names the choices that there are
