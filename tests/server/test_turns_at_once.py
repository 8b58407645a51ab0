"""Several turns of one conversation at the same time: none is lost, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aibind.conversations import ConversationStore, MemoryConversationStore
from aibind.history import ChatHistory
from aibind.server import HttpResponse, StreamHandler
from aibind.sqlite import SqliteConversationStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, StreamStore
from tests.support.models import GatedModel

backends = pytest.mark.parametrize("backend", ["memory", "sqlite"])
both_ways = pytest.mark.parametrize("resumable", [False, True], ids=["plain", "resumable"])


class SlowStore(MemoryConversationStore):
    """Takes a while for everything, as a store elsewhere does, so that turns overlap in it."""

    async def load(self, session_id: str, *, limit: int | None = None, leaf_id: str | None = None) -> ChatHistory:
        await turn_of_others()
        chat = await super().load(session_id, limit=limit, leaf_id=leaf_id)
        await turn_of_others()
        return chat

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        await turn_of_others()
        await super().save(session_id, chat)
        await turn_of_others()


async def turn_of_others() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def open_stores(backend: str, folder: Path) -> AsyncIterator[tuple[StreamStore, ConversationStore]]:
    if backend == "memory":
        yield MemoryStreamStore(), SlowStore()
        return
    async with wrap_sqlite3(folder / "streams.db") as client:
        await migrate(client)
        yield SqliteStreamStore(client), SqliteConversationStore(client)


def contents(chat: ChatHistory) -> list[str]:
    """List everything that was ever said."""
    chats = [chat.tree.get_path_to(leaf.id) for leaf in chat.tree.get_leaves()]
    nodes = {node_id: message for path in chats for node_id, message in zip(path.node_ids, path.messages, strict=True)}
    return sorted(str(message["content"]) for message in nodes.values())


async def drain(reply: HttpResponse[Any]) -> None:
    assert not isinstance(reply.body, bytes)
    async for _ in reply.body:
        pass


@backends
@both_ways
async def test_no_turn_is_lost(backend: str, resumable: bool, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (streams, conversations):
        model = GatedModel()
        options: dict[str, Any] = {"resumable": True, "store": streams} if resumable else {}
        handler = StreamHandler(model=model, conversations=conversations, **options)
        prompts = ["one", "two", "fail three", "four", "fail five"]
        replies = await asyncio.gather(*(handler.stream({"prompt": prompt, "sessionId": "s"}) for prompt in prompts))
        assert contents(await conversations.load("s")) == sorted(prompts)
        model.gate.set()
        await asyncio.gather(*map(drain, replies))
        answered = ["re: one", "re: two", "re: four"]
        assert contents(await conversations.load("s")) == sorted([*prompts, *answered])
        assert handler.live_stream("s") is None


@backends
async def test_edit_and_regenerate_while_another_answer_is_under_way(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (streams, conversations):
        model = GatedModel()
        handler = StreamHandler(model=model, conversations=conversations, resumable=True, store=streams)
        model.gate.set()
        await drain(await handler.stream({"prompt": "one", "sessionId": "s"}))
        model.gate.clear()
        question, answer = (await conversations.load("s")).node_ids
        replies = await asyncio.gather(
            handler.stream({"prompt": "two", "sessionId": "s"}),
            handler.stream({"prompt": "uno", "sessionId": "s", "edit": question}),
            handler.stream({"sessionId": "s", "regenerate": answer}),
        )
        model.gate.set()
        await asyncio.gather(*map(drain, replies))
        chat = await conversations.load("s")
        assert contents(chat) == sorted(["one", "re: one", "re: one", "two", "re: two", "uno", "re: uno"])
        assert chat.alternative_count(question) == 2
        assert chat.alternative_count(answer) == 2


async def test_who_holds_a_conversation_is_not_overtaken() -> None:
    conversations = SlowStore()
    model = GatedModel()
    handler = StreamHandler(model=model, conversations=conversations, resumable=True)
    reply = await handler.stream({"prompt": "one", "sessionId": "s"})
    async with handler.changing("s"):
        chat = await conversations.load("s")
        model.gate.set()
        await turn_of_others()
        chat.append({"role": "user", "content": "by the way"})
        await conversations.save("s", chat)
    await drain(reply)
    assert contents(await conversations.load("s")) == ["by the way", "one", "re: one"]


async def test_a_lost_answer_is_recovered_once_by_two_turns_at_once() -> None:
    streams, conversations = MemoryStreamStore(), SlowStore()
    await streams.create("lost")
    await streams.append("lost", "half an answer")
    await streams.fail("lost", "producer lost")
    chat = ChatHistory()
    chat.append({"role": "user", "content": "one"}, {"streamId": "lost"})
    await conversations.save("s", chat)
    model = GatedModel()
    model.gate.set()
    handler = StreamHandler(model=model, conversations=conversations, resumable=True, store=streams)
    replies = await asyncio.gather(
        *(handler.stream({"prompt": prompt, "sessionId": "s"}) for prompt in ("two", "three"))
    )
    await asyncio.gather(*map(drain, replies))
    said = contents(await conversations.load("s"))
    assert said == sorted(["half an answer", "one", "re: three", "re: two", "three", "two"])


async def test_the_older_of_two_live_streams_is_known_when_the_newer_has_ended() -> None:
    model = GatedModel()
    handler = StreamHandler(model=model, conversations=MemoryConversationStore(), resumable=True)
    first = await handler.stream({"prompt": "one", "sessionId": "s"})
    second = await handler.stream({"prompt": "two", "sessionId": "s"})
    assert handler.live_stream("s") == second.headers["X-Stream-Id"]
    await handler.stop({"id": second.headers["X-Stream-Id"]})
    assert handler.live_stream("s") == first.headers["X-Stream-Id"]
    model.gate.set()
    await drain(first)
    assert handler.live_stream("s") is None


async def test_a_stream_that_cannot_be_created_is_not_live(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "no-tables.db") as client:
        handler = StreamHandler(
            model=GatedModel(),
            conversations=MemoryConversationStore(),
            resumable=True,
            store=SqliteStreamStore(client),
        )
        with pytest.raises(Exception, match="table"):
            await handler.stream({"prompt": "one", "sessionId": "s"})
        assert handler.live_stream("s") is None
