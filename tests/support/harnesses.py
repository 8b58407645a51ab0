"""Every backend that a stream store can have here, as harnesses for the contract checks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aibind.sqlite import SqliteClient, SqliteResult, SqliteStreamStore, Statement, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, StreamStore
from aibind.testing import StreamStoreHarness

SEED_SQL = (
    """CREATE TABLE aibind_stream_chunks (id TEXT NOT NULL, seq INTEGER NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (id, seq))""",
    """CREATE TABLE aibind_stream_status (id TEXT PRIMARY KEY, state TEXT NOT NULL DEFAULT 'active', error TEXT,
    total_chunks INTEGER NOT NULL DEFAULT 0, expires_at INTEGER NOT NULL)""",
    "CREATE TABLE aibind_conversations (session_id TEXT PRIMARY KEY, data TEXT NOT NULL, expires_at INTEGER NOT NULL)",
)
"""The tables as the JavaScript packages' documentation gives them."""

BACKENDS = ("memory", "file", "memory-database", "seed-tables", "custom-tables", "remote")


class RemoteClient:
    """Hides that a client is local, as a database across a network looks to a store; counts what it is asked."""

    def __init__(self, client: SqliteClient) -> None:
        self._client = client
        self.round_trips = 0
        self.statements = 0
        self.rows_written = 0
        self.log: list[str] = []

    @property
    def shares_wakeups(self) -> bool:
        return self._client.shares_wakeups

    async def execute(self, sql: str, args: object = ()) -> SqliteResult:
        self.round_trips += 1
        self.statements += 1
        self.log.append(sql)
        result = await self._client.execute(sql, args)  # type: ignore[arg-type]
        self.rows_written += result.rows_written
        return result

    async def batch(self, statements: list[Statement]) -> list[SqliteResult]:
        self.round_trips += 1
        self.statements += len(statements)
        self.log += [statement.sql for statement in statements]
        results = await self._client.batch(statements)
        self.rows_written += sum(result.rows_written for result in results)
        return results


class MemoryHarness:
    """Stores in memory that share their data."""

    def __init__(self) -> None:
        self._first: MemoryStreamStore | None = None

    async def open(self, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> StreamStore:
        if self._first is None:
            self._first = MemoryStreamStore(ttl_ms=ttl_ms, lease_ms=lease_ms)
            return self._first
        return share_streams(self._first, ttl_ms=ttl_ms, lease_ms=lease_ms)


def share_streams(store: MemoryStreamStore, **options: int) -> MemoryStreamStore:
    """Return another store over the same streams, which finds no producer of the first."""
    other = MemoryStreamStore(**options)
    other._streams, other._wakeups = store._streams, store._wakeups
    return other


class SqliteHarness:
    """Stores over one database; each of a file has a client of its own, as each process would."""

    def __init__(self, clients: list[SqliteClient], path: Path | None, *, remote: bool, **tables: str) -> None:
        self._clients = clients
        self._path = path
        self._remote = remote
        self._tables = tables

    async def open(self, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> StreamStore:
        if self._path is not None:
            self._clients.append(wrap_sqlite3(self._path))
        client = self._clients[-1]
        if self._remote:
            client = RemoteClient(client)  # type: ignore[assignment]
        return SqliteStreamStore(client, ttl_ms=ttl_ms, lease_ms=lease_ms, **self._tables)  # type: ignore[arg-type]


@asynccontextmanager
async def open_harness(backend: str, folder: Path) -> AsyncIterator[StreamStoreHarness]:
    """Make the harness of a backend, with an empty database."""
    if backend == "memory":
        yield MemoryHarness()
        return
    path = folder / "streams.db"
    clients = [wrap_sqlite3(":memory:" if backend == "memory-database" else path)]
    tables: dict[str, str] = {}
    try:
        if backend == "seed-tables":
            for sql in SEED_SQL:
                await clients[0].execute(sql)
        elif backend == "custom-tables":
            tables = {"chunks_table": "my_chunks", "status_table": "My_Status"}
        if backend != "seed-tables":
            await migrate(clients[0], **tables)
        own_file = None if backend in {"memory-database", "remote"} else path
        yield SqliteHarness(clients, own_file, remote=backend == "remote", **tables)
    finally:
        for client in clients:
            await client.aclose()
