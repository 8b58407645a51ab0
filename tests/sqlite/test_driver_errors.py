"""Whatever the driver raises becomes one of ours, with the original kept."""

from __future__ import annotations

import asyncio
import datetime
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from aibind.errors import (
    AibindError,
    SqliteConstraintError,
    SqliteError,
    SqliteSchemaError,
    SqliteSyntaxError,
    SqliteTooLargeError,
    SqliteTransientError,
    SqliteTypeError,
    TransientError,
)
from aibind.sqlite.client import SqliteResult, SqliteValue, Statement
from aibind.sqlite.driver import SqliteDatabase, wrap_sqlite3

TABLES = [
    "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE, n TEXT NOT NULL DEFAULT '', c CHECK (c < 10))",
    "CREATE TABLE child (id REFERENCES t)",
    "CREATE TABLE strict_t (v INTEGER) STRICT",
    "INSERT INTO t (id, u) VALUES (1, 'taken')",
    "CREATE VIEW v AS SELECT 1",
]

CASES: list[tuple[str, tuple[object, ...], type[AibindError], str]] = [
    ("INSERT INTO t (u) VALUES ('taken')", (), SqliteConstraintError, r"UNIQUE constraint failed: t\.u"),
    ("INSERT INTO t (n) VALUES (NULL)", (), SqliteConstraintError, r"NOT NULL constraint failed: t\.n"),
    ("INSERT INTO t (c) VALUES (?)", (11,), SqliteConstraintError, "CHECK constraint failed"),
    ("INSERT INTO child VALUES (404)", (), SqliteConstraintError, "FOREIGN KEY constraint failed"),
    ("INSERT INTO strict_t VALUES ('x')", (), SqliteConstraintError, "cannot store TEXT"),
    ("SELECT * FROM missing", (), SqliteSchemaError, r"no such table: missing: apply the schema.*aibind schema"),
    ("INSERT INTO missing VALUES (1)", (), SqliteSchemaError, "no such table: missing"),
    ("SELECT missing FROM t", (), SqliteSchemaError, "no such column: missing"),
    ("INSERT INTO t (missing) VALUES (1)", (), SqliteSchemaError, "no column named missing"),
    ("SELEC 1", (), SqliteSyntaxError, 'near "SELEC"'),
    ("SELECT 1 FROM", (), SqliteSyntaxError, "incomplete input"),
    ("SELECT 'open", (), SqliteSyntaxError, "unrecognized token"),
    ("§", (), SqliteSyntaxError, "unrecognized token|near"),
    ("SELECT nofunction(1)", (), SqliteSyntaxError, "no such function"),
    ("INSERT INTO t (id, u) VALUES (1)", (), SqliteSyntaxError, "1 values for 2 columns"),
    ("CREATE TABLE t (v)", (), SqliteSyntaxError, "already exists"),
    ("INSERT INTO v VALUES (1)", (), SqliteSyntaxError, "cannot modify v"),
    ("SELECT 1; SELECT 2", (), SqliteSyntaxError, r"batch\(\)"),
    ("SELECT '\0'", (), SqliteSyntaxError, "null character|unrecognized token"),
    ("SELECT ?", (), SqliteSyntaxError, "uses 1, and there are 0"),
    ("SELECT ?", (1, 2), SqliteSyntaxError, "uses 1, and there are 2"),
    ("INSERT INTO t (u) VALUES (?)", (), SqliteSyntaxError, "uses 1, and there are 0"),
    ("SELECT " + ",".join("?" * 40_000), (1,) * 40_000, SqliteTooLargeError, "too many"),
    (
        "SELECT 1 WHERE 1 IN (" + ",".join("?" * 300_000) + ")",
        (1,) * 300_000,
        SqliteTooLargeError,
        "too many SQL variables",
    ),
    ("SELECT zeroblob(2000000000)", (), SqliteTooLargeError, "too big"),
    ("INSERT INTO t (u) VALUES (zeroblob(2000000000))", (), SqliteTooLargeError, "too big"),
    ("SELECT 1" + "+1" * 20_000, (), SqliteTooLargeError, "too large"),
    ("SELECT ?", (datetime.date(2026, 1, 1),), SqliteTypeError, "Parameter 1 is of type date.*milliseconds"),
    ("SELECT ?, ?", (1, Decimal(1)), SqliteTypeError, "Parameter 2 is of type Decimal"),
    ("SELECT ?", ([1],), SqliteTypeError, "Parameter 1 is of type list"),
    ("SELECT ?", (float("nan"),), SqliteTypeError, "NaN"),
    ("SELECT ?", (2**63,), SqliteTypeError, "64 bits"),
    ("SELECT ?", (-(2**63) - 1,), SqliteTypeError, "64 bits"),
    ("INSERT INTO t (u) VALUES (?)", ("half \ud83d",), SqliteTypeError, "lone surrogate"),
    ("SELECT '\ud83d'", (), SqliteTypeError, "lone surrogate"),
    ("INSERT INTO t (id) VALUES ('x')", (), SqliteTypeError, "datatype mismatch"),
    ("SELECT json('{')", (), SqliteError, "malformed JSON"),
    ("SELECT abs(-9223372036854775807 - 1)", (), SqliteError, "integer overflow"),
    ("SELECT CAST(x'ff' AS TEXT) AS odd", (), SqliteError, "Could not decode to UTF-8 column 'odd'"),
]


