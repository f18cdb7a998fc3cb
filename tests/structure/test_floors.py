"""A module imports lower floors or its own room, without a cycle; each room knows its packages."""

import sys
from graphlib import CycleError, TopologicalSorter

import pytest

FLOORS = {
    # Of floor 0, these three stand on one another.
    "errors": -2,
    "claims": -1,
    "files": 0,
    "intervals": 0,
    "ranks": 0,
    "scores": 1,
    "pair_scores": 1,
    "regression_scores": 1,
    "targets": 1,
    "sequences": 1,
    "tagging_scores": 2,
    "models": 2,
    "vectors": 3,
    "training": 4,
    "variants": 4,
    "analysis": 4,
    "apps": 5,
    "cli": 6,
}

# Packages that only these rooms may import, wherever the import stands.
FENCES = {
    "hydra": {"apps"},
    "omegaconf": {"apps"},
    "pytorch_lightning": {"training", "apps"},
    "lightning": {"training", "apps"},
    "wandb": set(),
    "torch": {"models", "vectors", "training", "variants", "analysis", "apps", "cli"},
}

# Modules that may import these packages and no other.
ALLOWANCES = {
    "errors": set(),
    "claims": {"filelock"},
    "files": set(),
    "targets": set(),
    "intervals": {"numpy"},
    "ranks": {"numpy"},
}


def room_of(module):
    """The room of a dotted module name; the package's own `__init__` is the ground all stand on."""
    return module.split(".")[1] if "." in module else None


def broken_floors(tree):
    broken = []
    for module in tree.modules:
        room = room_of(module)
        for other in sorted(tree.imported_modules(module)):
            other_room = room_of(other)
            if other_room is None or other_room == room:
                continue
            if room is None or FLOORS[other_room] >= FLOORS[room]:
                broken.append(f"{module} -> {other}")
    return broken


def find_cycle(tree):
    """Modules that import each other in a ring, or an empty list."""
    graph = {module: tree.imported_modules(module) - {module} for module in tree.modules}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def broken_fences(tree):
    broken = []
    for module in tree.modules:
        room = room_of(module)
        outside = {name.split(".")[0] for name in tree.imports(module) if not tree.is_ours(name)}
        for package in sorted(outside):
            allowed = ALLOWANCES.get(room)
            if room not in FENCES.get(package, {room}) or (
                allowed is not None and package not in allowed | sys.stdlib_module_names
            ):
                broken.append(f"{module} -> {package}")
    return broken


def test_every_room_has_a_floor(tree):
    rooms = {room_of(module) for module in tree.modules} - {None}
    assert rooms <= set(FLOORS), "give a new room its floor here and in docs/architecture.md"


def test_imports_go_down(tree):
    assert broken_floors(tree) == []


def test_no_cycles(tree):
    assert find_cycle(tree) == []


def test_packages_stay_in_their_rooms(tree):
    assert broken_fences(tree) == []


@pytest.mark.parametrize(
    ("path", "source", "broken"),
    [
        ("claims.py", "from protemb.files import write_json", "protemb.claims -> protemb.files"),
        ("errors.py", "def f():\n    import protemb.files", "protemb.errors -> protemb.files"),
        ("__init__.py", "from protemb import errors", "protemb -> protemb.errors"),
        (
            "training/fit.py",
            "class A:\n    def f(self):\n        from protemb.analysis import plots",
            "protemb.training.fit -> protemb.analysis.plots",
        ),
    ],
)
def test_a_climbing_import_is_found(planted, path, source, broken):
    rest = {
        "errors.py": "",
        "claims.py": "",
        "files.py": "",
        "analysis/__init__.py": "",
        "analysis/plots.py": "",
    }
    assert broken_floors(planted(rest | {path: source})) == [broken]


def test_imports_of_lower_floors_and_the_own_room_pass(planted):
    tree = planted(
        {
            "errors.py": "",
            "training/__init__.py": "",
            "training/loss.py": "from protemb import __version__",
            "training/fit.py": "from protemb.errors import E\nfrom protemb.training.loss import f",
        }
    )
    assert broken_floors(tree) == []
    assert find_cycle(tree) == []


def test_a_cycle_is_found(planted):
    tree = planted(
        {
            "models/__init__.py": "",
            "models/a.py": "from protemb.models.b import f",
            "models/b.py": "def f():\n    from protemb.models import a",
        }
    )
    assert set(find_cycle(tree)) == {"protemb.models.a", "protemb.models.b"}


@pytest.mark.parametrize(
    ("path", "source", "broken"),
    [
        ("sequences/fasta.py", "def f():\n    import torch.nn", "protemb.sequences.fasta -> torch"),
        (
            "models/a.py",
            "from pytorch_lightning import Trainer",
            "protemb.models.a -> pytorch_lightning",
        ),
        ("vectors/a.py", "import omegaconf", "protemb.vectors.a -> omegaconf"),
        ("apps/train.py", "try:\n    import wandb\nfinally: pass", "protemb.apps.train -> wandb"),
        ("intervals.py", "import numpy, os, scipy.stats", "protemb.intervals -> scipy"),
        ("cli.py", "import hydra", "protemb.cli -> hydra"),
    ],
)
def test_a_package_out_of_its_room_is_found(planted, path, source, broken):
    assert broken_fences(planted({path: source})) == [broken]
