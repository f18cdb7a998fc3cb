"""Checkpoints rebuild the network, and run nothing whatever is inside."""

import os
import pickle

import pytest
import torch

from protemb.errors import CheckpointError
from protemb.models.checkpoint import (
    RECIPE_KEY,
    RECIPE_VERSION,
    build_classifier,
    load_classifier,
)
from protemb.targets import ENVIRONMENT, ForbiddenTarget, locate, target_nodes

RECIPE = {
    "version": RECIPE_VERSION,
    "encoder": {
        "_target_": "protemb.models.encoders.RecurrentEncoder",
        "hidden_dim": 4,
        "bidirectional": True,
    },
    "pooling": {"_target_": "protemb.models.pooling.EndsPooling", "_partial_": True},
    "level": "states",
    "head": {"hidden": 5, "dropout": 0.1},
    "labels": ["avian", "human"],
}


def _save(path, recipe=RECIPE, model=None, **changes):
    model = model or build_classifier(RECIPE)
    state = {f"classifier.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state, RECIPE_KEY: recipe} | changes, path)
    return path


def test_a_checkpoint_rebuilds_the_same_network(tmp_path):
    torch.manual_seed(0)
    model = build_classifier(RECIPE).eval()
    trained = load_classifier(_save(tmp_path / "best.ckpt", model=model))
    tokens_BL, lengths_B = torch.randint(0, 21, (2, 9)), torch.tensor([9, 4])
    with torch.no_grad():
        assert torch.equal(trained.model(tokens_BL, lengths_B), model(tokens_BL, lengths_B))
    assert trained.label_names == ("avian", "human") and not trained.model.training


def test_a_run_folder_stands_for_its_best_checkpoint(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    path = _save(tmp_path / "checkpoints" / "best.ckpt")
    assert load_classifier(tmp_path).sha256 == load_classifier(path).sha256


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def _evil(path, canary):
    path.write_bytes(pickle.dumps(Evil(f"touch {canary}")))


def _evil_inside(path, canary):
    torch.save({"state_dict": {}, RECIPE_KEY: Evil(f"touch {canary}")}, path)


def _cut(path, canary):
    _save(path)
    path.write_bytes(path.read_bytes()[:-200])


def _with(recipe):
    return lambda path, canary: _save(path, recipe=recipe)


HOSTILE = {
    "pickle": (_evil, "damaged, or not a checkpoint"),
    "pickle inside": (_evil_inside, "damaged, or not a checkpoint"),
    "cut": (_cut, "damaged, or not a checkpoint"),
    "empty": (lambda path, canary: path.write_bytes(b""), "damaged, or not a checkpoint"),
    "text": (lambda path, canary: path.write_text(">P1\nMKV\n"), "damaged"),
    "a list": (lambda path, canary: torch.save([1], path), "no protemb recipe inside"),
    "foreign": (lambda path, canary: torch.save({"w": torch.ones(2)}, path), "no protemb recipe"),
    "newer": (_with(RECIPE | {"version": 99}), "recipe version: got 99, expected 1"),
    "no pooling": (
        _with({k: v for k, v in RECIPE.items() if k != "pooling"}),
        "weights and recipe do not fit: 'pooling'",
    ),
    "command": (
        _with(RECIPE | {"encoder": {"_target_": "os.system", "command": "true"}}),
        "got 'os.system', not on the list",
    ),
    "walk": (
        _with(RECIPE | {"encoder": {"_target_": "protemb.models.encoders.base.torch.hub.load"}}),
        "_target_: got",
    ),
    "pooling as encoder": (
        _with(RECIPE | {"encoder": RECIPE["pooling"]}),
        "not on the list",
    ),
    "other option": (
        _with(RECIPE | {"encoder": RECIPE["encoder"] | {"depth": 3}}),
        "weights and recipe do not fit",
    ),
    "other width": (
        _with(RECIPE | {"encoder": RECIPE["encoder"] | {"hidden_dim": 9}}),
        "weights and recipe do not fit",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_and_damaged_files_give_one_line(tmp_path, kind):
    make, message = HOSTILE[kind]
    path, canary = tmp_path / "x.ckpt", tmp_path / "canary"
    make(path, canary)
    with pytest.raises(CheckpointError) as caught:
        load_classifier(path)
    text = str(caught.value)
    assert message in text and str(path) in text and "\n" not in text
    assert not canary.exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        load_classifier(tmp_path / "none.ckpt")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "protemb.files.os.system",
        "protemb.files.shutil.rmtree",
        "protemb.files.Path",
        "protemb.files.write_text",
        "protemb.no_such_module.Thing",
        "torch.load",
        "pytorch_lightning.TrainerX",
        "subprocess.Popen",
        "",
        "protemb.",
        None,
    ],
)
def test_forbidden_targets(target):
    with pytest.raises(ForbiddenTarget):
        locate(target)


def test_allowed_targets(monkeypatch):
    assert locate("torch.optim.AdamW") is torch.optim.AdamW
    with pytest.raises(ForbiddenTarget):
        locate("collections.OrderedDict")
    monkeypatch.setenv(ENVIRONMENT, "mine, collections")
    assert locate("collections.OrderedDict")


def test_target_nodes_finds_every_depth():
    node = {"a": {"_target_": "x", "b": [{"_target_": "y"}]}, "c": 1}
    assert [(path, inner["_target_"]) for path, inner in target_nodes(node)] == [
        ("a", "x"),
        ("a.b[0]", "y"),
    ]
