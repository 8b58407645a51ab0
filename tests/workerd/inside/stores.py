"""The contract suites of the stores, on D1, in a Durable Object and in KV."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aibind.cloudflare import DurableObjectStreamStore, KVConversationStore
from aibind.conversations import ConversationStore
from aibind.sqlite.client import SqliteClient, SqliteResult, SqliteValue, Statement
from aibind.sqlite.conversation_store import SqliteConversationStore
from aibind.sqlite.message_store import SqliteMessageStore
from aibind.sqlite.stream_store import SqliteStreamStore
from aibind.streams.store import StreamStore
from aibind.testing import Check, conversation_store_checks, session_store_checks, stream_store_checks

from .bench import KINDS, OBJECT_KINDS, Bench

PAUSE_S = 0.004


class Breathing:
    """A client whose calls take a moment, as calls across a network do.

    The rig's D1 is in workerd's own process, as an object's database always is, and answers without a pause: a loop
    over it would let no timer run. Nor do asyncio's shortest sleeps, which Pyodide makes without a timer.
    """

    def __init__(self, client: SqliteClient) -> None:
        self._client = client

    @property
    def shares_wakeups(self) -> bool:
        return self._client.shares_wakeups

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        await asyncio.sleep(PAUSE_S)
        return await self._client.execute(sql, args)

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        await asyncio.sleep(PAUSE_S)
        return await self._client.batch(statements)


class Streams:
    """Stream stores on one database, each with its own client."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.records_sessions = bench.kind != "javascript"

    async def open(self, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> StreamStore:
        client = Breathing(self._bench.client())
        return SqliteStreamStore(client, ttl_ms=ttl_ms, lease_ms=lease_ms, **self._bench.tables)  # type: ignore[arg-type]


class ObjectStreams:
    """Stream stores on one object, from a Worker: each check has an object for itself."""

    records_sessions = True

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._name = f"shelf-{secrets.token_hex(8)}"

    async def open(self, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> StreamStore:
        store = DurableObjectStreamStore(self._bench.env.SHELVES, self._name, ttl_ms=ttl_ms, lease_ms=lease_ms)
        run = store._object.batch

        async def breathe_and_run(statements: Sequence[Statement]) -> list[SqliteResult]:
            await asyncio.sleep(PAUSE_S)  # as above: the object is in the same process
            return await run(statements)

        setattr(store._object, "batch", breathe_and_run)  # noqa: B010  # mypy forbids to assign to a method
        return store


class Conversations:
    """Conversation stores on one database."""

    min_ttl_ms = 1

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def open(self, *, ttl_ms: int = 1_800_000) -> ConversationStore:
        return SqliteConversationStore(self._bench.client(), table=self._bench.conversations, ttl_ms=ttl_ms)


class Messages:
    """Message stores on one database."""

    min_ttl_ms = 1

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def open(self, *, ttl_ms: int | None = None) -> SqliteMessageStore:
        return SqliteMessageStore(self._bench.client(), ttl_ms=ttl_ms)


class KVConversations:
    """Conversation stores in KV, under a prefix that only this harness uses."""

    min_ttl_ms = 60_000
    _number = 0

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        KVConversations._number += 1
        self._prefix = f"check-{self._number}"

    async def open(self, *, ttl_ms: int = 1_800_000) -> ConversationStore:
        return KVConversationStore(self._bench.kv, prefix=self._prefix, ttl_sec=ttl_ms // 1000, verify_s=0.01)


@dataclass(frozen=True, slots=True)
class Suite:
    """A contract, and a store that is held to it."""

    name: str
    store: str
    contract: str
    checks: Sequence[Check[Any]]
    open: Callable[[Bench], Any]
    kinds: tuple[str, ...] = KINDS


STREAMS = "streams", stream_store_checks(), Streams
CONVERSATIONS = "conversations", conversation_store_checks(), Conversations
MESSAGES = "conversations", conversation_store_checks(), Messages
SESSIONS = "sessions", session_store_checks(), Messages

SUITES = (
    Suite("streams_on_d1", "D1", *STREAMS),
    Suite("conversations_on_d1", "D1", *CONVERSATIONS),
    Suite("messages_on_d1", "D1 messages", *MESSAGES, KINDS[:2]),
    Suite("sessions_on_d1", "D1 messages", *SESSIONS, KINDS[:2]),
    Suite("streams_in_object", "Durable Object", *STREAMS, OBJECT_KINDS),
    Suite("streams_from_worker", "Durable Object, from a Worker", *STREAMS[:2], ObjectStreams, KINDS[:2]),
    Suite("conversations_in_object", "Durable Object", *CONVERSATIONS, OBJECT_KINDS),
    Suite("messages_in_object", "Durable Object messages", *MESSAGES, OBJECT_KINDS),
    Suite("sessions_in_object", "Durable Object messages", *SESSIONS, OBJECT_KINDS),
    Suite("conversations_in_kv", "KV", "conversations", conversation_store_checks(), KVConversations, KINDS[:2]),
)
