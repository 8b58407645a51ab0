"""Every backend that a stream store can have here, as harnesses for the contract checks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aibind.sqlite import SqliteClient, SqliteDatabase, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, StreamStore
from aibind.testing import StreamStoreHarness
from testbed.counting import CountingClient
from testbed.javascript import JAVASCRIPT_SQL

BACKENDS = ("memory", "file", "memory-database", "javascript-tables", "custom-tables", "remote")


class MemoryHarness:
    """Stores in memory that share their data."""

    def __init__(self) -> None:
        self._first: MemoryStreamStore | None = None

    async def open(self, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> StreamStore:
        store = MemoryStreamStore(ttl_ms=ttl_ms, lease_ms=lease_ms)
        if self._first is None:
            self._first = store
        store._streams, store._signals = self._first._streams, self._first._signals
        return store


class SqliteHarness:
    """Stores over one database; each of a file has a client of its own, as each process would."""

    def __init__(self, clients: list[SqliteDatabase], path: Path | None, *, remote: bool, **tables: str) -> None:
        self._clients = clients
        self._path = path
        self._remote = remote
        self._tables = tables

    async def open(self, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> StreamStore:
        if self._path is not None:
            self._clients.append(wrap_sqlite3(self._path))
        client: SqliteClient = self._clients[-1]
        if self._remote:
            client = CountingClient(client)
        return SqliteStreamStore(client, ttl_ms=ttl_ms, lease_ms=lease_ms, **self._tables)  # type: ignore[arg-type]


@asynccontextmanager
async def open_harness(backend: str, folder: Path) -> AsyncIterator[StreamStoreHarness]:
    """Make the harness of a backend, with an empty database."""
    if backend == "memory":
        yield MemoryHarness()
        return
    path = folder / "streams.db"
    clients: list[SqliteDatabase] = [wrap_sqlite3(":memory:" if backend == "memory-database" else path)]
    tables: dict[str, str] = {}
    try:
        if backend == "javascript-tables":
            for sql in JAVASCRIPT_SQL:
                await clients[0].execute(sql)
        elif backend == "custom-tables":
            tables = {"chunks_table": "my_chunks", "status_table": "My_Status"}
        if backend != "javascript-tables":
            await migrate(clients[0], **tables)
        own_file = None if backend in {"memory-database", "remote"} else path
        yield SqliteHarness(clients, own_file, remote=backend == "remote", **tables)
    finally:
        for client in clients:
            await client.aclose()
