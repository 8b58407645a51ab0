"""Ways to append to many streams in a SQLite file at once, each as a pair of functions: create, append."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from .measure import delay_figures
from .result import Figures

__all__ = ["STORES", "Append", "Store", "append_all"]

TOKEN = "\x01 token"
LEASE_END = 2**50

Append = Callable[[str], Awaitable[object]]
Store = Callable[[Path, argparse.Namespace], AbstractAsyncContextManager[tuple[Append, Append]]]


async def append_all(store: Store, path: Path, options: argparse.Namespace) -> Figures:
    """Append to all streams at once, each waiting for its last chunk before the next, and time every call."""
    calls = max(1, options.chunks // options.streams)
    async with store(path, options) as (create, append):
        times: list[float] = []
        ids = [f"stream-{number}" for number in range(options.streams)]
        for stream_id in ids:
            await create(stream_id)

        async def write(stream_id: str) -> None:
            for _ in range(calls):
                began = time.perf_counter()
                await append(stream_id)
                times.append((time.perf_counter() - began) * 1000)

        began = time.perf_counter()
        await asyncio.gather(*map(write, ids))
        seconds = time.perf_counter() - began
    return {"chunks_per_second": round(len(times) / seconds, 1), **delay_figures(times)}


@asynccontextmanager
async def _ours(path: Path, options: argparse.Namespace) -> AsyncIterator[tuple[Append, Append]]:
    from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3

    async with wrap_sqlite3(path, synchronous=options.synchronous) as client:
        await migrate(client)
        store = SqliteStreamStore(client)
        stored: Counter[str] = Counter()

        async def append(stream_id: str) -> None:
            stored[stream_id] += 1
            await store.append_many(stream_id, [TOKEN], first_seq=stored[stream_id])

        yield store.create, append


@asynccontextmanager
async def _javascript(path: Path, options: argparse.Namespace) -> AsyncIterator[tuple[Append, Append]]:
    from aibind.sqlite import wrap_sqlite3
    from testbed.javascript import JavaScriptStreamStore

    async with wrap_sqlite3(path, synchronous=options.synchronous) as client:
        store = JavaScriptStreamStore(client)
        await store.make_tables()
        yield store.create, lambda stream_id: store.append(stream_id, TOKEN)


@asynccontextmanager
async def _aiosqlite(
    path: Path, options: argparse.Namespace, *, autocommit: bool = False
) -> AsyncIterator[tuple[Append, Append]]:
    import aiosqlite

    from aibind.sqlite import migrate, wrap_sqlite3
    from aibind.sqlite.stream_sql import StreamSql

    async with wrap_sqlite3(path) as client:
        await migrate(client)
    sql = StreamSql("aibind_stream_chunks", "aibind_stream_status", counted=True)
    stored: Counter[str] = Counter()
    lock = asyncio.Lock()
    async with aiosqlite.connect(path, isolation_level=None if autocommit else "IMMEDIATE") as connection:
        for pragma in ("journal_mode = WAL", f"synchronous = {options.synchronous}", "foreign_keys = ON"):
            await connection.execute(f"PRAGMA {pragma}")

        async def create(stream_id: str) -> None:
            statement = sql.create(stream_id, LEASE_END)
            await connection.execute(statement.sql, statement.args)
            await connection.commit()

        async def append_alone(stream_id: str) -> None:
            stored[stream_id] += 1
            [statement] = sql.append(stream_id, [TOKEN], stored[stream_id])
            assert (await connection.execute(statement.sql, statement.args)).rowcount == 1

        async def append(stream_id: str) -> None:
            async with lock:
                await append_alone(stream_id)
                await connection.commit()

        yield create, append_alone if autocommit else append


STORES: dict[str, Any] = {
    "ours": _ours,
    "aiosqlite": _aiosqlite,
    "aiosqlite_autocommit": partial(_aiosqlite, autocommit=True),
    "javascript": _javascript,
}
"""Each a :data:`Store`."""
