"""What the pages promise exists: links, commands, scripts, config choices, rooms."""

import ast
import re
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/**/*.md")
    for path in ROOT.glob(pattern)
    if "_build" not in path.parts
)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

BLOCK = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"^([a-z]+):.*##", re.MULTILINE)


def blocks(text, *languages):
    """Fenced code blocks of a page in one of the languages."""
    return [code for language, code in BLOCK.findall(text) if language in languages]


def commands(text):
    """Shell commands of a page, comments left out and continued lines joined."""
    code = "\n".join(blocks(text, "bash", "sh", "console")).replace("\\\n", " ")
    code = re.sub(r"(^|\s)#.*", "", code, flags=re.MULTILINE)
    lines = (line.removeprefix("$ ").split() for line in re.split(r"\n|\s&&\s|;\s", code))
    return [words for words in lines if words]


def broken_links(text, folder):
    """Relative links and images of a page that lead nowhere."""
    prose = re.sub(r"`[^`\n]*`", "", BLOCK.sub("", text))
    targets = re.findall(r"\]\(<?([^)\s>]+)", prose) + re.findall(r'(?:src|href)="([^"]+)"', prose)
    local = [target for target in targets if not re.match(r"[a-z]+:|#", target)]
    return [target for target in local if not (folder / target.split("#")[0]).exists()]


def broken_commands(text, root):
    """Make targets, scripts and config choices in a page's commands that do not exist."""
    targets = set(TARGET.findall((root / "Makefile").read_text()))
    broken = []
    for words in commands(text):
        if words[0] == "make":
            names = takewhile(str.isalpha, words[1:])
            broken += [f"make {name}" for name in names if name not in targets]
        elif words[0].endswith("python"):
            scripts = [word for word in words[1:2] if word.endswith(".py")]
            broken += [script for script in scripts if not (root / script).is_file()]
            choices = (word.split("=", 1) for word in words[2:] if "=" in word)
            conf = root / "conf" / ("variants" if scripts == ["variants.py"] else "")
            broken += [
                f"{group}={choice}"
                for group, value in choices
                if re.fullmatch("[a-z_/]+", group) and (conf / group).is_dir()
                for choice in value.split(",")
                if not (conf / group / f"{choice}.yaml").is_file()
            ]
    return broken


@every_page
def test_links(page):
    assert broken_links(page.read_text(), page.parent) == []


@every_page
def test_commands(page):
    assert broken_commands(page.read_text(), ROOT) == []


@every_page
def test_python_blocks(page):
    for code in blocks(page.read_text(), "python"):
        ast.parse(code)


def test_readme_names_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert ["make", "demo"] in [words[:2] for words in commands(text)]
    assert ["make", "test"] in [words[:2] for words in commands(text)]


def test_architecture_names_every_room_and_choice(tree):
    text = (ROOT / "docs" / "architecture.md").read_text()
    package = ROOT / "protemb"
    rooms = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    rooms |= {f"{path.parent.name}/" for path in tree.modules.values() if path.parent != package}
    assert [room for room in sorted(rooms) if room not in text] == []
    choices = {path.parent.name for path in ROOT.glob("conf/*/*.yaml")}
    assert sorted(choices - set(re.findall(r"\w+", text))) == []


def test_contributing_is_short():
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 60


def test_broken_promises_are_found(tmp_path):
    (tmp_path / "Makefile").write_text("demo: x ## run\n")
    (tmp_path / "conf" / "encoder").mkdir(parents=True)
    (tmp_path / "conf" / "encoder" / "lstm.yaml").touch()
    (tmp_path / "conf" / "variants" / "table").mkdir(parents=True)
    (tmp_path / "conf" / "variants" / "table" / "csv.yaml").touch()
    for script in ("train.py", "variants.py"):
        (tmp_path / script).touch()
    page = """
[here](train.py) [there](gone.md#part) ![picture](gone.png) [web](https://example.org) `[no](link)`
<img src="gone.svg">
```bash
make demo PYTHON="a python"   # make nothing
cd protemb && make demo tea
python train.py encoder=lstm,gru optimizer.lr=1e-3 \\
    encoder=cnn
.venv/bin/python scripts/gone.py
python variants.py table=csv encoder=another
python variants.py table=tsv pooling=[mean,last]
```
"""
    assert broken_links(page, tmp_path) == ["gone.md#part", "gone.png", "gone.svg"]
    assert broken_commands(page, tmp_path) == [
        "make tea",
        "encoder=gru",
        "encoder=cnn",
        "scripts/gone.py",
        "table=tsv",
    ]
