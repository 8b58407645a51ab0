"""The command line, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from aibind.sqlite import schema_sql


def run(*arguments: str, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "aibind"]
    given: dict[str, Any] = {**os.environ, "COLUMNS": "120", **environment}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, env=given, timeout=60, check=False)


def test_version_and_help() -> None:
    assert run("--version").stdout == f"aibind, version {version('aibind')}\n"
    shown = run("--help")
    assert shown.returncode == 0
    for command in ("ask", "demo", "schema"):
        assert command in shown.stdout
    assert "--tokens-per-second" in run("demo", "-h").stdout


@pytest.mark.parametrize("columns", ["50", "80", "120"])
@pytest.mark.parametrize(
    ("command", "examples"),
    [
        ("demo", ["aibind demo --base-url http://127.0.0.1:11434/v1 --model llama3.2"]),
        ("ask", ['aibind ask http://127.0.0.1:8000 "Tell me about rivers"']),
        ("schema", ["aibind schema | sqlite3 chat.db", "wrangler d1 migrations apply DATABASE"]),
    ],
)
def test_help_shows_examples_as_they_are_typed(command: str, examples: list[str], columns: str) -> None:
    shown = run(command, "--help", COLUMNS=columns)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert not re.search(r"\\|[^\n -~…]", shown.stdout), "only what a terminal shows"
    lines = shown.stdout.splitlines()
    for example in examples:
        assert any(line.endswith(example) for line in lines), "an example is not wrapped"
    assert "Examples:" in shown.stdout


def test_schema_makes_the_tables() -> None:
    shown = run("schema")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == schema_sql().rstrip() + "\n"
    database = sqlite3.connect(":memory:")
    database.executescript(shown.stdout)
    rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    assert [name.removeprefix("aibind_") for (name,) in rows] == [
        "conversations",
        "files",
        "message_files",
        "messages",
        "sessions",
        "stream_chunks",
        "stream_status",
    ]
    database.close()


def test_schema_with_other_names_and_as_migrations() -> None:
    names = {"chunks": "c", "status": "s", "conversations": "v", "sessions": "t", "messages": "m"}
    names |= {"files": "f", "message-files": "mf"}
    shown = run("schema", *(f"--{table}-table={name}" for table, name in names.items()), "--migrations")
    assert re.findall(r'TABLE IF NOT EXISTS "(\w+)"', shown.stdout) == list(names.values())
    assert re.findall(r"^-- (\d{4}_\w+\.sql)$", shown.stdout, re.MULTILINE) == [
        "0001_streams.sql",
        "0002_conversations.sql",
        "0003_messages.sql",
        "0004_stream_sessions.sql",
        "0005_files.sql",
        "0006_stream_requests.sql",
        "0007_stream_questions.sql",
        "0008_stream_claims.sql",
    ]


def test_schema_refuses_what_is_no_name() -> None:
    shown = run("schema", "--chunks-table", 'x"; DROP TABLE y; --')
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "cannot be the name of a table" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--base-url", "http://127.0.0.1:1/v1"], "--base-url needs --model"),
        (["--model", "x"], "--model needs --base-url"),
        (["--base-url", "http://x/v1", "--model", "x", "--tokens-per-second", "1"], "is for the offline model"),
        (["--base-url", "nonsense", "--model", "x"], "base_url"),
        (["--port", "70000"], "70000"),
        (["--host", "256.256.256.256"], "Cannot listen on"),
        (["--database", "/dev/null/chat.db"], "cannot be made"),
    ],
)
def test_demo_explains_what_is_wrong(arguments: list[str], says: str, tmp_path: Path) -> None:
    shown = run("demo", "--port", "0", *arguments, XDG_DATA_HOME=str(tmp_path), HOME=str(tmp_path))
    assert shown.returncode in (1, 2)
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr


def test_demo_says_when_its_port_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shown = run("demo", "--port", str(port), "--database", str(tmp_path / "chat.db"))
    assert shown.returncode == 1
    assert f"Port {port} is in use" in shown.stderr
    assert "aibind demo --port" in shown.stderr
    assert not (tmp_path / "chat.db").exists()


def test_demo_says_when_the_file_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "chat.db").write_text("This is no database, but something of yours. " * 50)
    shown = run("demo", "--port", "0", "--database", str(tmp_path / "chat.db"))
    assert shown.returncode == 1
    assert "cannot be used" in shown.stderr
    assert "not an SQLite database" in shown.stderr
    assert (tmp_path / "chat.db").read_text().startswith("This is no database")


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_greets_and_ends_without_a_word(number: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "aibind", "demo", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        greeting = ""
        while "Ctrl+C" not in greeting:
            line = process.stdout.readline()
            assert line
            greeting += line
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert re.search(r"Page +http://127\.0\.0\.1:\d+\n", greeting)
    assert re.search(r"Model +offline, 40 tokens a second", greeting)
    database = re.search(r"Database +(.+)\n", greeting)
    assert database is not None
    assert Path(database[1]).is_relative_to(tmp_path)
    assert Path(database[1]).exists()
    assert not Path(database[1] + "-wal").exists()  # it was closed in good order
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("module", "extra", "arguments"),
    [
        ("click", "cli", ["schema"]),
        ("rich", "demo", ["demo", "--port", "0"]),
        ("starlette", "demo", ["demo", "--port", "0"]),
        ("uvicorn", "demo", ["demo", "--port", "0"]),
    ],
)
def test_a_missing_extra_is_named(module: str, extra: str, arguments: list[str]) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; from aibind.cli import main; main()"
    shown = run(*arguments, code=code)
    assert shown.returncode == 1
    assert f'pip install "aibind[{extra}]"' in shown.stderr
    assert "Traceback" not in shown.stderr


def test_schema_needs_click_alone() -> None:
    code = "import sys; sys.modules['starlette'] = sys.modules['rich'] = None; from aibind.cli import main; main()"
    assert run("schema", code=code).returncode == 0