@pytest.mark.parametrize("mode", ["threads", "inline"])
@pytest.mark.parametrize(("sql", "args", "kind", "words"), CASES, ids=lambda value: str(value)[:40])
async def test_each_error_is_mapped(
    mode: str, sql: str, args: tuple[SqliteValue, ...], kind: type[SqliteError], words: str
) -> None:
    async with wrap_sqlite3(":memory:", threads=mode == "threads") as client:
        await client.batch([Statement(statement) for statement in TABLES])
        with pytest.raises(SqliteError, match=f"(?s){words}") as caught:
            await client.execute(sql, args)
        error = caught.value
        assert type(error) is kind
        assert error.sql == sql
        if "Parameter" not in words and words != "NaN":  # those were found before the driver was asked
            assert isinstance(error.__cause__, sqlite3.Error | OverflowError | UnicodeEncodeError)
        with pytest.raises(kind, match=f"(?s){words}") as caught:
            await client.batch([Statement("INSERT INTO t (id) VALUES (100)"), Statement(sql, args)])
        assert caught.value.sql == sql
        assert (await client.execute("SELECT count(*) AS n FROM t")).rows == [{"n": 1}]


async def test_locked_by_another_process(path: Path, outsider: sqlite3.Connection) -> None:
    async with wrap_sqlite3(path, busy_timeout_ms=50) as client:
        await client.execute("CREATE TABLE t (v)")
        outsider.execute("BEGIN IMMEDIATE")
        with pytest.raises(SqliteTransientError, match=r"busy for too long.*locked") as caught:
            await client.execute("INSERT INTO t VALUES (1)")
        assert isinstance(caught.value, TransientError)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert caught.value.sql == "INSERT INTO t VALUES (1)"
        outsider.execute("ROLLBACK")
        await client.execute("INSERT INTO t VALUES (2)")
        assert (await client.execute("SELECT v FROM t")).rows == [{"v": 2}]


