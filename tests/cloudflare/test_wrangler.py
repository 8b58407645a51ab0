"""The schema and the example's configuration, with the real wrangler on a local D1."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from aibind.sqlite import schema_sql
from testbed.workerd.install import install_node_modules

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "worker"
PACKAGED = {file.name: file.read_text() for file in resources.files("aibind.sqlite").joinpath("migrations").iterdir()}


def run_wrangler(folder: Path, *arguments: str) -> str:
    done = try_wrangler(folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def try_wrangler(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(install_node_modules() / ".bin" / "wrangler"), *arguments]
    environment = {**os.environ, "WRANGLER_SEND_METRICS": "false", "CI": "1", "HOME": str(folder), "NO_COLOR": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180)


class Wrangler:
    """Runs wrangler in a folder of its own, with a local D1 there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(EXAMPLE / "wrangler.jsonc", folder)
        shutil.copytree(EXAMPLE / "migrations", folder / "migrations")

    def d1(self, *arguments: str) -> str:
        return self.run("d1", *arguments, "--local")

    def run(self, *arguments: str) -> str:
        return run_wrangler(self.folder, *arguments)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        output = self.d1("execute", "aibind-chat", "--json", "--command", sql)
        rows: list[dict[str, Any]] = json.loads(output[output.index("[") :])[-1]["results"]
        return rows


@pytest.fixture
def wrangler(tmp_path: Path, node_modules: None) -> Wrangler:
    return Wrangler(tmp_path)


def test_the_examples_migrations_are_the_packages() -> None:
    copies = {file.name: file.read_text() for file in (EXAMPLE / "migrations").iterdir()}
    assert copies == {name: text for name, text in PACKAGED.items() if name.endswith(".sql")}


@pytest.mark.timeout(900)
def test_wrangler_applies_the_migrations_once(wrangler: Wrangler) -> None:
    first = wrangler.d1("migrations", "apply", "aibind-chat")
    assert all(name in first for name in PACKAGED if name.endswith(".sql"))
    assert "No migrations to apply" in wrangler.d1("migrations", "apply", "aibind-chat")
    _check_tables(wrangler)


@pytest.mark.timeout(900)
def test_wrangler_executes_the_schema_as_one_file_once(wrangler: Wrangler) -> None:
    (wrangler.folder / "schema.sql").write_text(schema_sql())
    wrangler.d1("execute", "aibind-chat", "--file=./schema.sql")
    made = wrangler.rows("SELECT sql FROM sqlite_schema ORDER BY name")
    again = try_wrangler(wrangler.folder, "d1", "execute", "aibind-chat", "--local", "--file=./schema.sql")
    assert again.returncode != 0
    assert "duplicate column name: session_id" in again.stdout + again.stderr
    assert wrangler.rows("SELECT sql FROM sqlite_schema ORDER BY name") == made
    _check_tables(wrangler)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("example", "bindings"),
    [("worker", ("DB", "CONVERSATIONS", "AI")), ("worker-durable-object", ("CHATS (Chat)", "DB", "AI"))],
)
def test_wrangler_would_deploy_the_examples(
    example: str, bindings: tuple[str, ...], tmp_path: Path, node_modules: None
) -> None:
    source = EXAMPLE.parent / example
    shutil.copy(source / "wrangler.jsonc", tmp_path)
    shutil.copytree(source / "src", tmp_path / "src")
    output = run_wrangler(tmp_path, "deploy", "--dry-run", "--outdir", "out")
    assert all(f"env.{name}" in output for name in bindings)
    for module in (source / "src").glob("*.py"):
        assert (tmp_path / "out" / module.name).read_text() == module.read_text()


def _check_tables(wrangler: Wrangler) -> None:
    rows = wrangler.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'aibind%' ORDER BY name")
    names = ["conversations", "files", "message_files", "messages", "sessions", "stream_chunks", "stream_status"]
    assert [row["name"] for row in rows] == [f"aibind_{name}" for name in names]
    wrangler.d1(
        "execute", "aibind-chat", "--command", "INSERT INTO aibind_stream_status (id, expires_at) VALUES ('s', 1)"
    )
    assert wrangler.rows("SELECT * FROM aibind_stream_status") == [
        {"id": "s", "state": "active", "error": None, "total_chunks": 0, "expires_at": 1}
        | {"session_id": None, "owner": None, "created_at": None, "request": None, "question_id": None}
        | {"takeovers": 0, "reference": None, "continuation": None}
    ]


def test_the_example_is_short_and_configured() -> None:
    source = (EXAMPLE / "src" / "entry.py").read_text()
    assert len(source.splitlines()) < 60
    config = json.loads(re.sub(r"^\s*//.*$", "", (EXAMPLE / "wrangler.jsonc").read_text(), flags=re.MULTILINE))
    assert config["main"] == "src/entry.py"
    assert config["compatibility_flags"] == ["python_workers"]
    bindings = {config["d1_databases"][0]["binding"], config["kv_namespaces"][0]["binding"], config["ai"]["binding"]}
    assert all(f"env.{binding}" in source for binding in bindings)
    assert config["triggers"]["crons"]
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    assert "aibind" in project["project"]["dependencies"]
    assert "workers-py" in project["dependency-groups"]["dev"]
