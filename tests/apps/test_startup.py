"""A start pays for what it uses: the help page, and what a training loads before its first step."""

import copy
import subprocess
import sys

from hydra.core.config_store import ConfigStore

from protemb.apps.config import register_schema, share_store


def test_the_store_of_configs_is_shared_and_gives_copies(composed):
    share_store()
    store = ConfigStore.instance()
    assert copy.deepcopy({"store": store})["store"] is store
    register_schema()
    first = composed("task.residues=7")
    first.task.residues = 8
    assert composed().task.residues != 8
    # What is loaded from it is still the caller's own.
    store.load("train_schema.yaml").node["level"] = "changed"
    assert store.load("train_schema.yaml").node["level"] != "changed"


def test_training_loads_no_baselines_before_they_are_fitted():
    imports = "import sys, protemb.apps.train, protemb.apps.classification"
    code = f"{imports}; print('sklearn' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False"]
