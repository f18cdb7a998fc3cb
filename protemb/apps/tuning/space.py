"""What is searched: ranges and lists of options, in the words of a config."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from protemb.errors import ConfigError

Choice = str | int | float | bool | None

_RANGE = {"low", "high", "log", "step"}
# Texts that a command line takes for something else, or that need quotes there.
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_WORDS = ("true", "false", "null", "nan", "inf")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both among them; whole ones if both are.

    Attributes:
        low: the smallest.
        high: the largest.
        log: look as closely at small numbers as at large ones.
        step: between neighbours; None for all numbers (1 for whole ones).
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int)

    @property
    def ends(self) -> tuple[Choice, Choice]:
        """Two choices far apart."""
        return self.low, self.high


@dataclass(frozen=True)
class Categories:
    """Any of some values, which have no order."""

    values: tuple[Choice, ...]

    @property
    def ends(self) -> tuple[Choice, Choice]:
        """Two choices far apart."""
        return self.values[0], self.values[-1]


Space = Mapping[str, Range | Categories]


def read_space(node: Mapping[str, Any], option: str = "hydra.sweeper.space") -> Space:
    """Read a search space: nested like the config, or with dots in its keys.

    Args:
        node: plain values; `{low, high, log, step}` is a range, a list are categories.
        option: where the node stands, for messages.

    Raises:
        ConfigError: it is empty, or nothing can be drawn from a part of it.

    >>> read_space({"encoder": {"hidden_dim": {"low": 16, "high": 256, "log": True}}})
    {'encoder.hidden_dim': Range(low=16, high=256, log=True, step=None)}
    >>> read_space({"pooling": ["mean", "max"]})
    {'pooling': Categories(values=('mean', 'max'))}
    """
    if not isinstance(node, Mapping) or not node:
        raise ConfigError(option, node, "options and what to draw them from")
    space: dict[str, Range | Categories] = {}
    for key, what in _leaves(node, ""):
        if key in space:
            raise ConfigError(f"{option}.{key}", what, "every option once")
        space[key] = _read(what, f"{option}.{key}")
    return space


def _leaves(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        where = f"{path}.{name}" if path else str(name)
        if isinstance(value, Mapping) and value and not _RANGE & set(value):
            yield from _leaves(value, where)
        else:
            yield where, value


def _read(what: Any, option: str) -> Range | Categories:
    if isinstance(what, list):
        return _categories(what, option)
    if not isinstance(what, Mapping) or not {"low", "high"} <= set(what) <= _RANGE:
        raise ConfigError(option, what, "a list, or {low, high} with log or step")
    given = {"log": False, "step": None, **what}
    numbers = [given["low"], given["high"], *([] if given["step"] is None else [given["step"]])]
    if not all(type(x) in (int, float) and math.isfinite(x) for x in numbers):
        raise ConfigError(option, what, "numbers")
    if not all(type(x) is int for x in numbers):
        given |= {"low": float(given["low"]), "high": float(given["high"])}
        given |= {"step": None if given["step"] is None else float(given["step"])}
    if given["low"] > given["high"]:
        raise ConfigError(option, what, "low not above high")
    if type(given["log"]) is not bool:
        raise ConfigError(f"{option}.log", given["log"], "true or false")
    if given["log"] and (given["low"] <= 0 or given["step"] is not None):
        raise ConfigError(option, what, "with log, low above 0 and no step")
    if given["step"] is not None:
        steps = (given["high"] - given["low"]) / given["step"] if given["step"] > 0 else 0.5
        if not math.isclose(steps, round(steps), abs_tol=1e-9):
            raise ConfigError(f"{option}.step", given["step"], "steps that lead from low to high")
    return Range(**given)


def _categories(what: list[Any], option: str) -> Categories:
    if not what or not all(isinstance(x, str | int | float | bool | None) for x in what):
        raise ConfigError(option, what, "at least one text, number, true, false or null")
    if len(set(what)) < len(what):
        raise ConfigError(option, what, "every value once")
    return Categories(tuple(what))


def override(key: str, value: Choice) -> str:
    """The value as an override, which Hydra reads back as the same value.

    >>> override("encoder.hidden_dim", 64), override("pooling", "mean")
    ('encoder.hidden_dim=64', 'pooling=mean')
    >>> override("data.hint", "it's 1"), override("network", None)
    ("data.hint='it\\\\'s 1'", 'network=null')
    """
    if value is None or isinstance(value, bool):
        return f"{key}={str(value).lower() if value is not None else 'null'}"
    if isinstance(value, int | float):
        return f"{key}={value!r}"
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return f"{key}={value}"
    # A backslash counts only before a quote, there and at the end it is doubled.
    quoted = re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)
    return f"{key}='{quoted}'"
