"""Writers that save one conversation at the same time, each with a client on the same file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aibind.conversations import ConversationStore, MemoryConversationStore
from aibind.errors import ConversationConflictError, MalformedTreeError
from aibind.history import ChatHistory
from aibind.sqlite.conversation_store import SqliteConversationStore
from testbed.counting import CountingClient
from tests.support.harnesses import Database, open_database

BLIND = (
    "INSERT INTO aibind_conversations (session_id, data, expires_at) VALUES ('s', ?, ?) "
    "ON CONFLICT (session_id) DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at"
)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database("file", tmp_path) as database:
        yield database


def say(chat: ChatHistory, text: str) -> None:
    chat.append({"role": "user", "content": text})


async def expiry(database: Database) -> int:
    rows = (await database.clients[0].execute("SELECT expires_at FROM aibind_conversations")).rows
    value = rows[0]["expires_at"]
    assert isinstance(value, int)
    return value


@pytest.fixture(params=["SQLite", "memory"])
def stores(request: pytest.FixtureRequest, database: Database) -> tuple[ConversationStore, ConversationStore]:
    """Return two stores over the same conversations."""
    if request.param == "memory":
        store = MemoryConversationStore()
        return store, store
    return SqliteConversationStore(database.connect()), SqliteConversationStore(database.connect())


async def test_both_turns_of_two_clients_are_kept(stores: tuple[ConversationStore, ConversationStore]) -> None:
    one, two = stores
    mine = ChatHistory()
    say(mine, "start")
    await one.save("s", mine)
    other = await two.load("s")
    say(mine, "mine")
    say(other, "other")
    await one.save("s", mine)
    await two.save("s", other)
    stored = (await one.load("s")).to_json()
    assert '"mine"' in stored
    assert '"other"' in stored
    assert [message["content"] for message in other.messages] == ["start", "other"]
    assert '"mine"' in other.to_json()


async def test_a_chat_that_was_not_loaded_is_merged(stores: tuple[ConversationStore, ConversationStore]) -> None:
    one, two = stores
    first, second = ChatHistory(), ChatHistory()
    say(first, "first")
    say(second, "second")
    await one.save("s", first)
    await one.save("other", second)
    await two.save("s", second)  # saved before, but in another session
    assert second.size == 2
    assert [message["content"] for message in (await one.load("s")).messages] == ["second"]
    assert (await one.load("s")).size == 2
    assert (await one.load("other")).size == 1


async def test_a_loaded_chat_replaces_what_is_stored(stores: tuple[ConversationStore, ConversationStore]) -> None:
    one, two = stores
    chat = ChatHistory()
    say(chat, "first")
    await one.save("s", chat)
    loaded = await two.load("s")
    for text in ("short", "shorter"):
        loaded.compact({"role": "system", "content": text})
        await two.save("s", loaded)
        assert (await one.load("s")).size == 1


async def test_a_contradiction_is_refused(stores: tuple[ConversationStore, ConversationStore]) -> None:
    one, two = stores
    first, second = (ChatHistory(generate_id=lambda: "same") for _ in range(2))
    say(first, "first")
    say(second, "second")
    await one.save("s", first)
    with pytest.raises(MalformedTreeError, match="same"):
        await two.save("s", second)
    assert (await one.load("s")).to_json() == first.to_json()


@pytest.mark.parametrize("later_ms", [-1, 0])
async def test_a_blind_write_with_no_later_time_is_noticed(database: Database, later_ms: int) -> None:
    store = SqliteConversationStore(database.connect())
    chat = ChatHistory()
    say(chat, "start")
    await store.save("s", chat)
    blind = ChatHistory.from_json(chat.to_json())
    say(blind, "them")  # as long as "mine": only the ids at the end differ
    await database.clients[0].execute(BLIND, (blind.to_json(), await expiry(database) + later_ms))
    say(chat, "mine")
    await store.save("s", chat)
    stored = (await store.load("s")).to_json()
    assert '"them"' in stored
    assert '"mine"' in stored


async def test_every_save_raises_the_expiry_and_is_one_statement(database: Database) -> None:
    client = CountingClient(database.connect())
    store = SqliteConversationStore(client, ttl_ms=None)
    chat = ChatHistory()
    expiries: list[int] = []
    for number in range(5):
        say(chat, str(number))
        await store.save("s", chat)
        expiries.append(await expiry(database))
    assert expiries == [253_402_300_799_999 + number for number in range(5)]
    assert client.statements == 5


async def test_concurrent_turns_of_two_clients_are_all_kept(
    stores: tuple[ConversationStore, ConversationStore],
) -> None:
    async def talk(store: ConversationStore, name: str) -> None:
        for number in range(10):
            chat = await store.load("s")
            say(chat, f"{name}{number}")
            await store.save("s", chat)

    await asyncio.gather(talk(stores[0], "a"), talk(stores[1], "b"))
    stored = (await stores[0].load("s")).to_json()
    assert [text for text in (f"{name}{n}" for name in "ab" for n in range(10)) if f'"{text}"' not in stored] == []


async def test_a_save_gives_up_after_bounded_tries(database: Database) -> None:
    store = SqliteConversationStore(database.connect())
    chat = ChatHistory()
    say(chat, "start")
    await store.save("s", chat)
    await database.clients[0].execute(
        "CREATE TRIGGER busy BEFORE UPDATE ON aibind_conversations BEGIN SELECT RAISE(IGNORE); END"
    )
    say(chat, "mine")
    with pytest.raises(ConversationConflictError, match="save it again") as caught:
        await store.save("s", chat)
    assert caught.value.session_id == "s"


async def test_an_expired_conversation_is_merged_by_a_save(database: Database) -> None:
    store = SqliteConversationStore(database.connect())
    old = ChatHistory()
    say(old, "old")
    await database.clients[0].execute(BLIND, (old.to_json(), 1))
    chat = await store.load("s")
    assert chat.is_empty
    say(chat, "new")
    await store.save("s", chat)
    loaded = await store.load("s")
    assert [message["content"] for message in loaded.messages] == ["new"]
    assert loaded.size == 2


async def test_saves_within_one_millisecond_differ(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aibind.sqlite.conversation_store.latest_ms", lambda: 5_000)
    store = SqliteConversationStore(database.connect(), ttl_ms=1_000)
    chat = ChatHistory()
    expiries: list[int] = []
    for number in range(3):
        say(chat, str(number))
        await store.save("s", chat)
        expiries.append(await expiry(database))
    assert expiries == [6_000, 6_001, 6_002]
