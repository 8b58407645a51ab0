"""Group commit: many callers in one transaction, none of whom notices the others."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aibind.errors import SqliteConstraintError, SqliteError, SqliteTransientError
from aibind.sqlite.client import SqliteResult, Statement
from aibind.sqlite.driver import SqliteDatabase, wrap_sqlite3

Outcome = SqliteResult | list[SqliteResult] | BaseException


async def together(
    client: SqliteDatabase, outsider: sqlite3.Connection, *calls: Callable[[], Awaitable[Any]]
) -> list[Outcome]:
    """Run calls as one group: while the writer waits for the outsider's lock, the others gather."""
    outsider.execute("BEGIN IMMEDIATE")
    first = asyncio.create_task(client.execute("CREATE TABLE IF NOT EXISTS first (v)"))
    await asyncio.sleep(0.02)  # the writer has taken the first, alone, unless the machine is slow
    before = client.change_token
    tasks = [asyncio.ensure_future(call()) for call in calls]
    await asyncio.sleep(0)
    outsider.execute("ROLLBACK")
    await first
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    together.commits = client.change_token - before - 1  # type: ignore[attr-defined]
    return outcomes


def commits() -> int:
    """Count the group's transactions; 0 when it went with the first."""
    return together.commits  # type: ignore[attr-defined,no-any-return]


def insert(client: SqliteDatabase, *values: object, table: str = "t") -> Callable[[], Awaitable[SqliteResult]]:
    return lambda: client.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)  # type: ignore[arg-type]


async def values(client: SqliteDatabase, table: str = "t") -> list[object]:
    return [row["v"] for row in (await client.execute(f"SELECT v FROM {table} ORDER BY v")).rows]


@pytest.fixture
async def ready(client: SqliteDatabase) -> SqliteDatabase:
    await client.execute("CREATE TABLE t (v INTEGER PRIMARY KEY, w TEXT CHECK (w <> 'bad'))")
    return client


