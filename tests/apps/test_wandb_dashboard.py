"""The saved dashboard: what it would send, built without a server, against what runs send."""

import json
import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "scripts" / "wandb_dashboard.py"))


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(tmp_path, monkeypatch):
    for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "NETRC"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def strings(node):
    """Every text in a JSON value."""
    if isinstance(node, dict):
        return {text for value in node.values() for text in strings(value)}
    if isinstance(node, list):
        return {text for value in node for text in strings(value)}
    return {node} if isinstance(node, str) else set()


def test_the_spec_has_every_panel(script, capsys):
    script["main"](["--dry-run", "--sweep", "sweep-x"])
    spec = json.loads(capsys.readouterr().out)
    view = json.loads(spec["spec"]) if isinstance(spec.get("spec"), str) else spec["spec"]
    sections = view["section"]["panelBankConfig"]["sections"]
    panels = {
        section["name"]: [panel["viewType"] for panel in section["panels"]] for section in sections
    }
    count = len(script["OBJECTIVES"])
    assert panels["Training"] == ["Run History Line Plot"] * (count + 1)
    assert panels["Test scores by encoder and pooling"] == ["Bar Chart"] * 2 * len(script["SCORES"])
    assert panels["Choices"] == ["Parallel Coordinates Plot"]
    assert panels["Gradients and speed"] == ["Run History Line Plot"] * 3
    assert len(panels["Reports"]) == 1
    (plot,) = sections[2]["panels"]
    assert [column["accessor"] for column in plot["config"]["columns"]] == [
        *("config:choices.value.encoder", "config:choices.value.pooling"),
        *("config:optimizer.value.lr", "config:seed.value"),
        *("summary:val/balanced_accuracy", "summary:test/balanced_accuracy"),
    ]
    said = strings(view)
    assert "sweep-x" in said
    for metric in (*script["OBJECTIVES"], *script["SCORES"], "residues_per_second"):
        assert any(metric in text for text in said), metric


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "protemb: --entity: got nothing, expected the user or team"),
        (["--entity", "team"], "protemb: W&B did not save the dashboard: "),
    ],
)
def test_without_a_login_it_is_one_line(script, arguments, said, capsys, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(SystemExit) as stopped:
        script["main"](arguments)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(said) and err.count("\n") == 1
