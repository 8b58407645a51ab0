"""Every store that there is outside Workers, as harnesses for the contract checks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aibind.conversations import MemoryConversationStore
from aibind.sqlite import (
    SqliteClient,
    SqliteConversationStore,
    SqliteDatabase,
    SqliteMessageStore,
    SqliteStreamStore,
    TableNames,
    migrate,
    wrap_sqlite3,
)
from aibind.streams import MemoryStreamStore, StreamStore
from aibind.testing import ConversationStoreHarness, StreamStoreHarness
from testbed.counting import CountingClient
from testbed.javascript import JAVASCRIPT_SQL

STORES = {
    "memory": "memory",
    "file": "SQLite, file",
    "memory-database": "SQLite, in memory",
    "inline": "SQLite, without threads",
    "custom-tables": "SQLite, tables of other names",
    "javascript-tables": "SQLite, the JavaScript packages' tables",
    "remote": "SQLite, as if across a network",
}
"""The stores by the names of their tests' parameters, as the table at the end of a test run calls them."""

STREAM_STORES = {**STORES, "migrated-tables": "SQLite, the JavaScript packages' tables, migrated"}
"""The stores of streams, likewise. A migration adds columns to the JavaScript packages' table of streams."""

MESSAGE_STORES = {
    "file": "SQLite messages, file",
    "memory-database": "SQLite messages, in memory",
    "inline": "SQLite messages, without threads",
    "custom-tables": "SQLite messages, tables of other names",
    "remote": "SQLite messages, as if across a network",
}
"""The databases of message stores, likewise. The JavaScript packages have no table for messages."""


@dataclass(slots=True)
class Database:
    """A database for one test: its tables' names, its clients, and how to connect once more where that is possible."""

    clients: list[SqliteDatabase]
    path: Path | None
    remote: bool
    streams: dict[str, str]
    conversations: str = "aibind_conversations"
    messages: dict[str, str] = field(default_factory=dict[str, str])

    def connect(self) -> SqliteClient:
        """Connect as each process would: with a client for each store of a file."""
        if self.path is not None:
            self.clients.append(wrap_sqlite3(self.path))
        return CountingClient(self.clients[-1]) if self.remote else self.clients[-1]


@asynccontextmanager
async def open_database(backend: str, folder: Path) -> AsyncIterator[Database]:
    """Make the empty database of a backend."""
    path = folder / "aibind.db"
    separate = {"file", "custom-tables", "javascript-tables", "migrated-tables"}
    client = wrap_sqlite3(":memory:" if backend == "memory-database" else path, threads=backend != "inline")
    database = Database([client], path if backend in separate else None, backend == "remote", {})
    try:
        if backend in {"javascript-tables", "migrated-tables"}:
            for sql in JAVASCRIPT_SQL:
                await client.execute(sql)
            if backend == "migrated-tables":
                await migrate(client)
        elif backend == "custom-tables":
            database.streams = {"chunks_table": "my_chunks", "status_table": "My_Status"}
            database.conversations = "chats_of_mine"
            database.messages = {
                "sessions_table": "my_sessions",
                "messages_table": "my_messages",
                "files_table": "my_files",
                "message_files_table": "my_message_files",
            }
            names = {**database.streams, **database.messages}
            await migrate(client, TableNames(conversations_table=database.conversations, **names))
        else:
            await migrate(client)
        yield database
    finally:
        for client in database.clients:
            await client.aclose()


class MemoryStreams:
    """Stream stores in memory that share their data."""

    records_sessions = True

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


class SqliteStreams:
    """Stream stores over one database."""

    def __init__(self, database: Database, *, records_sessions: bool) -> None:
        self._database = database
        self.records_sessions = records_sessions

    async def open(self, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> StreamStore:
        client = self._database.connect()
        return SqliteStreamStore(client, ttl_ms=ttl_ms, lease_ms=lease_ms, **self._database.streams)  # type: ignore[arg-type]


class MemoryConversations:
    """Conversation stores in memory that share their data."""

    min_ttl_ms = 1

    def __init__(self) -> None:
        self._first: MemoryConversationStore | None = None

    async def open(self, *, ttl_ms: int = 1_800_000) -> MemoryConversationStore:
        store = MemoryConversationStore(ttl_ms=ttl_ms)
        if self._first is None:
            self._first = store
        store._stored = self._first._stored
        return store


class SqliteConversations:
    """Conversation stores over one database."""

    min_ttl_ms = 1

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, *, ttl_ms: int = 1_800_000) -> SqliteConversationStore:
        return SqliteConversationStore(self._database.connect(), table=self._database.conversations, ttl_ms=ttl_ms)


class SqliteMessages:
    """Message stores over one database."""

    min_ttl_ms = 1

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, *, ttl_ms: int | None = None) -> SqliteMessageStore:
        return SqliteMessageStore(self._database.connect(), ttl_ms=ttl_ms, **self._database.messages)


@asynccontextmanager
async def open_stream_harness(backend: str, folder: Path) -> AsyncIterator[StreamStoreHarness]:
    """Make the harness of a backend for the checks of stream stores."""
    if backend == "memory":
        yield MemoryStreams()
        return
    async with open_database(backend, folder) as database:
        yield SqliteStreams(database, records_sessions=backend != "javascript-tables")


@asynccontextmanager
async def open_message_harness(backend: str, folder: Path) -> AsyncIterator[SqliteMessages]:
    """Make the harness of a backend for the checks of message stores."""
    async with open_database(backend, folder) as database:
        yield SqliteMessages(database)


@asynccontextmanager
async def open_conversation_harness(backend: str, folder: Path) -> AsyncIterator[ConversationStoreHarness]:
    """Make the harness of a backend for the checks of conversation stores."""
    if backend == "memory":
        yield MemoryConversations()
        return
    async with open_database(backend, folder) as database:
        yield SqliteConversations(database)
