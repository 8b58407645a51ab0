"""Every conversation store keeps the same contract."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from aibind.conversations import ConversationStore, MemoryConversationStore
from aibind.errors import (
    ConversationTooLargeError,
    CorruptConversationError,
    MalformedTreeError,
    SqliteSchemaError,
    SqliteTypeError,
)
from aibind.history import ChatHistory
from aibind.sqlite.client import SqliteClient, SqliteResult, SqliteValue, Statement
from aibind.sqlite.conversation_store import SqliteConversationStore
from aibind.sqlite.driver import SqliteDatabase, wrap_sqlite3
from aibind.sqlite.schema import migrate

SEED_TABLE = """CREATE TABLE aibind_conversations (
session_id TEXT PRIMARY KEY,
data TEXT NOT NULL,
expires_at INTEGER NOT NULL
);"""

BACKENDS = ["memory", "file", "seed", "custom", "memory-database", "inline"]


class SweepingStore(ConversationStore, Protocol):
    async def cleanup(self) -> int: ...


@dataclass
class Backend:
    """One place to keep conversations, and a way to make stores over it."""

    open: Callable[..., SweepingStore]
    client: SqliteDatabase | None = None
    table: str = "aibind_conversations"


@pytest.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    kind = request.param
    if kind == "memory":
        store: list[MemoryConversationStore] = []

        def open_memory(**options: int) -> MemoryConversationStore:
            store.append(MemoryConversationStore(**options))
            store[-1]._stored = store[0]._stored
            return store[-1]

        yield Backend(open_memory)
        return
    path = ":memory:" if kind == "memory-database" else tmp_path / "chats.db"
    if kind == "seed":
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(SEED_TABLE)
    table = "chats_of_mine" if kind == "custom" else "aibind_conversations"
    async with wrap_sqlite3(path, threads=kind != "inline") as client:
        if kind != "seed":
            await migrate(client, conversations_table=table)

        def open_sqlite(**options: int) -> SqliteConversationStore:
            return SqliteConversationStore(client, table=table, **options)

        yield Backend(open_sqlite, client, table)


def chat_of(*texts: str) -> ChatHistory:
    chat = ChatHistory()
    for number, text in enumerate(texts):
        chat.append({"role": "assistant" if number % 2 else "user", "content": text})
    return chat


async def test_unknown_is_empty(backend: Backend) -> None:
    chat = await backend.open().load("nobody")
    assert chat.is_empty
    chat.append({"role": "user", "content": "mine alone"})
    assert (await backend.open().load("nobody")).is_empty


async def test_what_is_saved_is_loaded(backend: Backend) -> None:
    chat = chat_of("Hello", 'naïve 👩‍👩‍👧 \u0000 \u2028 \\ "quoted"\r\n', "")
    first = chat.node_ids[0]
    chat.edit(first, {"role": "user", "content": [{"type": "text", "text": "edited"}]}, {"why": None})
    await backend.open().save("s", chat)
    loaded = await backend.open().load("s")
    assert loaded.to_json() == chat.to_json()
    assert loaded.messages == chat.messages
    assert loaded.alternative_count(loaded.node_ids[0]) == 2


async def test_a_load_is_a_copy(backend: Backend) -> None:
    store = backend.open()
    chat = chat_of("one")
    await store.save("s", chat)
    chat.append({"role": "user", "content": "not saved"})
    (await store.load("s")).append({"role": "user", "content": "nor this"})
    assert [message["content"] for message in (await store.load("s")).messages] == ["one"]


async def test_the_last_save_wins(backend: Backend) -> None:
    store = backend.open()
    await store.save("s", chat_of("one", "two", "three"))
    await store.save("s", chat_of("other"))
    await store.save("t", chat_of("third"))
    assert [message["content"] for message in (await store.load("s")).messages] == ["other"]
    assert [message["content"] for message in (await store.load("t")).messages] == ["third"]


async def test_an_empty_conversation_may_be_saved(backend: Backend) -> None:
    await backend.open().save("s", ChatHistory())
    assert (await backend.open().load("s")).is_empty


@pytest.mark.parametrize("session_id", ["", "a" * 5000, "'; DROP TABLE aibind_conversations; --", "ünï 🎈", "x\0y"])
async def test_any_text_is_a_session(backend: Backend, session_id: str) -> None:
    store = backend.open()
    await store.save(session_id, chat_of("yes"))
    assert [message["content"] for message in (await store.load(session_id)).messages] == ["yes"]
    await store.delete(session_id)
    assert (await store.load(session_id)).is_empty


async def test_delete(backend: Backend) -> None:
    store = backend.open()
    await store.save("s", chat_of("one"))
    await store.save("t", chat_of("two"))
    await store.delete("s")
    await store.delete("s")
    await store.delete("nobody")
    assert (await store.load("s")).is_empty
    assert not (await store.load("t")).is_empty


async def test_expired_is_absent(backend: Backend) -> None:
    brief, long = backend.open(ttl_ms=40), backend.open()
    await brief.save("brief", chat_of("one"))
    await long.save("long", chat_of("two"))
    await asyncio.sleep(0.06)
    assert (await long.load("brief")).is_empty
    assert not (await brief.load("long")).is_empty
    await long.save("brief", chat_of("new"))
    assert [message["content"] for message in (await brief.load("brief")).messages] == ["new"]


async def test_each_save_starts_the_time_anew(backend: Backend) -> None:
    brief, long = backend.open(ttl_ms=20), backend.open()
    await brief.save("prolonged", chat_of("one"))
    await long.save("prolonged", chat_of("one"))
    await long.save("shortened", chat_of("one"))
    await brief.save("shortened", chat_of("one"))
    await asyncio.sleep(0.04)
    assert not (await brief.load("prolonged")).is_empty
    assert (await long.load("shortened")).is_empty


async def test_cleanup_removes_what_has_expired(backend: Backend) -> None:
    brief, long = backend.open(ttl_ms=10), backend.open()
    assert await long.cleanup() == 0
    await asyncio.gather(*(brief.save(f"brief-{number}", chat_of("x")) for number in range(1100)))
    await asyncio.gather(*(long.save(f"long-{number}", chat_of("x")) for number in range(20)))
    await asyncio.sleep(0.02)
    await long.save("brief-7", chat_of("came back"))
    removed = await long.cleanup()
    assert removed == 1099 or (not backend.client and removed < 1099)  # memory may have begun while others were saved
    assert await long.cleanup() == 0
    assert not (await long.load("brief-7")).is_empty
    assert not (await long.load("long-0")).is_empty
    if backend.client:
        assert (await backend.client.execute(f"SELECT count(*) AS n FROM {backend.table}")).rows == [{"n": 21}]
    else:
        assert isinstance(long, MemoryConversationStore)
        assert len(long._stored) == 21


async def test_memory_does_not_keep_what_has_expired() -> None:
    store = MemoryConversationStore(ttl_ms=10)
    for number in range(5):
        await store.save(str(number), chat_of("x"))
    await asyncio.sleep(0.03)
    store._ttl_s = 60
    await store.save("last", chat_of("x"))
    assert list(store._stored) == ["last"]


async def test_many_sessions_at_once(backend: Backend) -> None:
    store = backend.open()

    async def talk(session_id: str) -> None:
        for turn in range(5):
            chat = await store.load(session_id)
            assert len(chat.messages) == turn
            chat.append({"role": "user", "content": f"{session_id} {turn}"})
            await store.save(session_id, chat)

    await asyncio.gather(*(talk(f"s{number}") for number in range(50)))
    assert [message["content"] for message in (await store.load("s7")).messages] == [f"s7 {turn}" for turn in range(5)]


async def test_a_long_conversation(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chats.db") as client:
        await migrate(client)
        store = SqliteConversationStore(client)
        chat = ChatHistory()
        for number in range(100_000):
            chat.append({"role": "user", "content": f"message {number}"})
        await store.save("s", chat)
        loaded = await store.load("s")
        assert loaded.node_ids == chat.node_ids
        assert loaded.messages[-1] == {"role": "user", "content": "message 99999"}


@pytest.mark.parametrize(
    "data",
    ["", "not json", "null", "[]", '{"version":2}', '{"version":1,"nodes":{},"rootIds":["gone"],"activeLeafId":null}'],
)
async def test_a_corrupt_row_is_left_alone(backend: Backend, data: str) -> None:
    store = backend.open()
    await store.save("sick", chat_of("x"))
    if backend.client:
        await backend.client.execute(f"UPDATE {backend.table} SET data = ?", (data,))
    else:
        assert isinstance(store, MemoryConversationStore)
        store._stored["sick"] = (data, store._stored["sick"][1])
    for _ in range(2):
        with pytest.raises(CorruptConversationError, match=r'"sick".*left as it is') as caught:
            await store.load("sick")
        assert caught.value.session_id == "sick"
        assert isinstance(caught.value.__cause__, MalformedTreeError)
    if backend.client:
        rows = (await backend.client.execute(f"SELECT data FROM {backend.table}")).rows
        assert rows == [{"data": data}]
    await store.delete("sick")
    assert (await store.load("sick")).is_empty


async def test_a_row_that_is_not_text(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chats.db") as client:
        await migrate(client)
        await client.execute("INSERT INTO aibind_conversations VALUES ('s', x'00', ?)", (2**52,))
        with pytest.raises(CorruptConversationError, match="stored as bytes"):
            await SqliteConversationStore(client).load("s")


async def test_rows_of_the_javascript_packages(tmp_path: Path) -> None:
    cases = json.loads((Path(__file__).parents[1] / "fixtures" / "chat_history.json").read_text(encoding="utf-8"))
    texts = [text for text in _json_texts(cases) if '"rootIds"' in text]
    assert texts
    async with wrap_sqlite3(tmp_path / "chats.db") as client:
        await client.execute(SEED_TABLE)
        store = SqliteConversationStore(client)
        for number, text in enumerate(texts):
            await client.execute(
                "INSERT INTO aibind_conversations VALUES (?, ?, ?)",
                (f"s{number}", text, int(time.time() * 1000) + 60_000),
            )
            chat = await store.load(f"s{number}")
            await store.save(f"s{number}", chat)
        rows = (await client.execute("SELECT data FROM aibind_conversations ORDER BY rowid")).rows
        assert [row["data"] for row in rows] == texts


def _json_texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for part in value.values() for text in _json_texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _json_texts(part)]
    return []


class Remote:
    """The same database as if it were far away: without what only a local client can do."""

    def __init__(self, client: SqliteClient) -> None:
        self.client = client

    @property
    def shares_wakeups(self) -> bool:
        return self.client.shares_wakeups

    async def execute(self, sql: str, args: tuple[SqliteValue, ...] = ()) -> SqliteResult:
        return await self.client.execute(sql, args)

    async def batch(self, statements: list[Statement]) -> list[SqliteResult]:
        return await self.client.batch(statements)


async def test_the_size_of_a_row(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chats.db") as client:
        await migrate(client)
        local, remote = SqliteConversationStore(client), SqliteConversationStore(Remote(client))  # type: ignore[arg-type]
        small = chat_of("x")
        empty = len(chat_of("").to_json().encode())
        fits, over = chat_of("ü" * ((2_000_000 - empty) // 2)), chat_of("ü" * ((2_000_000 - empty) // 2 + 1))
        assert 1_999_999 <= len(fits.to_json().encode()) <= 2_000_000
        for chat in (small, fits):
            await remote.save("s", chat)
            assert (await remote.load("s")).to_json() == chat.to_json()
        with pytest.raises(
            ConversationTooLargeError, match=r"2,000,00[12] bytes.*at most 2,000,000.*compact"
        ) as caught:
            await remote.save("s", over)
        assert caught.value.session_id == "s"
        assert (await remote.load("s")).to_json() == fits.to_json()
        await local.save("s", over)
        assert (await remote.load("s")).to_json() == over.to_json()
        with pytest.raises(ConversationTooLargeError):
            await SqliteConversationStore(client, max_bytes=100).save("s", fits)
        await SqliteConversationStore(Remote(client), max_bytes=None).save("s", over)  # type: ignore[arg-type]


class Busy(Remote):
    """Lets somebody save a conversation while cleanup() is between finding what has expired and removing it."""

    async def execute(self, sql: str, args: tuple[SqliteValue, ...] = ()) -> SqliteResult:
        if sql.startswith("DELETE"):
            await SqliteConversationStore(self.client).save("back", chat_of("again"))
        return await super().execute(sql, args)


async def test_what_is_saved_during_cleanup_stays(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chats.db") as client:
        await migrate(client)
        brief = SqliteConversationStore(client, ttl_ms=1)
        for session_id in ("back", "gone"):
            await brief.save(session_id, chat_of("x"))
        await asyncio.sleep(0.005)
        assert await SqliteConversationStore(Busy(client)).cleanup() == 1  # type: ignore[arg-type]
        chat = await SqliteConversationStore(client).load("back")
        assert [message["content"] for message in chat.messages] == ["again"]


async def test_without_the_table_it_says_what_to_do() -> None:
    async with wrap_sqlite3(":memory:") as client:
        store = SqliteConversationStore(client)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.load("s"),
            lambda: store.save("s", chat_of("x")),
            lambda: store.delete("s"),
            store.cleanup,
        ]
        for call in calls:
            with pytest.raises(SqliteSchemaError, match="aibind schema"):
                await call()


async def test_a_session_id_that_cannot_be_stored() -> None:
    async with wrap_sqlite3(":memory:") as client:
        await migrate(client)
        with pytest.raises(SqliteTypeError, match="surrogate"):
            await SqliteConversationStore(client).save("\ud800", chat_of("x"))


async def test_half_a_character_in_a_message_is_kept(backend: Backend) -> None:
    chat = chat_of("half \ud83d")
    await backend.open().save("s", chat)
    assert (await backend.open().load("s")).messages == chat.messages


async def test_options_are_checked() -> None:
    async with wrap_sqlite3(":memory:") as client:
        for options in ({"ttl_ms": 0}, {"ttl_ms": -1}, {"max_bytes": 0}, {"table": "a b"}, {"table": "sqlite_x"}):
            with pytest.raises(ValueError):
                SqliteConversationStore(client, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        MemoryConversationStore(ttl_ms=0)


async def test_a_conversation_survives_its_process(tmp_path: Path) -> None:
    for turn in range(3):
        async with wrap_sqlite3(tmp_path / "chats.db") as client:
            await migrate(client)
            store = SqliteConversationStore(client)
            chat = await store.load("s")
            assert len(chat.messages) == turn
            chat.append({"role": "user", "content": str(turn)})
            await store.save("s", chat)
