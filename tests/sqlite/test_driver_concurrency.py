"""Many callers at once: tasks, loops, threads; some of whom give up."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from aibind.errors import SqliteError
from aibind.sqlite.client import Statement
from aibind.sqlite.driver import SqliteDatabase, wrap_sqlite3


async def test_two_hundred_tasks(any_client: SqliteDatabase) -> None:
    await any_client.execute("CREATE TABLE t (task, step, PRIMARY KEY (task, step))")

    async def one(task: int) -> None:
        for step in range(10):
            await any_client.execute("INSERT INTO t VALUES (?, ?)", (task, step))
            rows = (await any_client.execute("SELECT max(step) AS step FROM t WHERE task = ?", (task,))).rows
            assert rows == [{"step": step}]

    await asyncio.gather(*(one(task) for task in range(200)))
    assert (await any_client.execute("SELECT count(*) AS n FROM t")).rows == [{"n": 2000}]


async def test_one_at_a_time_means_in_order(any_client: SqliteDatabase) -> None:
    await any_client.execute("CREATE TABLE t (v)")
    calls = [asyncio.create_task(any_client.execute("INSERT INTO t VALUES (?)", (n,))) for n in range(500)]
    await asyncio.gather(*calls)
    rows = (await any_client.execute("SELECT v FROM t ORDER BY rowid")).rows
    assert [row["v"] for row in rows] == list(range(500))


async def test_a_caller_that_gives_up(client: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    await client.execute("CREATE TABLE t (v)")
    outsider.execute("BEGIN IMMEDIATE")
    calls = [asyncio.create_task(client.execute("INSERT INTO t VALUES (?)", (n,))) for n in range(20)]
    reads = [asyncio.create_task(client.execute("SELECT * FROM t")) for _ in range(20)]
    await asyncio.sleep(0)
    for call in (*calls[::2], *reads[::2]):
        call.cancel()
    outsider.execute("ROLLBACK")
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["CancelledError", "SqliteResult"] * 10
    await asyncio.gather(*reads[1::2])
    # What was called has happened: whoever is cancelled cannot tell, and a last word must not be lost.
    assert (await client.execute("SELECT count(*) AS n FROM t")).rows == [{"n": 20}]


async def test_a_timeout_around_a_call(client: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    await client.execute("CREATE TABLE t (v)")
    outsider.execute("BEGIN IMMEDIATE")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await client.execute("INSERT INTO t VALUES (1)")
    outsider.execute("ROLLBACK")
    await client.execute("INSERT INTO t VALUES (2)")
    assert (await client.execute("SELECT v FROM t ORDER BY v")).rows == [{"v": 1}, {"v": 2}]


async def test_readers_do_not_wait_for_the_writer(client: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    await client.execute("CREATE TABLE t (v)")
    outsider.execute("BEGIN IMMEDIATE")
    write = asyncio.create_task(client.execute("INSERT INTO t VALUES (1)"))
    for _ in range(10):
        assert (await client.execute("SELECT count(*) AS n FROM t")).rows == [{"n": 0}]
    assert not write.done()
    outsider.execute("ROLLBACK")
    await write


async def test_a_slow_read_holds_up_no_other(client: SqliteDatabase) -> None:
    await client.execute("CREATE TABLE t (v)")
    count_sql = (
        "WITH RECURSIVE n(v) AS (VALUES (1) UNION ALL SELECT v + 1 FROM n WHERE v < ?) SELECT max(v) AS v FROM n"
    )
    for most in (10_000_000, 20_000_000, 40_000_000):
        slow = asyncio.create_task(client.execute(count_sql, (most,)))
        await asyncio.sleep(0.02)  # a thread is at it by now
        for number in range(5):
            assert (await client.execute("SELECT ? AS n", (number,))).rows == [{"n": number}]
        await client.execute("INSERT INTO t VALUES (1)")
        overtaken = not slow.done()  # unless the machine stood still meanwhile
        assert (await slow).rows == [{"v": most}]
        if overtaken:
            return
    raise AssertionError("Everything waited for the slow read")


async def test_the_loop_goes_on_meanwhile(client: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    await client.execute("CREATE TABLE t (v)")
    outsider.execute("BEGIN IMMEDIATE")
    call = asyncio.create_task(client.execute("INSERT INTO t VALUES (1)"))
    ticks = 0
    while ticks < 20:
        await asyncio.sleep(0.001)
        ticks += 1
    assert not call.done()
    outsider.execute("ROLLBACK")
    await call


async def test_reads_of_a_batch_see_one_moment(client: SqliteDatabase) -> None:
    await client.execute("CREATE TABLE t (v)")
    stop = False

    async def write() -> None:
        while not stop:
            await client.execute("INSERT INTO t VALUES (1)")

    writer = asyncio.create_task(write())
    count = Statement("SELECT count(*) AS n FROM t")
    for _ in range(100):
        first, *others = await client.batch([count] * 5)
        assert all(other == first for other in others)
    stop = True
    await writer


@pytest.mark.parametrize("threads", [True, False])
def test_several_loops_in_several_threads(path: Path, threads: bool) -> None:
    client = wrap_sqlite3(path, threads=threads)
    asyncio.run(client.execute("CREATE TABLE t (thread, v)"))
    failures: list[BaseException] = []

    async def work(number: int) -> None:
        async def one(v: int) -> None:
            await client.execute("INSERT INTO t VALUES (?, ?)", (number, v))
            await client.execute("SELECT count(*) FROM t WHERE thread = ?", (number,))

        await asyncio.gather(*(one(v) for v in range(50)))

    def run(number: int) -> None:
        try:
            for _ in range(3):
                asyncio.run(work(number))
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert asyncio.run(client.execute("SELECT count(*) AS n FROM t")).rows == [{"n": 600}]
    asyncio.run(client.aclose())
    with pytest.raises(SqliteError, match="closed"):
        asyncio.run(client.execute("SELECT 1"))


async def test_close_waits_for_what_was_called(path: Path, outsider: sqlite3.Connection) -> None:
    client = wrap_sqlite3(path)
    await client.execute("CREATE TABLE t (v)")
    outsider.execute("BEGIN IMMEDIATE")
    calls = [asyncio.create_task(client.execute("INSERT INTO t VALUES (?)", (n,))) for n in range(1200)]
    reads = [asyncio.create_task(client.execute("SELECT ? AS n", (n,))) for n in range(50)]
    await asyncio.sleep(0)
    closers = [asyncio.create_task(client.aclose()) for _ in range(3)]
    await asyncio.sleep(0.02)
    closers[0].cancel()
    with pytest.raises(SqliteError, match="closed"):
        await client.execute("SELECT 1")
    assert not closers[1].done()
    outsider.execute("ROLLBACK")
    await asyncio.gather(*closers[1:])
    assert all(call.done() for call in calls)
    assert [(await read).rows[0]["n"] for read in reads] == list(range(50))
    assert outsider.execute("SELECT count(*) FROM t").fetchone() == (1200,)


async def test_closing_while_others_call(path: Path) -> None:
    """Every call either happens or says that the client is closed; none is left hanging."""
    for _ in range(10):
        client = wrap_sqlite3(path)
        await client.execute("CREATE TABLE IF NOT EXISTS t (v)")
        before = (await client.execute("SELECT count(*) AS n FROM t")).rows[0]["n"]
        done = 0

        async def one(client: SqliteDatabase = client) -> None:
            nonlocal done
            with pytest.raises(SqliteError, match="closed"):  # noqa: PT012 - which call it is does not matter
                while True:
                    await client.execute("INSERT INTO t VALUES (1)")
                    done += 1
                    await client.execute("SELECT 1")

        tasks = [asyncio.create_task(one()) for _ in range(20)]
        await asyncio.sleep(0.005)
        await client.aclose()
        await asyncio.gather(*tasks)
        async with wrap_sqlite3(path) as again:
            after = (await again.execute("SELECT count(*) AS n FROM t")).rows[0]["n"]
        assert isinstance(before, int)
        assert after == before + done
