"""The contract suites of the stores, on D1 and KV."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aibind.cloudflare import KVConversationStore, wrap_d1
from aibind.conversations import ConversationStore
from aibind.sqlite.client import SqliteClient, SqliteResult, SqliteValue, Statement
from aibind.sqlite.conversation_store import SqliteConversationStore
from aibind.sqlite.message_store import SqliteMessageStore
from aibind.sqlite.stream_store import SqliteStreamStore
from aibind.streams.store import StreamStore
from aibind.testing import Check, conversation_store_checks, session_store_checks, stream_store_checks

from .bench import KINDS, Bench

PAUSE_S = 0.004


class Breathing:
    """A D1 client whose calls take a moment, as calls across a network do.

    The rig's D1 is in workerd's own process and answers without a pause: a loop over it would let no timer run. Nor do
    asyncio's shortest sleeps, which Pyodide makes without a timer.
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


class D1Streams:
    """Stream stores on D1, each with its own client."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.records_sessions = bench.kind != "javascript"

    async def open(self, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> StreamStore:
        client = Breathing(wrap_d1(self._bench.db))
        return SqliteStreamStore(client, ttl_ms=ttl_ms, lease_ms=lease_ms, **self._bench.tables)  # type: ignore[arg-type]


class D1Conversations:
    """Conversation stores on D1."""

    min_ttl_ms = 1

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def open(self, *, ttl_ms: int = 1_800_000) -> ConversationStore:
        return SqliteConversationStore(wrap_d1(self._bench.db), table=self._bench.conversations, ttl_ms=ttl_ms)


class D1Messages:
    """Message stores on D1."""

    min_ttl_ms = 1

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def open(self, *, ttl_ms: int | None = None) -> SqliteMessageStore:
        return SqliteMessageStore(wrap_d1(self._bench.db), ttl_ms=ttl_ms)


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
    contract: str
    store: str
    checks: Sequence[Check[Any]]
    open: Callable[[Bench], Any]
    kinds: tuple[str, ...] = KINDS


SUITES = (
    Suite("streams_on_d1", "streams", "D1", stream_store_checks(), D1Streams),
    Suite("conversations_on_d1", "conversations", "D1", conversation_store_checks(), D1Conversations),
    Suite("messages_on_d1", "conversations", "D1 messages", conversation_store_checks(), D1Messages, KINDS[:2]),
    Suite("sessions_on_d1", "sessions", "D1 messages", session_store_checks(), D1Messages, KINDS[:2]),
    Suite("conversations_in_kv", "conversations", "KV", conversation_store_checks(), KVConversations, KINDS[:2]),
)
