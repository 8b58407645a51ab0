"""What may import what: no circles in the package, and tests and benchmarks that do not lean on each other."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from testbed.workerd.setting import EVERY_SETTING
from tests.docs.support import parse_python
from tests.support.parallel import FIRST, unit_of

ROOT = Path(__file__).parents[1]


def find_modules(folder: Path, name: str) -> dict[str, Path]:
    """Return the files of a package by the names of their modules."""
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*.py")):
        if "node_modules" in file.parts:
            continue
        parts = (name, *file.relative_to(folder).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def read_imports(name: str, file: Path) -> Iterator[tuple[str, str]]:
    """Yield what a module imports, in functions as well: a module, and a name in it, which may be a module too."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(parse_python(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield from ((base, alias.name) for alias in node.names)


def import_graph(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return which modules each module imports, of those given."""
    graph: dict[str, set[str]] = {}
    for name, file in modules.items():
        imported = (
            submodule if (submodule := f"{module}.{member}") in modules else module
            for module, member in read_imports(name, file)
        )
        graph[name] = {other for other in imported if other in modules}
    return graph


def find_circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a circle of modules that import each other, or an empty list."""
    finished: set[str] = set()

    def search(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in finished:
            return []
        for other in sorted(graph[name]):
            if circle := search(other, [*path, name]):
                return circle
        finished.add(name)
        return []

    return next((circle for name in graph if (circle := search(name, []))), [])


def test_the_package_has_no_import_circle() -> None:
    graph = import_graph(find_modules(ROOT / "src" / "aibind", "aibind"))
    assert len(graph) > 50
    assert sum(map(len, graph.values())) > 100
    assert find_circle(graph) == []


TREES = ("testbed", "benchmarks", "tests")
MODULES = {name: file for tree in TREES for name, file in find_modules(ROOT / tree, tree).items()}


def test_tests_benchmarks_and_what_they_share_have_no_import_circle() -> None:
    graph = import_graph(MODULES)
    assert sum(map(len, graph.values())) > 100
    assert find_circle(graph) == []


@pytest.mark.parametrize("name", MODULES)
def test_trees_import_downwards(name: str) -> None:
    """``testbed`` imports neither of the others, benchmarks no tests, and only the benchmarks' tests benchmarks."""
    below = {"testbed": {"testbed"}, "benchmarks": {"testbed", "benchmarks"}, "tests": {"testbed", "tests"}}
    allowed = below[name.partition(".")[0]] | ({"benchmarks"} if name.startswith("tests.benchmarks") else set())
    found = {other.partition(".")[0] for other, _ in read_imports(name, MODULES[name])} & {*TREES}
    assert found <= allowed


@pytest.mark.parametrize(
    ("files", "circle"),
    [
        ({"a.py": "import p.b", "b.py": "from p import c", "c.py": "def f():\n    from . import a"}, True),
        ({"a.py": "from .b import x", "b.py": "from . import a"}, True),
        ({"__init__.py": "from .a import x", "a.py": "from . import y"}, True),
        ({"__init__.py": "from .a import x", "a.py": "from . import b", "b.py": "from .c import x", "c.py": ""}, False),
        ({"a.py": "from .b import x", "b.py": "from .c import x", "c.py": "import json"}, False),
    ],
)
def test_circles_are_found(files: Mapping[str, str], circle: bool, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert bool(find_circle(import_graph(find_modules(tmp_path, "p")))) == circle


def test_what_begins_first_is_there() -> None:
    for unit in FIRST:
        if unit.removeprefix("tests/workerd/") not in EVERY_SETTING:
            assert (ROOT / unit).exists(), f"{unit} is gone: take it out of tests/support/parallel.py"
            assert unit_of(f"{unit}::test") == unit
    for setting in EVERY_SETTING:
        inside = f"tests/workerd/test_inside.py::test_inside_workerd[{setting}-kv::check-raw]"
        outside = f"tests/workerd/test_lives.py::test_x[{setting}-entry]"
        assert unit_of(inside) == unit_of(outside) == f"tests/workerd/{setting}"
    assert unit_of("tests/workerd/test_lives.py::test_x[py314]") == "tests/workerd/py314"
    assert unit_of("tests/history/test_tree.py::test_x") == "tests/history/test_tree.py"