async def test_waits_for_another_process(client: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    await client.execute("CREATE TABLE t (v)")
    outsider.execute("BEGIN IMMEDIATE")
    call = asyncio.create_task(client.execute("INSERT INTO t VALUES (1)"))
    await asyncio.sleep(0.2)
    assert not call.done()
    outsider.execute("COMMIT")
    await call


async def test_read_only(client: SqliteDatabase) -> None:
    await client.execute("CREATE TABLE t (v)")
    await client.execute("PRAGMA query_only = ON")
    with pytest.raises(SqliteError, match="only be read") as caught:
        await client.execute("INSERT INTO t VALUES (1)")
    assert type(caught.value) is SqliteError
    await client.execute("PRAGMA query_only = OFF")


async def test_a_full_disk(client: SqliteDatabase) -> None:
    await client.execute("CREATE TABLE t (v)")
    await client.execute("PRAGMA max_page_count = 10")
    with pytest.raises(SqliteError, match="make room") as caught:
        await client.execute("INSERT INTO t VALUES (zeroblob(1000000))")
    assert type(caught.value) is SqliteTransientError  # until there is room
    await client.execute("INSERT INTO t VALUES (1)")


async def test_a_damaged_file(path: Path) -> None:
    async with wrap_sqlite3(path) as client:
        await client.execute("CREATE TABLE t (v)")
        await client.execute("INSERT INTO t VALUES (zeroblob(100000))")
        await client.execute("INSERT INTO t VALUES (1)")
    content = bytearray(path.read_bytes())
    content[4096:12288] = b"\xee" * 8192
    path.write_bytes(content)
    async with wrap_sqlite3(path) as client:
        for sql in ("SELECT * FROM t", "DELETE FROM t"):
            with pytest.raises(SqliteError, match="damaged") as caught:
                await client.execute(sql)
            assert type(caught.value) is SqliteError


def _not_a_database(path: Path) -> Path:
    path.write_text("This is a letter, not a database. " * 100)
    return path


@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize(
    ("place", "words"),
    [
        (lambda tmp: tmp, "is a folder"),
        (lambda tmp: tmp / "no" / "such" / "folder.db", "folder of .* does not exist"),
        (lambda tmp: _not_a_database(tmp / "letter.db"), "cannot be opened.*not an SQLite database"),
        (lambda tmp: _not_a_database(tmp / "letter.txt") / "x.db", "folder of .* does not exist"),
        (lambda tmp: "nul\0byte", "cannot be opened"),
        (lambda tmp: "/proc/version", "cannot be opened"),
    ],
)
async def test_what_cannot_be_opened(tmp_path: Path, threads: bool, place: Callable[[Path], Path], words: str) -> None:
    client = wrap_sqlite3(place(tmp_path), threads=threads)
    for call in (lambda: client.execute("SELECT 1"), lambda: client.execute("CREATE TABLE t (v)")):
        for _ in range(2):
            with pytest.raises(SqliteError, match=f"(?s){words}") as caught:
                await call()
            assert caught.value.__cause__ is not None
    with pytest.raises(SqliteError, match=f"(?s){words}"):
        await client.wait_for_change(0, 0)
    await client.aclose()


async def test_what_stops_all_is_told_to_each(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path) as client:
        calls = [client.execute("INSERT INTO t VALUES (?)", (number,)) for number in range(3)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [SqliteError] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3  # one that is raised in three places would mix them up
    assert all(outcome.sql == "INSERT INTO t VALUES (?)" for outcome in outcomes)  # type: ignore[union-attr]


async def test_a_folder_that_is_made_later(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "later" / "x.db") as client:
        with pytest.raises(SqliteError, match="create it"):
            await client.execute("CREATE TABLE t (v)")
        (tmp_path / "later").mkdir()
        await client.execute("CREATE TABLE t (v)")
        assert (await client.execute("SELECT v FROM t")).rows == []


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
@pytest.mark.processes
def test_an_input_output_error(path: Path) -> None:
    script = """
import asyncio, resource, sys
from aibind.errors import SqliteError
from aibind.sqlite.driver import wrap_sqlite3

async def main():
    async with wrap_sqlite3(sys.argv[1]) as client:
        await client.execute("CREATE TABLE t (v)")
        await client.execute("INSERT INTO t VALUES (1)")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        calls = [client.execute("INSERT INTO t VALUES (zeroblob(?))", (size,)) for size in (10, 1_000_000, 20)]
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            print(type(outcome).__name__, outcome)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print((await client.execute("SELECT group_concat(length(v)) AS v FROM t")).rows)
        print((await client.execute("PRAGMA integrity_check")).rows)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["SqliteResult", "SqliteTransientError", "SqliteResult"]
    assert "check the disk" in lines[1] or "make room" in lines[1]
    assert lines[3:] == ["[{'v': '1,10,20'}]", "[{'integrity_check': 'ok'}]"]


async def test_calls_that_queue_for_a_lock_wait_no_longer_than_the_timeout(
    path: Path, outsider: sqlite3.Connection
) -> None:
    """A call that waits behind another's wait does not begin to wait when that is over."""
    loop = asyncio.get_running_loop()

    async def wait(client: SqliteDatabase, delay_s: float) -> float:
        await asyncio.sleep(delay_s)
        began = loop.time()
        with pytest.raises(SqliteTransientError, match="busy for too long"):
            await client.execute("INSERT INTO t VALUES (1)")
        return loop.time() - began

    async with wrap_sqlite3(path, busy_timeout_ms=600) as client:
        await client.execute("CREATE TABLE t (v)")
        outsider.execute("BEGIN IMMEDIATE")
        waited = await asyncio.gather(*(wait(client, number * 0.15) for number in range(6)))
        assert min(waited) > 0.55
        assert max(waited) < 1.1
        outsider.execute("ROLLBACK")
        await client.execute("INSERT INTO t VALUES (2)")
        assert (await client.execute("SELECT v FROM t")).rows == [{"v": 2}]


async def test_a_call_outlives_the_deadline_of_one_that_waits_with_it(path: Path, outsider: sqlite3.Connection) -> None:
    async with wrap_sqlite3(path, busy_timeout_ms=800) as client:
        await client.execute("CREATE TABLE t (v)")
        outsider.execute("BEGIN IMMEDIATE")
        calls: list[asyncio.Task[SqliteResult]] = []
        for number in range(3):
            calls.append(asyncio.create_task(client.execute("INSERT INTO t VALUES (?)", [number])))
            await asyncio.sleep(0.25)
        with pytest.raises(SqliteTransientError):
            await calls[0]
        outsider.execute("ROLLBACK")
        await calls[2]
        assert {"v": 2} in (await client.execute("SELECT v FROM t")).rows


@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize("replaced", [True, False])
async def test_a_file_that_is_removed_or_replaced_is_noticed(path: Path, threads: bool, replaced: bool) -> None:
    async with wrap_sqlite3(path, threads=threads) as client:
        await client.execute("CREATE TABLE t (v)")
        await client.execute("SELECT v FROM t")
        token = client.change_token
        waiting = asyncio.create_task(client.wait_for_change(token, 30))
        await asyncio.sleep(0.02)
        for file in path.parent.iterdir():
            file.unlink()
        if replaced:
            sqlite3.connect(path).close()
            path.touch()
        await asyncio.sleep(0.6)
        words = "was replaced while" if replaced else "was removed while"
        for sql in ("INSERT INTO t VALUES (1)", "SELECT v FROM t", "PRAGMA user_version", "SELECT v FROM t"):
            with pytest.raises(SqliteError, match=words) as caught:
                await client.execute(sql)
            assert type(caught.value) is SqliteError
            assert str(path) in str(caught.value)
        async with asyncio.timeout(5):
            await waiting
    async with wrap_sqlite3(path, threads=threads) as client:
        await client.execute("CREATE TABLE t (v)")


async def test_a_reader_that_opens_another_file_is_refused(path: Path) -> None:
    async with wrap_sqlite3(path) as client:
        await client.execute("CREATE TABLE t (v)")
        for file in path.parent.iterdir():
            file.unlink()
        sqlite3.connect(path).close()
        with pytest.raises(SqliteError, match=r"was (replaced|removed) while"):
            await client.execute("SELECT v FROM t")