async def test_a_group_is_one_transaction(ready: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    outcomes = await together(ready, outsider, *(insert(ready, number, "x") for number in range(100)))
    assert all(isinstance(outcome, SqliteResult) and outcome.rows_written == 1 for outcome in outcomes)
    assert await values(ready) == list(range(100))
    assert commits() <= 1


async def test_one_failure_stays_alone(ready: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    outcomes = await together(
        ready,
        outsider,
        insert(ready, 1, "x"),
        insert(ready, 1, "again"),
        insert(ready, 2, "x"),
        lambda: ready.execute("INSERT INTO missing VALUES (1)"),
        lambda: ready.execute("INSERT INTO t VALUES (?, ?)", (3, "\ud800")),
        insert(ready, 4, "x"),
    )
    kinds = [type(outcome).__name__ for outcome in outcomes]
    assert kinds == [
        "SqliteResult",
        "SqliteConstraintError",
        "SqliteResult",
        "SqliteSchemaError",
        "SqliteTypeError",
        "SqliteResult",
    ]
    assert await values(ready) == [1, 2, 4]
    assert commits() <= 1


async def test_a_failed_batch_takes_only_its_own_back(ready: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    add = "INSERT INTO t VALUES (?, 'x')"
    outcomes = await together(
        ready,
        outsider,
        insert(ready, 1, "x"),
        lambda: ready.batch([Statement(add, (2,)), Statement(add, (3,)), Statement(add, (1,))]),
        lambda: ready.batch([Statement(add, (4,)), Statement(add, (5,))]),
        insert(ready, 6, "x"),
    )
    assert [isinstance(outcome, SqliteConstraintError) for outcome in outcomes] == [False, True, False, False]
    assert await values(ready) == [1, 4, 5, 6]
    assert commits() <= 1


@pytest.mark.parametrize("culprit", ["INSERT OR ROLLBACK INTO t VALUES (1, 'x')", "INSERT INTO guarded VALUES (1)"])
async def test_a_statement_that_rolls_everything_back(
    ready: SqliteDatabase, outsider: sqlite3.Connection, culprit: str
) -> None:
    await ready.execute("CREATE TABLE guarded (v)")
    await ready.execute("CREATE TRIGGER guard BEFORE INSERT ON guarded BEGIN SELECT RAISE(ROLLBACK, 'guarded'); END")
    outcomes = await together(
        ready,
        outsider,
        insert(ready, 1, "x"),
        lambda: ready.batch(
            [Statement("INSERT INTO t VALUES (2, 'x')"), Statement("UPDATE t SET w = 'y' WHERE v = 2")]
        ),
        lambda: ready.execute(culprit),
        insert(ready, 3, "x"),
        lambda: ready.batch([Statement("INSERT INTO t VALUES (9, 'x')"), Statement(culprit)]),
        insert(ready, 4, "x"),
    )
    failed = [isinstance(outcome, SqliteConstraintError) for outcome in outcomes]
    assert failed == [False, False, True, False, True, False]
    assert await values(ready) == [1, 2, 3, 4]


async def test_a_statement_that_fails_half_way_leaves_nothing(
    ready: SqliteDatabase, outsider: sqlite3.Connection
) -> None:
    outcomes = await together(
        ready,
        outsider,
        insert(ready, 1, "x"),
        lambda: ready.execute("INSERT OR FAIL INTO t VALUES (7, 'x'), (8, 'x'), (1, 'x')"),
        insert(ready, 2, "x"),
    )
    assert [isinstance(outcome, SqliteConstraintError) for outcome in outcomes] == [False, True, False]
    assert await values(ready) == [1, 2]
    with pytest.raises(SqliteConstraintError):
        await ready.execute("INSERT OR FAIL INTO t VALUES (7, 'x'), (8, 'x'), (1, 'x')")
    assert await values(ready) == [1, 2]


async def test_a_constraint_that_is_checked_at_commit(client: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    await client.execute("CREATE TABLE parent (v INTEGER PRIMARY KEY)")
    await client.execute("CREATE TABLE t (v REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    both = [Statement("INSERT INTO t VALUES (5)"), Statement("INSERT INTO parent VALUES (5)")]
    outcomes = await together(
        client,
        outsider,
        insert(client, 1, table="parent"),
        insert(client, 1),
        insert(client, 404),
        lambda: client.batch([Statement("INSERT INTO t VALUES (1)"), Statement("INSERT INTO t VALUES (405)")]),
        lambda: client.batch(both),
    )
    assert [isinstance(outcome, SqliteConstraintError) for outcome in outcomes] == [False, False, True, True, False]
    assert await values(client) == [1, 5]


async def test_when_there_is_room_for_some_only(ready: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    pages = (await ready.execute("PRAGMA page_count")).rows[0]["page_count"]
    assert isinstance(pages, int)
    await ready.execute(f"PRAGMA max_page_count = {pages + 5}")
    outcomes = await together(
        ready, outsider, insert(ready, 1, "x"), insert(ready, 2, "x" * 100_000), insert(ready, 3, "x")
    )
    assert [isinstance(outcome, SqliteError) for outcome in outcomes] == [False, True, False]
    assert "full" in str(outcomes[1])
    assert await values(ready) == [1, 3]


async def test_when_the_commit_fails_everybody_hears_of_it(path: Path) -> None:
    async with wrap_sqlite3(path, busy_timeout_ms=200) as client:
        await client.execute("CREATE TABLE t (v INTEGER PRIMARY KEY, w TEXT)")
        # With a rollback journal a reader is in the way of a commit, other than with a WAL.
        await client.execute("PRAGMA journal_mode = DELETE")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM t").fetchall()
            calls = [
                insert(client, 1, "x"),
                insert(client, 2, "x"),
                lambda: client.batch([Statement("DELETE FROM t")] * 2),
            ]
            outcomes = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
            errors = [outcome for outcome in outcomes if isinstance(outcome, SqliteTransientError)]
            assert len(errors) == len(outcomes) == 3
            assert len({id(error) for error in errors}) == 3
            assert all(isinstance(error.__cause__, sqlite3.OperationalError) for error in errors)
            reader.execute("ROLLBACK")
        await client.execute("INSERT INTO t VALUES (3, 'x')")
        assert await values(client) == [3]


async def test_when_the_transaction_cannot_begin_everybody_hears_of_it(
    path: Path, outsider: sqlite3.Connection
) -> None:
    async with wrap_sqlite3(path, busy_timeout_ms=100) as client:
        await client.execute("CREATE TABLE t (v)")
        outsider.execute("BEGIN IMMEDIATE")
        outcomes = await asyncio.gather(*(insert(client, n)() for n in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [SqliteTransientError] * 3
        assert await values(client) == []  # and reading waits for nobody
        outsider.execute("ROLLBACK")
        await insert(client, 1)()
        assert await values(client) == [1]


async def test_what_cannot_share_a_transaction_keeps_its_turn(
    ready: SqliteDatabase, outsider: sqlite3.Connection
) -> None:
    outcomes = await together(
        ready,
        outsider,
        insert(ready, 1, "x"),
        lambda: ready.execute("PRAGMA user_version = 3"),
        lambda: ready.execute("VACUUM"),
        lambda: ready.batch([Statement("SELECT count(*) AS n FROM t"), Statement("DELETE FROM t")]),
        lambda: ready.execute("PRAGMA user_version"),
    )
    assert not any(isinstance(outcome, BaseException) for outcome in outcomes)
    counted, version = outcomes[3], outcomes[4]
    assert isinstance(counted, list)
    assert isinstance(version, SqliteResult)
    assert counted[0].rows == [{"n": 1}]
    assert version.rows == [{"user_version": 3}]


async def test_a_group_of_any_size(ready: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    outcomes = await together(ready, outsider, *(insert(ready, number, "x") for number in range(1700)))
    assert not any(isinstance(outcome, BaseException) for outcome in outcomes)
    assert len(await values(ready)) == 1700
    assert 2 <= commits() <= 5
