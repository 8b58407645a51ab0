"""The documentation is built as CI builds it, its links lead somewhere, and it says what the code does."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aibind.errors
from aibind.streams import BaseStreamStore, StreamStore
from tests.docs.support import PAGES, ROOT, parse_python, prose_of, read_anchors, read_links
from tests.support.differences import DIFFERENCES
from tests.test_package import PUBLIC


def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    assert importlib.util.find_spec("mkdocs"), "mkdocs is missing: install the dependency group docs"
    # The theme advertises on the terminal; no network is used, so a proxy that answers nobody does no harm.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "HTTPS_PROXY": "http://127.0.0.1:9"}
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "WARNING" not in run.stderr
    for page in (ROOT / "docs").rglob("*.md"):
        place = page.relative_to(ROOT / "docs").with_suffix("")
        folder = place.parent if place.name == "index" else place
        html = (tmp_path / folder / "index.html").read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"?(https?:[^\"\s>]*)", html)
        assert loaded == [], "a page must load nothing from elsewhere"
        assert not re.search(r"&lt;!-- (?:run|prints|worker)", html), "a marker for the tests is shown to readers"
    for package, names in PUBLIC.items():
        if package != "aibind":  # its names are documented where they are from
            html = (tmp_path / "api" / package.split(".")[1] / "index.html").read_text(encoding="utf-8")
            for name in names.split():
                assert f'id="{package}.{name}"' in html, f"{package}.{name} is missing in the API reference"
            assert not re.search(r":(?:class|func|meth|data):", html), "a docstring's role was not rewritten"
    history = (tmp_path / "api" / "history" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'href="../../contract/#6-chathistory"', history), "a reference to the contract is not a link"
    server = (tmp_path / "api" / "server" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'<h2 id="([^"]+)"', server)[0] == "aibind.server.StreamHandler"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """On the repository's own pages; those of the built site are checked by the build as well."""
    for link in read_links(page):
        if re.match(r"https?://", link):
            continue
        target, _, anchor = link.partition("#")
        place = (page.parent / target).resolve() if target else page
        assert place.exists(), f"{link} leads nowhere"
        assert ROOT in place.parents, f"{link} leads out of the project"
        if anchor and place.suffix == ".md":
            assert anchor in read_anchors(place), f"{link}: there is no such heading"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:")[1].split("\n\n")[0]
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.relative_to(ROOT / "docs").as_posix() in navigation


