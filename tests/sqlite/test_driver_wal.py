"""The write-ahead log does not grow for ever."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from aibind.sqlite.driver import wrap_sqlite3

MB = 1024 * 1024


def wal_bytes(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


async def until_small(path: Path, size: int) -> None:
    while wal_bytes(path) > size:
        await asyncio.sleep(0.01)


async def test_it_stays_small_under_steady_writing(path: Path) -> None:
    async with wrap_sqlite3(path) as client:
        await client.execute("CREATE TABLE t (v)")
        for _ in range(100):
            await asyncio.gather(*(client.execute("INSERT INTO t VALUES (zeroblob(4000))") for _ in range(100)))
        assert path.stat().st_size > 30 * MB
        assert wal_bytes(path) < 10 * MB


async def test_a_pause_gives_the_space_back(path: Path) -> None:
    async with wrap_sqlite3(path) as client:
        await client.execute("CREATE TABLE t (v)")
        await client.execute("INSERT INTO t VALUES (zeroblob(20000000))")  # SQLite alone would leave the log at that
        await until_small(path, 0)
        assert (await client.execute("SELECT sum(length(v)) AS n FROM t")).rows == [{"n": 20_000_000}]


async def test_it_is_shortened_by_force_once_a_reader_lets_go(path: Path, outsider: sqlite3.Connection) -> None:
    async with wrap_sqlite3(path, wal_limit_bytes=MB) as client:
        await client.execute("CREATE TABLE t (v)")
        outsider.execute("BEGIN")
        outsider.execute("SELECT * FROM t").fetchall()  # from now on the log must be kept
        for _ in range(100):
            await client.execute("INSERT INTO t VALUES (zeroblob(100000))")
        assert wal_bytes(path) > 9 * MB
        outsider.execute("ROLLBACK")
        while wal_bytes(path) > 2 * MB:  # and no pause
            await client.execute("UPDATE t SET v = zeroblob(1000) WHERE rowid = 1")
        assert outsider.execute("SELECT count(*) FROM t").fetchone() == (100,)


async def test_a_reader_in_the_way_holds_up_nobody(path: Path, outsider: sqlite3.Connection) -> None:
    async with wrap_sqlite3(path, wal_limit_bytes=0) as client:
        await client.execute("CREATE TABLE t (v)")
        outsider.execute("BEGIN")
        outsider.execute("SELECT * FROM t").fetchall()
        for number in range(200):
            await client.execute("INSERT INTO t VALUES (?)", (number,))
        assert outsider.execute("SELECT count(*) FROM t").fetchone() == (0,)
        outsider.execute("ROLLBACK")
        assert outsider.execute("SELECT count(*) FROM t").fetchone() == (200,)
