"""Noticing commits, of this client and of others."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from aibind.errors import SqliteError
from aibind.sqlite.client import Statement
from aibind.sqlite.driver import SqliteDatabase, watch, wrap_sqlite3
from aibind.sqlite.driver.watch import Watcher

LONG = 20.0
"""Seconds that no test waits for in full unless it is about to fail."""


async def settled(client: SqliteDatabase) -> int:
    """The token once the first look is over, which counts as a change."""
    token = client.change_token
    while (newer := await client.wait_for_change(token, 0)) != token:
        token = newer
    return token


@pytest.fixture
async def ready(client: SqliteDatabase) -> SqliteDatabase:
    await client.execute("CREATE TABLE t (v)")
    return client


@pytest.mark.parametrize("threads", [True, False])
async def test_another_connection_is_noticed(path: Path, outsider: sqlite3.Connection, threads: bool) -> None:
    async with wrap_sqlite3(path, threads=threads) as client:
        await client.execute("CREATE TABLE t (v)")
        token = await settled(client)
        waiting = asyncio.create_task(client.wait_for_change(token, LONG))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        outsider.execute("INSERT INTO t VALUES (1)")
        assert await waiting > token
        assert client.change_token > token


async def test_own_commits_are_noticed_at_once(any_client: SqliteDatabase) -> None:
    await any_client.execute("CREATE TABLE t (v)")
    token = await settled(any_client)
    waiting = asyncio.create_task(any_client.wait_for_change(token, LONG))
    await asyncio.sleep(0.01)
    await any_client.execute("INSERT INTO t VALUES (1)")
    assert await waiting > token


@pytest.mark.parametrize("sql", ["SELECT * FROM t", "INSERT INTO missing VALUES (1)"])
async def test_what_changes_nothing_wakes_nobody(any_client: SqliteDatabase, sql: str) -> None:
    await any_client.execute("CREATE TABLE t (v)")
    token = await settled(any_client)
    waiting = asyncio.create_task(any_client.wait_for_change(token, 0.05))
    await asyncio.sleep(0.01)
    await asyncio.gather(any_client.execute(sql), return_exceptions=True)
    await asyncio.gather(any_client.batch([Statement("SELECT 1"), Statement("SELECT * FROM t")]))
    assert await waiting == token


async def test_an_own_commit_is_not_noticed_twice(ready: SqliteDatabase) -> None:
    token = await settled(ready)
    for _ in range(5):
        waiting = asyncio.create_task(ready.wait_for_change(token, LONG))
        await asyncio.sleep(0.01)
        await ready.execute("INSERT INTO t VALUES (1)")
        token = await waiting
        assert await ready.wait_for_change(token, 0.02) == token


async def test_the_time_is_kept(ready: SqliteDatabase) -> None:
    token = await settled(ready)
    for timeout_s in (0.0, -1.0, 0.03):
        began = time.monotonic()
        assert await ready.wait_for_change(token, timeout_s) == token
        assert max(timeout_s, 0) <= time.monotonic() - began + 0.001  # timers may be early by a clock's tick


async def test_a_change_before_the_wait_ends_it_at_once(ready: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    token = await settled(ready)
    outsider.execute("INSERT INTO t VALUES (1)")
    newer = await ready.wait_for_change(token, LONG)
    assert newer > token
    await ready.execute("INSERT INTO t VALUES (2)")
    assert await ready.wait_for_change(newer, LONG) > newer


async def test_the_first_wait_does_not_trust_a_token_from_before(path: Path, outsider: sqlite3.Connection) -> None:
    outsider.execute("CREATE TABLE t (v)")
    async with wrap_sqlite3(path) as client:
        token = client.change_token
        await client.execute("SELECT * FROM t")
        outsider.execute("INSERT INTO t VALUES (1)")  # nobody was watching yet
        assert await client.wait_for_change(token, LONG) != token


async def test_no_change_is_missed(ready: SqliteDatabase, path: Path) -> None:
    """Follow a counter that another thread moves as fast as it can, with pauses of every length."""
    last, seen, waits = 300, 0, 0

    def write() -> None:
        connection = sqlite3.connect(path, isolation_level=None, timeout=30)
        for number in range(1, last + 1):
            connection.execute("INSERT INTO t VALUES (?)", (number,))
            time.sleep((number % 7) * 0.001)
            while number > seen + 20 and not given_up.is_set():  # so that there is something to follow
                time.sleep(0.001)
        connection.close()

    given_up = threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    try:
        while seen < last:
            token = ready.change_token
            seen = (await ready.execute("SELECT max(v) AS v FROM t")).rows[0]["v"] or 0  # type: ignore[assignment]
            if seen < last:
                waits += 1
                assert await ready.wait_for_change(token, LONG) != token, f"slept through the change after {seen}"
    finally:
        given_up.set()
        writer.join()
    assert waits > 10


async def test_five_hundred_wait_at_once(ready: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    token = await settled(ready)
    waiting = [asyncio.create_task(ready.wait_for_change(token, LONG)) for _ in range(500)]
    short = [asyncio.create_task(ready.wait_for_change(token, 0.01)) for _ in range(100)]
    gone = [asyncio.create_task(ready.wait_for_change(token, LONG)) for _ in range(100)]
    assert await asyncio.gather(*short) == [token] * 100
    for task in gone:
        task.cancel()
    assert not any(task.done() for task in waiting)
    outsider.execute("INSERT INTO t VALUES (1)")
    assert set(await asyncio.gather(*waiting)) == {token + 1}


async def test_nobody_watches_when_nobody_waits(ready: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    token = await settled(ready)
    await ready.wait_for_change(token, 0.01)
    await asyncio.sleep(0.02)
    outsider.execute("INSERT INTO t VALUES (1)")
    await asyncio.sleep(0.02)
    assert ready.change_token == token
    assert await ready.wait_for_change(token, 0) == token + 1


async def test_a_change_after_a_quiet_time(
    ready: SqliteDatabase, outsider: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_QUIET_AFTER_S", 0.0)
    for number in range(3):
        token = await settled(ready)
        waiting = asyncio.create_task(ready.wait_for_change(token, LONG))
        await asyncio.sleep(0.015)
        outsider.execute("INSERT INTO t VALUES (?)", (number,))
        assert await waiting == token + 1


async def test_a_busy_database_holds_up_nobody(path: Path, outsider: sqlite3.Connection) -> None:
    outsider.execute("CREATE TABLE t (v)")  # with a rollback journal, where a commit shuts everybody out
    watcher = Watcher(0.002, lambda: sqlite3.connect(path, timeout=0, check_same_thread=False))
    watcher.open()
    token = watcher.token
    outsider.execute("BEGIN EXCLUSIVE")
    outsider.execute("INSERT INTO t VALUES (1)")
    assert await watcher.wait(token, 0.02) == token
    waiting = asyncio.create_task(watcher.wait(token, LONG))
    await asyncio.sleep(0.01)
    outsider.execute("COMMIT")
    assert await waiting == token + 1
    watcher.close()


async def test_two_loops_wait_on_one_client(ready: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    token = await settled(ready)
    results: list[int] = []

    def other_loop() -> None:
        results.append(asyncio.run(ready.wait_for_change(token, LONG)))

    thread = threading.Thread(target=other_loop)
    thread.start()
    waiting = asyncio.create_task(ready.wait_for_change(token, LONG))
    await asyncio.sleep(0.05)
    outsider.execute("INSERT INTO t VALUES (1)")
    assert await waiting > token
    while thread.is_alive():
        await asyncio.sleep(0.001)
    assert results[0] > token
    # A loop that is gone is not missed.
    await ready.execute("INSERT INTO t VALUES (1)")
    assert await ready.wait_for_change(token, LONG) > token


@pytest.mark.parametrize("threads", [True, False])
async def test_closing_ends_the_wait(path: Path, threads: bool) -> None:
    client = wrap_sqlite3(path, threads=threads)
    token = await settled(client)
    waiting = asyncio.create_task(client.wait_for_change(token, LONG))
    await asyncio.sleep(0.01)
    await client.aclose()
    with pytest.raises(SqliteError, match="closed"):
        await waiting