@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_difference_is_documented(name: str) -> None:
    assert f"| {name} |" in (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")


def test_no_difference_is_invented() -> None:
    table = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8").split("## What differs")[1]
    rows = re.findall(r"^\| ([^|]+?) \|", table.split("\n## ")[0], re.MULTILINE)
    assert set(rows) - {"Difference", "---"} == set(DIFFERENCES)


def test_the_errors_are_all_there() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    tree, table = page.split("| Error |")
    for name in set(aibind.errors.__all__) - {"PRODUCER_LOST"}:  # a message, not an error
        assert re.search(rf"\b{name}\b", tree), f"{name} is missing in the tree"
        if name not in {"AibindError", "StreamError"}:
            assert f"| `{name}` |" in table, f"{name} is missing in the table"


def test_names_in_code_exist() -> None:
    """Names that look like ours are ours: a renamed class must not live on in the documentation."""
    ours = {"aibind", "KeepAlive", "WatchableSqliteClient", "StreamingResponse"}  # the last is Starlette's
    ours |= {"StreamController", "ChatController"}  # of the JavaScript packages
    for package, names in PUBLIC.items():
        ours.update(names.split(), [package])
    ours.update(aibind.errors.__all__)
    ours.update(importlib.import_module("aibind.cloudflare").__all__)
    looks = re.compile(r"`((?:Sqlite|Stream|Conversation|Message|Chat|Memory|Durable|KV|Open|Echo|Sse|Model)\w+)\b")
    for page in PAGES:
        for name in looks.findall(prose_of(page)):
            assert name in ours or name in {"StreamWriter._run", "StreamBuffer"}, f"{page.name}: there is no {name}"


PACKAGE = ROOT / "src" / "aibind"


def imports_of(module: Path) -> set[str]:
    """Return the other modules directly under ``aibind`` that a package or module imports."""
    found: set[str] = set()
    for file in sorted(module.rglob("*.py")) if module.is_dir() else [module]:
        inside = file.relative_to(PACKAGE).parts[:-1]
        for node in ast.walk(parse_python(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = (*inside[: len(inside) - node.level + 1], *(node.module or "").split("."))
                found.update([base[0]] if base[0] else [alias.name for alias in node.names])
    return found - {module.stem}


def read_imports(page: str, heading: str) -> dict[str, set[str]]:
    """Return the first and last columns of a table: a module, and what it imports."""
    table = page.split(f"| {heading} |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", table, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", imports)) for name, imports in rows}


def test_modules_import_what_the_page_says() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages, internal = read_imports(page, "Package"), read_imports(page, "Module")
    paths = {
        path.stem: path for path in PACKAGE.iterdir() if path.suffix != ".typed" and not path.stem.startswith("__")
    }
    assert packages.keys() == {name for name in paths if not name.startswith("_")}
    assert internal.keys() == {name for name in paths if name.startswith("_")}
    order = list(packages)
    for name, told in packages.items():
        found = imports_of(paths[name])
        if name == "cli":  # its commands are a module by themselves
            found |= imports_of(paths["_commands"])
        found -= internal.keys()
        assert found == told, f"{name} imports {sorted(found)}, but docs/architecture.md says {sorted(told)}"
        assert all(order.index(other) > order.index(name) for other in found), f"{name} imports something above it"
    for name, told in internal.items():
        assert imports_of(paths[name]) == told, f"{name}: docs/architecture.md says otherwise"


@pytest.mark.parametrize(
    ("words", "places"),
    [
        (r"\b(threading|_thread|concurrent)\b", ("sqlite/driver/", "_offload.py")),
        (r"\b(js|pyodide|workers)\b", ("cloudflare/ffi.py", "cloudflare/ffi_http.py", "_time.py")),
        (r"\bhttpx2?\b", ("models/openai.py", "models/endpoint_client.py", "client/")),
    ],
    ids=["threads", "JavaScript", "HTTP client"],
)
def test_only_some_places_know(words: str, places: tuple[str, ...]) -> None:
    """The timers know JavaScript as well as the boundary does: they clear what Pyodide's leave behind."""
    found: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        place = file.relative_to(PACKAGE).as_posix()
        if any(re.search(words, name) for name in imported_by(file)):
            assert place.startswith((*places, "demo/")), f"{place} imports what only {places} should"
            found.update(known for known in places if place.startswith(known))
    assert found == set(places)


def imported_by(file: Path) -> Iterator[str]:
    """Yield the names of the modules that a file imports from elsewhere, and of those that it imports by name."""
    for node in ast.walk(parse_python(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"import_module", "js_module", "__import__"}:
            yield from (str(argument.value) for argument in node.args if isinstance(argument, ast.Constant))


def find_timers(source: str) -> Iterator[tuple[int, str]]:
    """Find the calls of asyncio's own timers; ``asyncio.sleep(0)`` makes none."""
    for node in ast.walk(parse_python(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "asyncio":
            yield node.lineno, ast.unparse(node)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called == "asyncio.sleep":
            wrong = [ast.unparse(argument) for argument in node.args] != ["0"]
        elif called in {"asyncio.wait", "asyncio.as_completed"}:
            wrong = any(keyword.arg == "timeout" for keyword in node.keywords)
        else:
            wrong = called in {"asyncio.timeout", "asyncio.timeout_at", "asyncio.wait_for"}
            wrong = wrong or called.endswith((".call_later", ".call_at"))
        if wrong:
            yield node.lineno, ast.unparse(node)


def test_timers_are_found() -> None:
    source = """
import asyncio
from asyncio import sleep
async def run(loop, delay_s):
    await asyncio.sleep(0)
    await asyncio.sleep(delay_s)
    async with asyncio.timeout(1): pass
    await asyncio.wait([], timeout=1)
    await asyncio.wait([])
    loop.call_at(1, print)
    asyncio.get_running_loop().call_later(1, print)
    call_later(1, print)
"""
    assert sorted(line for line, _ in find_timers(source)) == [3, 6, 7, 8, 10, 11]


def test_only_one_place_makes_timers() -> None:
    """Asyncio's own can fail to be made in Pyodide, and stay pending there. Workers do not run the driver."""
    found = [
        f"{file.relative_to(PACKAGE)}:{line}: {call}"
        for file in PACKAGE.rglob("*.py")
        if not file.relative_to(PACKAGE).as_posix().startswith(("_time.py", "sqlite/driver/"))
        for line, call in find_timers(file.read_text(encoding="utf-8"))
    ]
    assert not found, "use aibind._time: " + ", ".join(found)


def test_numbers_in_the_documentation() -> None:
    page = (ROOT / "docs" / "writing-a-store.md").read_text(encoding="utf-8")
    members = [name for name in vars(StreamStore) if not name.startswith("_")]
    properties = [name for name in members if isinstance(getattr(StreamStore, name), property)]
    assert (len(members) - len(properties), len(properties)) == (19, 4)
    assert "nineteen methods and four properties" in page
    assert set(
        re.findall(r"^\| `(\w+)` \|", page.split("leaves six methods to you:")[1].split("\n- ")[0], re.MULTILINE)
    ) == (BaseStreamStore.__abstractmethods__)
    assert len(BaseStreamStore.__abstractmethods__) == 6


OPTIONS: dict[str, tuple[str, ...]] = {
    "server.md": ("aibind.server.StreamHandler", "aibind.server.create_app"),
    "streams.md": (
        "aibind.streams.DurableStream.create",
        "aibind.streams.MemoryStreamStore",
        "aibind.sqlite.SqliteStreamStore",
    ),
    "conversations.md": (
        "aibind.conversations.MemoryConversationStore",
        "aibind.sqlite.SqliteConversationStore",
        "aibind.cloudflare.KVConversationStore",
    ),
    "sqlite.md": ("aibind.sqlite.wrap_sqlite3",),
    "models.md": ("aibind.models.EchoModel", "aibind.models.OpenAIModel"),
    "cloudflare.md": (
        "aibind.cloudflare.wrap_d1",
        "aibind.cloudflare.KVConversationStore",
        "aibind.cloudflare.WorkersAIModel",
    ),
    "durable-objects.md": ("aibind.cloudflare.ObjectRouter", "aibind.cloudflare.DurableObjectStreamStore"),
}
"""What each page has a table of options for."""


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, names in OPTIONS.items() for name in names])
def test_options_stand_in_tables(page: str, name: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    told = {
        option for cell in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for option in re.findall(r"`(\w+)`", cell)
    }
    found: Any = importlib.import_module(".".join(name.split(".")[:2]))
    for part in name.split(".")[2:]:
        found = getattr(found, part)
    parameters = inspect.signature(found).parameters
    needed = {
        option for option in parameters if option not in {"client", "handler", "kv"} or name.endswith("OpenAIModel")
    }
    assert needed <= told, f"docs/{page} has no row for {sorted(needed - told)} of {name}"


def test_commands_for_d1_name_the_database_they_mean() -> None:
    """Without ``--remote`` wrangler changes the local database, without a word."""
    for page in [*PAGES, ROOT / "examples" / "worker" / "README.md"]:
        for command in re.findall(
            r"wrangler d1 (?:execute|migrations apply) [^`\n]+", page.read_text(encoding="utf-8")
        ):
            assert "--remote" in command or "--local" in command, f"{page.name}: {command}"


def test_the_description_is_the_same_everywhere() -> None:
    description = importlib.metadata.metadata("aibind")["Summary"]
    assert "Durable Object" not in description
    first = "AI replies and conversations that survive reloads, lost connections and restarts: "
    assert description.startswith(first)
    for page in (ROOT / "README.md", ROOT / "docs" / "index.md"):
        paragraph = page.read_text(encoding="utf-8").split("\n\n")[1]
        assert " ".join(paragraph.split()).startswith(first)


def test_the_changelog_knows_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {importlib.metadata.version('aibind')} " in text


def test_the_readme_has_its_parts() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for part in ("scripts/demo", "scripts/test", "wrap_sqlite3", "wrap_d1", "KVConversationStore"):
        assert part in text
    assert text.index("not on PyPI yet") < text.index("pip install"), "say that it is not released before the command"
    assert "](docs/assets/demo.png)" in text
    assert (ROOT / "docs" / "assets" / "demo.png").stat().st_size < 300_000
    assert text.count("<!-- benchmarks:begin -->") == text.count("<!-- benchmarks:end -->") == 1


def test_promises_name_tests_and_commands_that_exist() -> None:
    text = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    assert len(named) > 15
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert named <= set(re.findall(r"def (test_\w+)\(", source))
    commands = set(re.findall(r"`python -m tests\.(\w+)", text))
    assert commands == {path.stem for path in (ROOT / "tests").glob("*.py")} - OTHER_FILES


OTHER_FILES = {"__init__", "conftest", "workers", *(path.stem for path in (ROOT / "tests").glob("test_*.py"))}
"""The files of tests/ that are no campaigns of faults: workers measures how soon a reply is found."""
