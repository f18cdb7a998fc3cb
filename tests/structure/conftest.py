"""What the package holds and what each of its files imports, read from the source alone."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imported_names(source: str, *, top_level: bool = False) -> Iterator[str]:
    """Dotted names that a file imports; `from a import b` gives `a.b`.

    Function bodies count, unless `top_level` asks for what runs when the file is imported.
    """
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not (top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            nodes.extend(ast.iter_child_nodes(node))


@dataclass(frozen=True)
class SourceTree:
    """The repository as a test sees it."""

    root: Path
    modules: dict[str, Path]  # dotted name of every module of the package -> its file

    def imports(self, module: str, *, top_level: bool = False) -> set[str]:
        """Dotted names that a module of the package imports."""
        return set(imported_names(self.modules[module].read_text(), top_level=top_level))

    def imported_modules(self, module: str) -> set[str]:
        """Modules of the package that a module of the package imports."""
        return {self.module_of(name) for name in self.imports(module) if self.is_ours(name)}

    def is_ours(self, name: str) -> bool:
        """Whether a dotted name belongs to the package."""
        return name.split(".")[0] == "protemb"

    def module_of(self, name: str) -> str:
        """The module that defines a dotted name of ours: `protemb.files.x` -> `protemb.files`."""
        while name not in self.modules:
            name = name.rpartition(".")[0]
        return name


def read_tree(root: Path) -> SourceTree:
    """Find every module under `root`/protemb."""
    modules = {}
    for path in sorted((root / "protemb").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return SourceTree(root, modules)


@pytest.fixture(scope="session")
def tree() -> SourceTree:
    """The project itself."""
    return read_tree(ROOT)


@pytest.fixture
def planted(tmp_path: Path) -> Callable[[dict[str, str]], SourceTree]:
    """Build a package from {path below protemb: source}, to show that a rule can be broken."""

    def plant(sources: dict[str, str]) -> SourceTree:
        for name, source in {"__init__.py": "", **sources}.items():
            path = tmp_path / "protemb" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return read_tree(tmp_path)

    return plant
