"""Which classes a name in a config or checkpoint may stand for.

A config or checkpoint can come from a stranger, and a dotted name is code to run. So a name is
accepted only inside packages on a list, only for a class, and only where that class is defined
there: `protemb.files.os.system` is not a way to `os.system`.
"""

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from protemb.errors import ProtembError

ENVIRONMENT = "PROTEMB_ALLOW"
"""Variable with further packages, comma-separated: your own encoders, say."""

ALLOWED = (
    "protemb.",
    "torch.optim.",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.loggers.",
    "pytorch_lightning.Trainer",
    "wandb.Settings",
)


class ForbiddenTarget(ProtembError, ValueError):
    """A config or checkpoint names something that it may not build.

    >>> str(ForbiddenTarget("os.system", "not on the list of allowed packages"))
    "_target_: got 'os.system', not on the list of allowed packages"
    """

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(target, reason)
        self.target, self.reason = target, reason

    def __str__(self) -> str:
        return f"_target_: got {self.target!r}, {self.reason}"


def locate(target: object, allowed: Sequence[str] = ALLOWED) -> type:
    """Return the class that a dotted name stands for.

    Args:
        target: `package.module.Class`.
        allowed: packages (ending in a dot) or exact names; those in the environment variable
            `PROTEMB_ALLOW` are added.

    Raises:
        ForbiddenTarget: the name is not on the list, is no class, or is defined elsewhere.
    """
    name = target if isinstance(target, str) else repr(target)
    own = [f"{package.strip()}." for package in os.environ.get(ENVIRONMENT, "").split(",")]
    listed = (*allowed, *(prefix for prefix in own if prefix != "."))
    if not any(name == entry or (entry[-1] == "." and name.startswith(entry)) for entry in listed):
        raise ForbiddenTarget(name, f"not on the list of allowed packages (see {ENVIRONMENT})")
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ForbiddenTarget(name, f"which cannot be imported: {error}") from error
    if not isinstance(found, type):
        raise ForbiddenTarget(name, "which is not a class")
    home = f"{found.__module__}."
    roots = [entry.split(".")[0] + "." for entry in listed]
    if not any(home.startswith(root) for root in roots):
        raise ForbiddenTarget(name, f"which is defined elsewhere, in {found.__module__}")
    return found


def target_nodes(node: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping with a `_target_` inside plain nested values, with its dotted path."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield path, node
        for key, value in node.items():
            yield from target_nodes(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from target_nodes(value, f"{path}[{index}]")
