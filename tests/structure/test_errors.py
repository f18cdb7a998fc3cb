"""Every error of the package reads as one line and survives the way out of a worker process."""

import importlib
import inspect
import pickle
import pkgutil
from pathlib import Path

import pytest

import protemb
from protemb.errors import ProtembError


def all_errors():
    """Every subclass of ProtembError, wherever in the package it is defined."""
    for module in pkgutil.walk_packages(protemb.__path__, "protemb."):
        importlib.import_module(module.name)
    found, waiting = set(), [ProtembError]
    while waiting:
        new = set(waiting.pop().__subclasses__()) - found
        found |= new
        waiting.extend(new)
    ours = (error for error in found if error.__module__.startswith("protemb."))
    return sorted(ours, key=lambda error: error.__name__)


# A value of every type that an error's facts may have.
SAMPLES = {
    str: "a word",
    int: 3,
    float: 0.5,
    bool: True,
    object: [1, "two"],
    Path: Path("a/b"),
    dict: {"a": 1},
}


def sample(annotation):
    """A value for a parameter's annotation; of `X | None`, one for X."""
    kinds = [kind for kind in getattr(annotation, "__args__", ()) if kind is not type(None)]
    if annotation not in SAMPLES and kinds:
        return sample(kinds[0]) if isinstance(kinds[0], type) else kinds[0]
    assert annotation in SAMPLES, f"{annotation}: annotate the facts of an error, see SAMPLES"
    return SAMPLES[annotation]


def examples(error):
    """An error with every fact given, and one with the optional facts left out."""
    parameters = inspect.signature(error, eval_str=True).parameters.values()
    yield error(*(sample(parameter.annotation) for parameter in parameters))
    required = (p for p in parameters if p.default is p.empty)
    yield error(*(sample(parameter.annotation) for parameter in required))


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
def test_error(error):
    built_in = {base for base in error.__mro__ if base.__module__ == "builtins"}
    assert built_in > {Exception, BaseException, object}, "also derive from the built-in kind"
    for original in examples(error):
        assert str(original).strip() and len(str(original).splitlines()) == 1
        assert error.__name__ in repr(original)
        copy = pickle.loads(pickle.dumps(original))
        assert type(copy) is error
        assert str(copy) == str(original)
        assert vars(copy) == vars(original)
