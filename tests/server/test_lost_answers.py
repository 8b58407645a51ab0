"""The answers of lost producers on other branches, to questions asked again, and several at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aibind.conversations import ConversationStore, MemoryConversationStore
from aibind.errors import SqliteTransientError
from aibind.history import ChatHistory
from aibind.server import StreamHandler
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, StreamStore
from tests.support.harnesses import share_streams
from tests.support.models import ScriptedModel
from tests.support.sources import read_all

LEASE_MS = 800


class Rig:
    """A handler, and what a killed server left in its stores."""

    def __init__(self, others: StreamStore, streams: StreamStore, conversations: ConversationStore) -> None:
        self.others = others
        self.streams = streams
        self.conversations = conversations
        self.handler = StreamHandler(
            model=ScriptedModel("ok"), resumable=True, store=streams, conversations=conversations
        )

    async def ask(self, prompt: str = "", **body: str) -> None:
        reply = await self.handler.stream({"sessionId": "s", **({"prompt": prompt} if prompt else {}), **body})
        assert not isinstance(reply.body, bytes)
        await read_all(reply.body)

    async def leave(self, stream_id: str, question_id: str, *chunks: str) -> None:
        await self.others.create(stream_id, session_id="s", question_id=question_id)
        await self.others.append_many(stream_id, [f"\x01{chunk}" for chunk in chunks])
        await asyncio.sleep(0.01)

    async def load(self) -> ChatHistory:
        return await self.conversations.load("s")

    async def answers(self, question_id: str) -> list[tuple[str, str | None]]:
        """Return the answers to a question, each with how it ended."""
        tree = (await self.conversations.load("s")).tree
        question = tree.get(question_id)
        assert question is not None
        nodes = [tree.get(child_id) for child_id in question.children]
        return [
            (node.message["content"], node.metadata.get("finish"))
            for node in nodes
            if node is not None and node.message["role"] == "assistant"
        ]


@pytest.fixture(params=["memory", "sqlite"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    if request.param == "memory":
        others = MemoryStreamStore(lease_ms=1)
        yield Rig(others, share_streams(others, lease_ms=LEASE_MS), MemoryConversationStore())
        return
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        streams = SqliteStreamStore(client, lease_ms=LEASE_MS)
        yield Rig(SqliteStreamStore(client, lease_ms=1), streams, SqliteMessageStore(client))


@pytest.mark.parametrize("way", ["recover", "turn", "sweep"])
async def test_an_answer_is_recovered_on_another_branch(rig: Rig, way: str) -> None:
    await rig.ask("one")
    first = (await rig.load()).node_ids[0]
    await rig.leave("lost", first, "as far")
    await rig.ask("two", edit=first) if way == "turn" else None
    if way == "recover":
        assert (await rig.handler.recover("s")).recovered
    if way == "sweep":
        await rig.handler.sweep()
    assert await rig.answers(first) == [("ok", None), ("as far", "error")]
    assert list(await rig.streams.lost_streams("s")) == []
    chat = await rig.load()
    assert chat.messages[-1]["content"] == "ok"  # the current path stays
    assert not (await rig.handler.recover("s")).recovered
    assert (await rig.load()).size == chat.size


async def test_several_answers_to_one_question_are_recovered(rig: Rig) -> None:
    await rig.ask("one")
    first = (await rig.load()).node_ids[0]
    for stream_id in ("a", "b", "c"):
        await rig.leave(stream_id, first, stream_id)
    assert (await rig.handler.recover("s")).recovered
    assert sorted(await rig.answers(first)) == [("a", "error"), ("b", "error"), ("c", "error"), ("ok", None)]


async def test_an_answer_is_recovered_when_the_conversation_went_on(rig: Rig) -> None:
    chat = await rig.load()
    question = chat.append({"role": "user", "content": "hi"}, {"streamId": "lost"})
    await rig.conversations.save("s", chat)
    await rig.streams.create("lost", session_id="s", question_id=question)
    await rig.streams.append("lost", "\x01as far")
    await rig.ask("next")  # before the lease has run out
    assert await rig.answers(question) == []
    await rig.streams.fail("lost", "an end that is not known to be lost")
    await rig.leave("other", question, "as far")
    await rig.ask("last")
    assert await rig.answers(question) == [("as far", "error")]
    assert [message["content"] for message in (await rig.load()).messages] == ["hi", "next", "ok", "last", "ok"]


async def test_nothing_is_swept_that_a_conversation_waits_for(rig: Rig) -> None:
    await rig.ask("one")
    first = (await rig.load()).node_ids[0]
    await rig.leave("lost", first, "as far")
    assert await rig.streams.cleanup() == 0
    assert await rig.others.cleanup() == 0
    await rig.handler.recover("s")
    assert await rig.answers(first) == [("ok", None), ("as far", "error")]


async def test_an_answer_without_a_word_or_a_question_is_let_go(rig: Rig) -> None:
    await rig.ask("one")
    first = (await rig.load()).node_ids[0]
    await rig.leave("silent", first)
    await rig.leave("homeless", "a question that was deleted", "as far")
    assert not (await rig.handler.recover("s")).recovered
    assert list(await rig.streams.lost_streams()) == []
    assert (await rig.load()).size == 2


async def test_a_conversation_that_fails_keeps_no_other_from_being_swept(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.ask("one")
    first = (await rig.load()).node_ids[0]
    await rig.others.create("theirs", session_id="broken", question_id="q")
    await rig.leave("lost", first, "as far")
    load = rig.conversations.load

    async def load_some(session_id: str, **options: object) -> ChatHistory:
        if session_id == "broken":
            raise SqliteTransientError("disk I/O error", "SELECT")
        return await load(session_id, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.conversations, "load", load_some)
    await rig.handler.sweep()
    assert await rig.answers(first) == [("ok", None), ("as far", "error")]
    assert "broken" in caplog.text
    assert [one.stream_id for one in await rig.streams.lost_streams()] == ["theirs"]


async def test_a_handler_without_stores_has_nothing_to_sweep() -> None:
    assert await StreamHandler(model=ScriptedModel("x")).sweep() == 0
    assert await StreamHandler(model=ScriptedModel("x"), resumable=True).sweep() == 0
