"""Importing does nothing, and what answers at once loads nothing heavy."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

HEAVY = ["torch", "pytorch_lightning", "wandb", "sklearn", "matplotlib"]

# Both probes run in a fresh interpreter; argv[1] is a JSON object of lists of names.
# Packages of other people are loaded first: what they do is not our doing.
SILENT_PROBE = """
import contextlib, importlib, io, json, logging, os, random, sys, warnings
job = json.loads(sys.argv[1])
for name in job["packages"]:
    while name:
        try:
            importlib.import_module(name)
            break
        except ImportError:  # the name of a class or function: its module is meant
            name = name.rpartition(".")[0]
printed = io.StringIO()

def state():
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    facts = {
        "environment": dict(os.environ),
        "folder": (os.getcwd(), os.listdir()),
        "logging": [(l.name, l.level, list(l.handlers)) for l in loggers
                    if isinstance(l, logging.Logger) and (l.level or l.handlers)],
        "warnings": list(warnings.filters),
        "random": random.getstate(),
        "printed": printed.getvalue(),
    }
    if numpy := sys.modules.get("numpy"):
        facts["numpy.random"] = repr(numpy.random.get_state(legacy=False))
    if torch := sys.modules.get("torch"):
        facts["torch.random"] = torch.get_rng_state().tolist()
        facts["torch"] = (torch.get_default_dtype(), torch.get_num_threads(),
                          torch.get_float32_matmul_precision(), torch.is_grad_enabled())
    return facts

found = {}
for name in job["modules"]:
    before = state()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        importlib.import_module(name)
    after = state()
    if changed := [fact for fact in before if before[fact] != after[fact]]:
        found[name] = changed
print("RESULT", json.dumps(found))
"""

LIGHT_PROBE = """
import importlib, json, sys
job = json.loads(sys.argv[1])
found = {}
for name in job["modules"]:
    before = set(sys.modules)
    importlib.import_module(name)
    if loaded := sorted((set(sys.modules) - before) & set(job["heavy"])):
        found[name] = loaded
print("RESULT", json.dumps(found))
"""


@pytest.fixture
def probe(tmp_path_factory):
    """Run a probe on a source tree; return {module: what it did} for those that did something."""

    def run(script, tree, **job):
        done = subprocess.run(
            [sys.executable, "-c", script, json.dumps(job)],
            cwd=tmp_path_factory.mktemp("empty"),
            env=os.environ | {"PYTHONPATH": str(tree.root)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.rpartition("RESULT")[2])

    return run


def outside_names(tree, **options):
    """Dotted names that the package imports from elsewhere, the standard library left out."""
    names = set().union(*(tree.imports(module, **options) for module in tree.modules))
    roots = sys.stdlib_module_names | {"protemb"}
    return {name for name in names if name.split(".")[0] not in roots}


def light_modules(tree):
    """Modules that answer at once: the command line, and everything about sequences."""
    rooms = {"cli", "errors", "files", "intervals", "sequences", "targets"}
    return [name for name in tree.modules if name == "protemb" or name.split(".")[1] in rooms]


def test_imports_are_silent(tree, probe):
    packages = sorted(outside_names(tree, top_level=True))
    assert probe(SILENT_PROBE, tree, packages=packages, modules=list(tree.modules)) == {}


def test_light_modules_stay_light(tree, probe):
    assert probe(LIGHT_PROBE, tree, heavy=HEAVY, modules=light_modules(tree)) == {}


def undeclared(names, requirements):
    """Packages among dotted names that no requirement brings."""
    declared = {normal(re.match(r"[\w.-]+", text)[0]) for text in requirements}
    distributions = packages_distributions()
    packages = {name.split(".")[0] for name in names}
    return {
        package
        for package in packages
        if declared.isdisjoint(map(normal, distributions.get(package, [package])))
    }


def normal(distribution):
    """The one spelling of a distribution's name (PyYAML, Py-YAML and py_yaml are the same)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_imported_packages_are_declared(tree):
    project = tomllib.loads((tree.root / "pyproject.toml").read_text())["project"]
    core = project["dependencies"]
    extras = [text for extra in project["optional-dependencies"].values() for text in extra]
    assert undeclared(outside_names(tree, top_level=True), core) == set()
    assert undeclared(outside_names(tree), core + extras) == set()


def test_an_undeclared_package_is_found():
    assert undeclared({"yaml", "numpy.linalg"}, ["numpy>=2", "scipy"]) == {"yaml"}
    assert undeclared({"yaml"}, ["py_yaml", "PyYAML>=6"]) == set()


@pytest.mark.parametrize(
    ("source", "fact"),
    [
        ("import os; os.environ['OMP_NUM_THREADS'] = '7'", "environment"),
        ("open('cache', 'w').close()", "folder"),
        ("import logging; logging.basicConfig()", "logging"),
        ("import logging; logging.getLogger(__name__).setLevel('INFO')", "logging"),
        ("import warnings; warnings.simplefilter('ignore')", "warnings"),
        ("import random; random.seed(0)", "random"),
        ("import numpy as np; np.random.seed(0)", "numpy.random"),
        ("print('hello')", "printed"),
    ],
)
def test_a_loud_import_is_found(planted, probe, source, fact):
    tree = planted({"loud.py": source})
    packages = sorted(outside_names(tree, top_level=True))
    assert probe(SILENT_PROBE, tree, packages=packages, modules=list(tree.modules)) == {
        "protemb.loud": [fact]
    }


def test_a_heavy_import_is_found(planted, probe):
    tree = planted({"cli.py": "import json\nimport protemb.sequences.a", "sequences/a.py": ""})
    job = {"heavy": ["json.tool", "wave"], "modules": light_modules(tree)}
    assert probe(LIGHT_PROBE, tree, **job) == {}
    (tree.root / "protemb/sequences/a.py").write_text("import wave")
    assert probe(LIGHT_PROBE, tree, **job) == {"protemb.cli": ["wave"]}
