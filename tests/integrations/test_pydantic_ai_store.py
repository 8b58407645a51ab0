"""The conversation store of pydantic-ai: it behaves as pydantic-ai's own in memory, and shares with a handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_ai")

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_ai import Agent, BinaryImage, DeferredToolRequests
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
    InMemoryConversationStore,
)
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RunUsage

from aibind.errors import SqliteSchemaError
from aibind.integrations.pydantic_ai import PydanticAIConversationStore, PydanticAIModel
from aibind.server import Access, StreamHandler
from aibind.sqlite import SqliteClient, SqliteMessageStore, migrate, wrap_sqlite3
from aibind.testing import Faults, FaultySqliteClient
from tests.support.sources import read_all


class RemoteClient:
    """A client that does no more than a SqliteClient must, as one of D1 does, and that counts round trips."""

    shares_wakeups = False

    def __init__(self, client: SqliteClient) -> None:
        self.execute = client.execute
        self._client = client
        self.calls = 0

    async def batch(self, statements: Any) -> Any:
        self.calls += 1
        return await self._client.batch(statements)


async def opened(client: SqliteClient) -> PydanticAIConversationStore:
    await migrate(client)
    store = PydanticAIConversationStore(client)
    await store.setup()
    return store


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[SqliteClient]:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        yield client


@pytest.fixture
async def store(client: SqliteClient) -> PydanticAIConversationStore:
    return await opened(client)


WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


def ask(text: str) -> ModelRequest:
    return ModelRequest([UserPromptPart(text, timestamp=WHEN)])


def say(text: str) -> ModelResponse:
    return ModelResponse([TextPart(text)], timestamp=WHEN)


def turns(*texts: str) -> list[ModelMessage]:
    return [ask(text) if number % 2 == 0 else say(text) for number, text in enumerate(texts)]


RICH: list[ModelMessage] = [
    ModelRequest(
        [SystemPromptPart("Secret"), UserPromptPart(["Look", BinaryImage(b"\x89PNG\xff", media_type="image/png")])],
        instructions="Be brief",
        run_id="run",
        metadata={"n": 2**60},
    ),
    ModelResponse(
        [
            ThinkingPart("Hm", signature="sig", provider_name="p"),
            TextPart("Let me look", provider_details={"x": [1]}),
            ToolCallPart("t", {"a": 1}, "c1"),
            ToolCallPart("t", '{"a": 2}', "c2"),
        ],
        model_name="m",
    ),
    ModelRequest([ToolReturnPart("t", {"b": [1.5]}, "c1"), ToolReturnPart("t", "text", "c2"), UserPromptPart("So?")]),
    say("Done"),
]


# --- as pydantic-ai's own ---

OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["save", "append", "window", "rewrite", "stale", "at", "from", "fork", "fork_from", "delete"]),
        st.sampled_from("abc"),
        st.integers(0, 5),
        st.sampled_from([None, "ada", "bob"]),
    ),
    max_size=25,
)


async def apply(
    store: ConversationStore, entries: list[str], kept: dict[str, Conversation], number: int, operation: Any
) -> Any:
    """Do one operation, and return what it gave without ids; ``entries`` are those of both stores in one order."""
    name, key, count, scope = operation
    new = turns(f"q{number}", f"a{number}")
    loaded = await store.load(key)
    try:
        if name == "save":
            conversation = Conversation(conversation_id=key, messages=new, usage=RunUsage(requests=number))
        elif name == "stale":
            conversation = kept.get(key) or Conversation(conversation_id=key)
            conversation.messages.extend(new)
        elif name in ("append", "window", "rewrite"):
            conversation = loaded or Conversation(conversation_id=key)
            if name == "window":
                conversation = await store.load(key, limit=count) or conversation
            if name == "rewrite":
                conversation.messages = conversation.messages[:count]
                conversation.new_message_index = None
            conversation.messages.extend(new)
        elif name == "delete":
            await store.delete(key, scope=scope)
            return None
        else:
            place: Any = {"from_entry": entries[count % len(entries)]} if "from" in name and entries else {"at": count}
            if name.startswith("fork"):
                target = "abc"[("abc".index(key) + 1) % 3]
                forked = await store.fork(key, new_conversation_id=target, **place)
                return forked.messages
            revision = loaded.revision if loaded else None
            branched = await store.branch(key, expected_revision=revision, **place)
            return branched.messages
        stored = await store.save(conversation, scope=scope)
        kept[key] = conversation
        entries.extend(entry.id for entry in stored)
        return [entry.message for entry in stored]
    except (ConversationConflict, UserError) as error:
        return type(error)


async def seen(store: ConversationStore, entries: list[str]) -> Any:
    numbers: dict[str | None, int] = {entry: number for number, entry in enumerate(entries)}
    found: list[Any] = []
    for record in await store.list_conversations():
        history = await store.load_entries(record.conversation_id) or []
        window = await store.load_entries(record.conversation_id, limit=3) or []
        found.append(
            (
                *(record.conversation_id, record.scope, record.usage, record.forked_from),
                *(
                    numbers.get(record.forked_at),
                    numbers.get(record.head_id),
                    [numbers[tip] for tip in record.branches],
                ),
                [(numbers[entry.id], numbers.get(entry.parent_id), entry.message) for entry in history],
                [(numbers[entry.id], numbers.get(entry.parent_id)) for entry in window],
            )
        )
    scoped = [record.conversation_id for record in await store.list_conversations(scope="ada", limit=2)]
    return found, scoped


@settings(max_examples=40, deadline=None)
@given(OPERATIONS)
def test_it_behaves_as_the_one_in_memory(operations: list[Any]) -> None:
    async def run() -> None:
        async with wrap_sqlite3(":memory:") as client:
            sides: list[tuple[ConversationStore, list[str], dict[str, Conversation]]]
            sides = [(await opened(client), [], {}), (InMemoryConversationStore(), [], {})]
            for number, operation in enumerate(operations):
                ours, theirs = [await apply(*side, number, operation) for side in sides]
                # Only in memory are the branches of a deleted conversation kept for its forks.
                assert ours == theirs, operation
                assert await seen(*sides[0][:2]) == await seen(*sides[1][:2]), operation

    asyncio.run(run())


async def test_everything_of_a_message_comes_back(store: PydanticAIConversationStore) -> None:
    usage = RunUsage(requests=2, input_tokens=5, tool_calls=1, details={"reasoning": 3})
    waiting = DeferredToolRequests(approvals=[ToolCallPart("t", {"a": 1}, "c1")], metadata={"c1": {"why": "cost"}})
    conversation = Conversation(conversation_id="s", messages=RICH, usage=usage, deferred_tool_requests=waiting)
    saved = await store.save(conversation, scope="ada")
    assert [entry.message for entry in saved] == RICH
    loaded = await store.load("s", scope="ada")
    assert loaded == conversation
    assert loaded is not None
    image: Any = loaded.messages[0].parts[1]
    assert image.content[1].data == b"\x89PNG\xff"
    assert await store.load("s", scope="bob") is None
    assert await store.read_entry(saved[1].id) == saved[1]
    with pytest.raises(LookupError):
        await store.read_entry("unknown")


async def test_primitives(store: PydanticAIConversationStore) -> None:
    """A write names a revision, and entries that are there; otherwise it stores nothing."""
    record = ConversationRecord(conversation_id="s", head_id="2")
    entries = [
        ConversationEntry(id="1", parent_id=None, message=ask("q")),
        ConversationEntry(id="2", parent_id="1", message=say("a")),
    ]
    with pytest.raises(ConversationConflict):
        await store.write_record(record, new_entries=entries, expected_revision="other")
    assert await store.read_records() == []
    await store.write_record(record, new_entries=entries, expected_revision=None)
    for expected in (None, "other"):
        with pytest.raises(ConversationConflict):
            await store.write_record(ConversationRecord(conversation_id="s", head_id="1"), expected_revision=expected)
    with pytest.raises(ConversationConflict):
        await store.write_record(ConversationRecord(conversation_id="new", head_id="3"), expected_revision=None)
    assert await store.read_record("s") == record
    assert await store.read_record("new") is None
    assert await store.read_history("2") == entries
    assert await store.read_history("2", limit=1) == entries[1:]
    assert await store.read_history(None) == []
    with pytest.raises(ConversationConflict):
        await store.delete_record("s", expected_revision="other")
    await store.delete_record("s", expected_revision=record.revision)
    assert await store.read_record("s") is None
    with pytest.raises(LookupError):
        await store.read_history("2")
    await store.write_record(record, new_entries=entries, expected_revision=None)
    assert len(await store.read_history("2")) == 2


async def test_a_run_is_saved_and_goes_on(store: PydanticAIConversationStore) -> None:
    agent: Agent[None, str] = Agent(TestModel())
    conversation = Conversation(conversation_id="s")
    for number in range(1, 4):
        result = await agent.run(f"question {number}", conversation=conversation)
        await store.save(result)
        conversation = await store.load("s") or pytest.fail("it is stored")
        assert len(conversation.messages) == 2 * number
        assert conversation.usage.requests == number


# --- many at once, long ones, faults ---


async def test_of_saves_at_the_same_time_one_wins(store: PydanticAIConversationStore) -> None:
    await store.save(Conversation(conversation_id="s", messages=turns("q", "a")))

    async def add(number: int) -> int:
        for attempt in range(100):
            conversation = await store.load("s")
            assert conversation is not None
            conversation.messages.extend(turns(f"q{number}", f"a{number}"))
            try:
                await store.save(conversation)
            except ConversationConflict:
                continue
            return attempt
        raise AssertionError("never saved")

    await asyncio.gather(*(add(number) for number in range(8)))
    loaded = await store.load("s")
    assert loaded is not None
    parts: list[Any] = [message.parts[0] for message in loaded.messages]
    texts = [part.content for part in parts]
    assert sorted(texts) == sorted(["q", "a", *(f"{who}{number}" for number in range(8) for who in "qa")])


async def test_long_conversations_cost_the_same(client: SqliteClient) -> None:
    """A turn is three round trips at any length: the record twice, and one to write."""
    counting = RemoteClient(client)
    store = await opened(counting)
    texts = [f"{number}" for number in range(1200)]
    await store.save(Conversation(conversation_id="s", messages=turns(*texts, "é" * 600_000, "x")))
    counting.calls = 0
    conversation = await store.load("s", limit=2)
    assert conversation is not None
    assert counting.calls == 2
    conversation.messages.extend(turns("more", "text"))
    await store.save(conversation)
    assert counting.calls == 4
    whole = await store.load("s")
    assert whole is not None
    assert whole.messages == turns(*texts, "é" * 600_000, "x", "more", "text")
    assert (await store.fork("s")).messages == whole.messages


@pytest.mark.parametrize("seed", range(5))
async def test_lost_answers_and_failures(client: SqliteClient, seed: int) -> None:
    """A call that fails before or after it has happened, or happens late or twice, is repeated and counts once."""
    await opened(client)
    faults = Faults(seed, rate=0.3, max_delay_s=0.01, timeout_s=0.02)
    store = PydanticAIConversationStore(FaultySqliteClient(client, faults), patience_s=60)
    conversation = Conversation(conversation_id="s")
    for number in range(6):
        conversation.messages.extend(turns(f"q{number}", f"a{number}"))
        await store.save(conversation)
        conversation = await store.load("s") or pytest.fail("it is stored")
        assert len(conversation.messages) == 2 * (number + 1)
    session = await SqliteMessageStore(client).find_session("s")
    assert session is not None
    assert session.revision == 6


async def test_without_its_tables_it_says_what_to_do(client: SqliteClient) -> None:
    with pytest.raises(SqliteSchemaError, match=r"await migrate\(\) of aibind.sqlite once, and then setup\(\)"):
        await PydanticAIConversationStore(client).load("s")
    with pytest.raises(ValueError, match="cannot be the name of a table"):
        PydanticAIConversationStore(client, records_table="a b")


# --- with a handler ---


async def test_a_handler_goes_on_and_the_agent_after_it(client: SqliteClient) -> None:
    """Turns of an agent and of a handler make one conversation, each seeing the other's."""
    store, messages = await opened(client), SqliteMessageStore(client)
    handler = StreamHandler(model=PydanticAIModel(TestModel()), conversations=messages)
    await store.save(Conversation(conversation_id="ada/s", messages=RICH), scope="ada")
    chat = await messages.load("ada/s")
    assert [message["role"] for message in chat.messages] == ["user", "assistant", "tool", "tool", "user", "assistant"]
    before = await store.load("ada/s")
    assert before is not None

    reply = await handler.stream({"prompt": "Again?", "sessionId": "s"}, access=Access("ada"))
    await read_all(reply.body)  # type: ignore[arg-type]
    before.messages.append(ask("late"))
    with pytest.raises(ConversationConflict):
        await store.save(before)
    after = await store.load("ada/s", scope="ada")
    assert after is not None
    assert after.messages[:4] == RICH
    assert after.messages[4].parts[0].content == "Again?"  # type: ignore[union-attr]
    assert [message.kind for message in after.messages] == ["request", "response"] * 3

    after.messages.extend(turns("And again?", "Yes."))
    await store.save(after)
    entries = await store.load_entries("ada/s", limit=3)
    assert entries is not None
    assert entries[1].parent_id == entries[0].id
    assert (await store.read_entry(entries[0].id)).message == entries[0].message
    assert (await messages.load("ada/s")).messages[-1]["content"] == "Yes."
    assert [record.conversation_id for record in await store.read_records(scope="ada")] == ["ada/s"]
    await store.delete("ada/s")
    assert not (await messages.load("ada/s")).messages
