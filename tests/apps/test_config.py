"""Every file in conf/ composes, and says nothing that its class would refuse."""

import copy
from pathlib import Path

import pytest
from hydra.errors import ConfigCompositionException
from started import Started

from protemb.apps.config import build, check, plain, unknown_options
from protemb.apps.variants.config import check as check_grid
from protemb.errors import ConfigError
from protemb.targets import target_nodes

CONF = Path(__file__).parents[2] / "conf"
FILES = sorted(
    (path.parent.name, path.stem)
    for path in CONF.glob("*/*.yaml")
    # variants.py has a root of its own there.
    if path.parent.name not in ("hydra", "variants")
)
GRID_FILES = sorted(
    (path.parent.name, path.stem)
    for path in CONF.glob("variants/*/*.yaml")
    if path.parent.name != "hydra"
)
# What a file leaves open for the user.
OPEN = {
    ("data", "fasta"): ["data.source.path=x.fasta"],
    ("data", "table"): ["data.source.path=x.csv"],
    ("data", "residues"): ["data.source.path=x.fasta"],
    ("data", "sequences"): ["data.source.path=x.fasta"],
    ("split", "time"): ["split.train_until=2010", "split.validation_until=2015"],
}
GRID_OPEN = {
    ("table", "csv"): ["table.source.path=x.csv"],
    ("table", "labels"): ["table.source.path=x.csv"],
    ("encoders", "one"): ["encoders.model.weights=models/x"],
}


@pytest.mark.parametrize(("group", "name"), FILES)
def test_every_choice_composes_and_fits_its_classes(composed, group, name):
    values = plain(composed(f"{group}={name}", *OPEN.get((group, name), [])))
    check(values)
    assert list(target_nodes(values))


@pytest.mark.parametrize(("group", "name"), GRID_FILES)
def test_every_choice_of_a_grid_composes_and_fits_its_classes(grid_config, tmp_path, group, name):
    values = plain(grid_config(tmp_path, f"{group}={name}", *GRID_OPEN.get((group, name), [])))
    check_grid(values)
    assert list(target_nodes(values))


def test_a_misspelt_option_is_found():
    node = {"_target_": "torch.optim.Adam", "_partial_": True, "lrr": 1e-3}
    assert unknown_options(node) == ["lrr"]


def test_unknown_keys_at_the_root_are_errors(composed):
    with pytest.raises(ConfigError, match="trainner: got .*, expected no such option"):
        check(plain(composed("+trainner.max_epochs=3")))


def test_a_misspelt_key_in_an_experiment_does_not_compose(composed, tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ntrainner:\n  max_epochs: 3\n"
    (tmp_path / "experiment" / "typo.yaml").write_text(text)
    with pytest.raises(ConfigCompositionException, match="trainner"):
        composed(f"hydra.searchpath=[file://{tmp_path}]", "experiment=typo")


def test_check_names_the_path_of_a_wrong_option(composed):
    values = plain(composed())
    values["callbacks"]["best"]["monitr"] = "x"
    with pytest.raises(ConfigError, match=r"callbacks\.best\.monitr: got 'x'"):
        check(values)


def removals(values, path=""):
    """Every option of a config that can be taken out, by its path."""
    for name, value in values.items():
        yield f"{path}{name}"
        if isinstance(value, dict):
            yield from removals(value, f"{path}{name}.")


def without(values, path):
    """A config without one option."""
    *groups, name = path.split(".")
    kept = copy.deepcopy(values)
    section = kept
    for group in groups:
        section = section[group]
    del section[name]
    return kept


@pytest.mark.parametrize("program", ["train", "variants"])
def test_what_is_left_out_is_named_or_not_needed(composed, grid_config, tmp_path, program):
    values = plain(composed() if program == "train" else grid_config(tmp_path))
    refuse = check if program == "train" else check_grid
    refuse(values)
    refused = []
    for path in removals(values):
        try:
            refuse(without(values, path))
        except ConfigError as error:
            assert error.option == path or path.startswith("encoders"), str(error)
            refused.append(path)
    assert set(values) <= set(refused)
    if program == "train":
        assert {"trainer.devices", "callbacks.best", "paths.cache", "task.hidden"} <= set(refused)
        assert not {"trainer.gradient_clip_val", "callbacks.progress", "split.seed"} & set(refused)


def test_what_is_left_open_is_named(composed):
    with pytest.raises(ConfigError, match=r"data\.source\.path: got '\?\?\?', expected a value"):
        check(plain(composed("data=fasta")))
    with pytest.raises(ConfigError, match=r"split\.train_until: got None, expected a year"):
        build(plain(composed("split=time"))["split"])


@pytest.mark.parametrize("group", ["data", "task", "trainer", "paths", "split", "callbacks"])
def test_a_group_that_is_taken_out_is_named(composed, group):
    with pytest.raises(ConfigError, match=rf"\b{group}\b"):
        check(plain(composed(f"~{group}")))


@pytest.mark.parametrize(
    ("program", "group"),
    [("train.py", "network"), ("train.py", "launcher"), ("variants.py", "logger")],
)
def test_a_group_without_choice_is_one_line(program, group):
    asked = Started(program, f"{group}=null", "--cfg", "job")
    assert asked.wait() == 2
    assert asked.said() == ("", f"protemb: {group}: got null, expected one of its choices\n")


def test_also_the_group_that_says_who_is_first():
    asked = Started("train.py", "~trainer")
    assert asked.wait() == 2
    _, said = asked.said()
    assert said.startswith("protemb: ") and "trainer" in said and said.count("\n") == 1
