"""What conversation stores do beyond the contract: clean up, refuse what is too large, say what is wrong."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

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
from aibind.sqlite.client import SqliteResult, SqliteValue, Statement
from aibind.sqlite.conversation_store import SqliteConversationStore
from aibind.sqlite.driver import wrap_sqlite3
from aibind.sqlite.schema import migrate
from aibind.testing import ConversationStoreHarness
from aibind.testing.checks import wait_until
from testbed.counting import CountingClient
from testbed.javascript import JAVASCRIPT_SQL
from tests.support.harnesses import STORES, Database, MemoryConversations, SqliteConversations, open_database


@dataclass
class Backend:
    """One place to keep conversations, and a way to open stores over it. A store in memory has no database."""

    harness: ConversationStoreHarness
    database: Database | None = None

    async def open(self, **options: int) -> MemoryConversationStore | SqliteConversationStore:
        store = await self.harness.open(**options)
        assert isinstance(store, MemoryConversationStore | SqliteConversationStore)
        return store


@pytest.fixture(params=STORES)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    if request.param == "memory":
        yield Backend(MemoryConversations())
        return
    async with open_database(request.param, tmp_path) as database:
        yield Backend(SqliteConversations(database), database)


def chat_of(*texts: str) -> ChatHistory:
    chat = ChatHistory()
    for number, text in enumerate(texts):
        chat.append({"role": "assistant" if number % 2 else "user", "content": text})
    return chat


async def is_absent(store: ConversationStore, session_id: str) -> bool:
    return (await store.load(session_id)).is_empty


async def test_the_last_save_wins(backend: Backend) -> None:
    store = await backend.open()
    await store.save("s", chat_of("one", "two", "three"))
    await store.save("s", chat_of("other"))
    await store.save("t", chat_of("third"))
    assert [message["content"] for message in (await store.load("s")).messages] == ["other"]
    assert [message["content"] for message in (await store.load("t")).messages] == ["third"]


@pytest.mark.parametrize("session_id", ["", "a" * 5000, "x\0y"])
async def test_any_text_is_a_session(backend: Backend, session_id: str) -> None:
    store = await backend.open()
    await store.save(session_id, chat_of("yes"))
    assert [message["content"] for message in (await store.load(session_id)).messages] == ["yes"]
    await store.delete(session_id)
    assert (await store.load(session_id)).is_empty


async def test_the_last_save_decides_how_long_a_conversation_is_kept(backend: Backend) -> None:
    brief, long = await backend.open(ttl_ms=20), await backend.open()
    await brief.save("prolonged", chat_of("one"))
    await long.save("prolonged", chat_of("one"))
    await long.save("shortened", chat_of("one"))
    await brief.save("shortened", chat_of("one"))
    await wait_until(lambda: is_absent(long, "shortened"))
    assert not (await brief.load("prolonged")).is_empty


async def test_cleanup_removes_what_has_expired(backend: Backend) -> None:
    brief, long = await backend.open(ttl_ms=10), await backend.open()
    assert await long.cleanup() == 0
    await asyncio.gather(*(long.save(f"long-{number}", chat_of("x")) for number in range(20)))
    await asyncio.gather(*(brief.save(f"brief-{number}", chat_of("x")) for number in range(1100)))
    await brief.save("last", chat_of("x"))
    await wait_until(lambda: is_absent(long, "last"))
    await long.save("brief-7", chat_of("came back"))
    removed = await long.cleanup()
    assert removed == 1100 or (not backend.database and removed < 1100)  # memory may have begun while others were saved
    assert await long.cleanup() == 0
    assert not (await long.load("brief-7")).is_empty
    assert not (await long.load("long-0")).is_empty
    if backend.database:
        sql = f"SELECT count(*) AS n FROM {backend.database.conversations}"
        assert (await backend.database.connect().execute(sql)).rows == [{"n": 21}]
    else:
        assert isinstance(long, MemoryConversationStore)
        assert len(long._stored) == 21


async def test_memory_does_not_keep_what_has_expired() -> None:
    store = MemoryConversationStore(ttl_ms=10)
    for number in range(5):
        await store.save(str(number), chat_of("x"))
    await wait_until(lambda: is_absent(store, "4"))
    store._ttl_s = 60
    await store.save("last", chat_of("x"))
    assert list(store._stored) == ["last"]


async def test_memory_keeps_conversations_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryConversationStore(ttl_ms=None)
    await store.save("s", chat_of("x"))
    later = time.monotonic() + 1e9
    monkeypatch.setattr("aibind.conversations.memory.time", SimpleNamespace(monotonic=lambda: later))
    await store.save("other", chat_of("x"))
    assert await store.cleanup() == 0
    assert not (await store.load("s")).is_empty
    assert repr(store) == "<MemoryConversationStore conversations=2 ttl_ms=None>"


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
    store = await backend.open()
    await store.save("sick", chat_of("x"))
    database = backend.database
    if database:
        await database.connect().execute(f"UPDATE {database.conversations} SET data = ?", (data,))
    else:
        assert isinstance(store, MemoryConversationStore)
        store._stored["sick"] = store._stored["sick"]._replace(text=data, version=object())
    for use in (store.load("sick"), store.save("sick", chat_of("over it")), store.load("sick")):
        with pytest.raises(CorruptConversationError, match=r'"sick".*left as it is') as caught:
            await use
        assert caught.value.session_id == "sick"
        place = f'table "{database.conversations}"' if database else "memory"
        assert f'"sick" in {place} cannot be read' in str(caught.value)
        assert isinstance(caught.value.__cause__, MalformedTreeError)
    if database:
        rows = (await database.connect().execute(f"SELECT data FROM {database.conversations}")).rows
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
        await client.batch([Statement(sql) for sql in JAVASCRIPT_SQL])
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


async def test_the_size_of_a_row(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chats.db") as client:
        await migrate(client)
        local, remote = SqliteConversationStore(client), SqliteConversationStore(CountingClient(client))
        small = chat_of("x")
        empty = len(chat_of("").to_json().encode())
        fits, over = chat_of("ü" * ((2_000_000 - empty) // 2)), chat_of("ü" * ((2_000_000 - empty) // 2 + 1))
        assert 1_999_999 <= len(fits.to_json().encode()) <= 2_000_000
        for chat in (small, fits):
            await remote.delete("s")  # a save over another conversation would merge the two
            await remote.save("s", chat)
            assert (await remote.load("s")).to_json() == chat.to_json()
        with pytest.raises(
            ConversationTooLargeError, match=r"2,000,00[12] bytes.*at most 2,000,000.*compact"
        ) as caught:
            await remote.save("s", over)
        assert caught.value.session_id == "s"
        assert (await remote.load("s")).to_json() == fits.to_json()
        await local.delete("s")
        await local.save("s", over)
        assert (await remote.load("s")).to_json() == over.to_json()
        with pytest.raises(ConversationTooLargeError):
            await SqliteConversationStore(client, max_bytes=100).save("s", fits)
        await SqliteConversationStore(CountingClient(client), max_bytes=None).save("s", over)


class Busy(CountingClient):
    """Lets somebody save a conversation while cleanup() is between finding what has expired and removing it."""

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        if sql.startswith("DELETE"):
            await SqliteConversationStore(self._client).save("back", chat_of("again"))
        return await super().execute(sql, args)


async def test_what_is_saved_during_cleanup_stays(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chats.db") as client:
        await migrate(client)
        brief = SqliteConversationStore(client, ttl_ms=1)
        for session_id in ("back", "gone"):
            await brief.save(session_id, chat_of("x"))
        await wait_until(lambda: is_absent(brief, "gone"))
        assert await SqliteConversationStore(Busy(client)).cleanup() == 1
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


async def test_options_are_checked() -> None:
    async with wrap_sqlite3(":memory:") as client:
        for options in ({"ttl_ms": 0}, {"ttl_ms": -1}, {"max_bytes": 0}, {"table": "a b"}, {"table": "sqlite_x"}):
            with pytest.raises(ValueError):
                SqliteConversationStore(client, **options)
    for ttl_ms in (0, -1, math.nan):
        with pytest.raises(ValueError, match="None for no limit"):
            MemoryConversationStore(ttl_ms=ttl_ms)  # type: ignore[arg-type]


async def test_a_conversation_survives_its_process(tmp_path: Path) -> None:
    for turn in range(3):
        async with wrap_sqlite3(tmp_path / "chats.db") as client:
            await migrate(client)
            store = SqliteConversationStore(client)
            chat = await store.load("s")
            assert len(chat.messages) == turn
            chat.append({"role": "user", "content": str(turn)})
            await store.save("s", chat)
