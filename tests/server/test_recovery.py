"""The answer of a server that was killed: recovered by the public method and by the next turn in the same way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aibind.conversations import ConversationStore, MemoryConversationStore
from aibind.history import ChatHistory
from aibind.server import HttpResponse, Recovery, StreamHandler, recovery
from aibind.server.attachments import Attachments
from aibind.server.requests import StreamBody
from aibind.server.sessions import Sessions
from aibind.server.stream_ids import StreamIds
from aibind.sqlite import SqliteConversationStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, StreamStore
from aibind.testing import Faults, FaultySqliteClient
from tests.support.models import ENDLESS, PATIENCE_S, GatedModel, ScriptedModel, until

LEASE_MS = 800


class Rig:
    """A handler, its stores, and what another server left in them."""

    def __init__(self, others: StreamStore, streams: StreamStore, conversations: ConversationStore) -> None:
        self.others = others  # the streams, as a server with a very short lease writes them
        self.streams = streams
        self.conversations = conversations
        self.handler = StreamHandler(
            model=ScriptedModel("ok"), resumable=True, store=streams, conversations=conversations
        )

    async def leave(self, *chunks: str, lease_ms: int = 1, metadata: dict[str, Any] | None = None) -> None:
        """Leave a question, and some of the stream "other" that was to answer it."""
        chat = await self.conversations.load("s")
        chat.append({"role": "user", "content": "hi"}, {"streamId": "other"} if metadata is None else metadata)
        await self.conversations.save("s", chat)
        await (self.others if lease_ms == 1 else self.streams).create("other")
        if chunks:
            await self.streams.append_many("other", chunks)
        await asyncio.sleep(0.01)

    def take_time(self) -> None:
        """Lengthen the lease, of which a tenth is waited before a producer is given up, for what is to happen in it."""
        streams: Any = self.streams
        streams._lease_ms = 10_000

    async def contents(self) -> list[str]:
        return [message["content"] for message in (await self.conversations.load("s")).messages]

    async def end(self) -> tuple[str, str | None]:
        status = await self.streams.get_status("other")
        assert status is not None
        return status.state, status.error


@pytest.fixture(params=["memory", "sqlite"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    if request.param == "memory":
        others, streams = MemoryStreamStore(lease_ms=1), MemoryStreamStore(lease_ms=LEASE_MS)
        streams._streams = others._streams
        yield Rig(others, streams, MemoryConversationStore())
        return
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        streams_ = SqliteStreamStore(client, lease_ms=LEASE_MS)
        yield Rig(SqliteStreamStore(client, lease_ms=1), streams_, SqliteConversationStore(client))


async def drain(reply: HttpResponse[Any]) -> None:
    assert not isinstance(reply.body, bytes)
    async for _ in reply.body:
        pass


def outcome(found: Recovery) -> tuple[str | None, str | None, str | None, bool]:
    return found.live_stream, found.unanswered, found.error, found.recovered


NOTHING = (None, None, None, False)


# --- lost ---


async def test_a_lost_answer_is_recovered_and_its_stream_marked_as_failed(rig: Rig) -> None:
    await rig.leave("\x01as far ", "reasoning\x01hm", "\x01as it came")
    found = await rig.handler.recover("s")
    assert outcome(found) == (None, None, None, True)
    assert await rig.contents() == ["hi", "as far as it came"]
    assert [message["content"] for message in found.chat.messages] == ["hi", "as far as it came"]
    answer = found.chat.tree.get(found.chat.node_ids[-1])
    assert answer is not None
    assert answer.metadata == {"streamId": "other", "finish": "error", "error": "producer lost"}
    assert await rig.end() == ("error", "producer lost")
    status = await rig.streams.get_status("other")
    assert status is not None
    assert status.total_chunks == 3  # kept, for the reasoning
    assert outcome(await rig.handler.recover("s")) == NOTHING
    assert await rig.contents() == ["hi", "as far as it came"]


async def test_a_turn_does_the_same(rig: Rig) -> None:
    await rig.leave("\x01as far ", "reasoning\x01hm", "\x01as it came")
    await drain(await rig.handler.stream({"prompt": "go on", "sessionId": "s"}))
    assert await rig.contents() == ["hi", "as far as it came", "go on", "ok"]
    assert await rig.end() == ("error", "producer lost")
    assert outcome(await rig.handler.recover("s")) == NOTHING


async def test_a_lost_stream_without_a_word_is_marked_as_failed(rig: Rig) -> None:
    await rig.leave("reasoning\x01hm")
    for _ in range(2):
        assert outcome(await rig.handler.recover("s")) == (None, "failed", "producer lost", False)
    assert await rig.contents() == ["hi"]
    assert await rig.end() == ("error", "producer lost")


async def test_a_turn_marks_a_lost_stream_without_a_word_too(rig: Rig) -> None:
    await rig.leave()
    await drain(await rig.handler.stream({"prompt": "go on", "sessionId": "s"}))
    assert await rig.contents() == ["hi", "go on", "ok"]
    assert await rig.end() == ("error", "producer lost")


async def test_an_answer_of_many_pages_is_read_to_its_end(rig: Rig) -> None:
    words = [f"{number} " for number in range(2500)]
    await rig.leave(*(f"\x01{word}" for word in words))
    await rig.handler.recover("s")
    assert await rig.contents() == ["hi", "".join(words)]


async def test_an_answer_is_recovered_once_by_two_at_once(rig: Rig) -> None:
    await rig.leave("\x01half")
    found = await asyncio.gather(*(rig.handler.recover("s") for _ in range(3)))
    assert sorted(one.recovered for one in found) == [False, False, True]
    assert await rig.contents() == ["hi", "half"]
    assert (await rig.conversations.load("s")).size == 2


async def test_a_stream_that_is_swept_meanwhile_is_recovered_from_what_was_read(rig: Rig) -> None:
    await rig.leave("\x01half")
    _, found = await asyncio.gather(rig.streams.cleanup(), rig.handler.recover("s"))
    assert found.recovered
    assert await rig.contents() == ["hi", "half"]


# --- alive ---


async def test_a_stream_of_this_process_is_live_until_its_answer_is_stored() -> None:
    conversations = MemoryConversationStore()
    model = GatedModel()
    handler = StreamHandler(model=model, conversations=conversations, resumable=True)
    reply = await handler.stream({"prompt": "one", "sessionId": "s"})
    stream_id = reply.headers["X-Stream-Id"]
    assert outcome(await handler.recover("s")) == (stream_id, None, None, False)
    async with handler.changing("s"):  # so that the answer cannot be stored
        model.gate.set()
        await asyncio.sleep(0.05)
        assert handler.live_stream("s") == stream_id
    await drain(reply)
    assert handler.live_stream("s") is None
    assert outcome(await handler.recover("s")) == NOTHING
    assert (await conversations.load("s")).messages[-1]["content"] == "re: one"


async def test_an_answer_that_this_process_is_about_to_save_is_left_to_it() -> None:
    conversations = MemoryConversationStore()
    model = GatedModel()
    handler = StreamHandler(model=model, conversations=conversations, resumable=True)
    reply = await handler.stream({"prompt": "one", "sessionId": "s"})
    async with handler.changing("s"):
        recovering = asyncio.ensure_future(handler.recover("s"))  # waits for the conversation before the turn does
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.sleep(0.05)
    assert outcome(await recovering) == (reply.headers["X-Stream-Id"], None, None, False)
    await drain(reply)
    assert (await conversations.load("s")).size == 2


async def test_a_turn_does_not_lose_what_was_recovered_since_it_began(rig: Rig) -> None:
    await rig.leave("\x01half", lease_ms=LEASE_MS)
    session = Sessions(rig.conversations, rig.streams, None, Attachments(rig.conversations, 0), StreamIds()).find("s")
    turn = await session.begin(StreamBody.parse({"prompt": "go on"}))
    await rig.streams.fail("other", "producer lost")
    assert (await session.recover()).recovered
    await turn.save_question()
    chat = await rig.conversations.load("s")
    assert sorted(leaf.message["content"] for leaf in chat.tree.get_leaves()) == ["go on", "half"]


async def test_a_second_answer_under_way_is_told_too() -> None:
    model = GatedModel()
    handler = StreamHandler(model=model, conversations=MemoryConversationStore(), resumable=True)
    model.gate.set()
    await drain(await handler.stream({"prompt": "one", "sessionId": "s"}))
    model.gate.clear()
    answer = (await handler.recover("s")).chat.node_ids[-1]
    reply = await handler.stream({"sessionId": "s", "regenerate": answer})
    assert (await handler.recover("s")).live_stream == reply.headers["X-Stream-Id"]
    model.gate.set()
    await drain(reply)


async def test_a_stream_of_another_process_is_live(rig: Rig) -> None:
    await rig.leave("\x01as far", lease_ms=LEASE_MS)
    assert outcome(await rig.handler.recover("s")) == ("other", None, None, False)
    assert await rig.contents() == ["hi"]
    assert await rig.end() == ("active", None)


async def test_a_producer_that_does_not_renew_is_judged_by_its_progress(rig: Rig) -> None:
    """As the JavaScript producers do not: a follower would go on reading from it."""
    await rig.leave("\x01as far")
    rig.take_time()
    recovering = asyncio.ensure_future(rig.handler.recover("s"))
    while not recovering.done():
        await rig.streams.append("other", "\x01 as it goes")
        await asyncio.sleep(0.05)
    assert outcome(await recovering) == ("other", None, None, False)
    assert await rig.end() == ("active", None)


# --- ended elsewhere ---


async def test_another_process_may_take_a_moment_to_save(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "OTHERS_SAVE_S", 1.0)
    await rig.leave("\x01whole", lease_ms=LEASE_MS)
    await rig.streams.complete("other")
    recovering = asyncio.ensure_future(rig.handler.recover("s"))
    await asyncio.sleep(0.05)
    chat = await rig.conversations.load("s")
    chat.append({"role": "assistant", "content": "whole"}, {"streamId": "other"})
    chat.append({"role": "user", "content": "next"}, {"streamId": "later"})
    await rig.conversations.save("s", chat)
    assert outcome(await recovering) == (None, "expired", None, False)  # of the question that is the last one now
    assert await rig.contents() == ["hi", "whole", "next"]
    assert (await rig.conversations.load("s")).size == 3


async def test_what_another_process_saves_meanwhile_is_not_lost(rig: Rig) -> None:
    await rig.leave("\x01half")
    rig.take_time()
    recovering = asyncio.ensure_future(rig.handler.recover("s"))
    await asyncio.sleep(0.1)
    chat = await rig.conversations.load("s")
    question = chat.node_ids[0]
    chat.edit(question, {"role": "user", "content": "hello"})
    chat.tree.set_active_leaf(question)
    await rig.conversations.save("s", chat)
    assert (await recovering).recovered
    assert await rig.contents() == ["hi", "half"]
    assert (await rig.conversations.load("s")).alternative_count(question) == 2


@pytest.mark.parametrize("way", ["recover", "turn"])
async def test_an_answer_that_ended_but_was_not_saved_is_recovered(rig: Rig, way: str) -> None:
    await rig.leave("\x01whole", lease_ms=LEASE_MS)
    await rig.streams.complete("other")
    if way == "recover":
        assert (await rig.handler.recover("s")).recovered
        assert await rig.contents() == ["hi", "whole"]
    else:
        await drain(await rig.handler.stream({"prompt": "go on", "sessionId": "s"}))
        assert await rig.contents() == ["hi", "whole", "go on", "ok"]
    chat = await rig.conversations.load("s")
    answer = chat.tree.get(chat.node_ids[1])
    assert answer is not None
    assert answer.metadata == {"streamId": "other"}
    assert await rig.end() == ("done", None)


async def test_an_answer_without_text_that_is_whole_is_saved_as_a_turn_saves_it(rig: Rig) -> None:
    await rig.leave("reasoning\x01hm", lease_ms=LEASE_MS)
    await rig.streams.complete("other")
    assert (await rig.handler.recover("s")).recovered
    assert await rig.contents() == ["hi", ""]


@pytest.mark.parametrize(("state", "expected"), [("stopped", "stopped"), ("error", "failed")])
async def test_an_end_without_a_word_is_told(rig: Rig, state: str, expected: str) -> None:
    await rig.leave(lease_ms=LEASE_MS)
    await (rig.streams.stop("other") if state == "stopped" else rig.streams.fail("other", "out of order"))
    found = await rig.handler.recover("s")
    assert outcome(found) == (None, expected, "out of order" if state == "error" else None, False)
    assert await rig.contents() == ["hi"]


# --- nothing to recover ---


async def test_a_stream_that_has_expired_is_told(rig: Rig) -> None:
    await rig.leave(metadata={"streamId": "forgotten"})
    assert outcome(await rig.handler.recover("s")) == (None, "expired", None, False)
    await drain(await rig.handler.stream({"prompt": "go on", "sessionId": "s"}))
    assert await rig.contents() == ["hi", "go on", "ok"]


async def test_a_question_that_started_no_stream_is_told(rig: Rig) -> None:
    await rig.leave(metadata={})
    assert outcome(await rig.handler.recover("s")) == (None, "no stream", None, False)


async def test_an_answered_question_and_an_empty_conversation_are_left_alone(rig: Rig) -> None:
    found = await rig.handler.recover("s")
    assert outcome(found) == NOTHING
    assert found.chat.is_empty
    await drain(await rig.handler.stream({"prompt": "hi", "sessionId": "s"}))
    before = (await rig.conversations.load("s")).to_json()
    found = await rig.handler.recover("s")
    assert outcome(found) == NOTHING
    assert found.chat.to_json() == before
    chat = ChatHistory.from_json(before)
    chat.tree.set_active_leaf(chat.node_ids[0])  # the reader went back to the question
    await rig.conversations.save("s", chat)
    assert outcome(await rig.handler.recover("s")) == NOTHING
    assert (await rig.conversations.load("s")).to_json() == chat.to_json()


async def test_a_handler_without_conversations_says_so() -> None:
    handler = StreamHandler(model=ScriptedModel("x"), resumable=True)
    with pytest.raises(RuntimeError, match="conversations="):
        await handler.recover("s")
    assert handler.live_stream("s") is None


# --- what is live ---


async def test_a_request_that_is_cancelled_while_its_stream_is_created_leaves_nothing_live(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        faults = Faults()
        faults.pause()
        slow = FaultySqliteClient(client, faults)
        model = ScriptedModel("x")
        handler = StreamHandler(
            model=model, resumable=True, store=SqliteStreamStore(slow), conversations=MemoryConversationStore()
        )
        session = handler.changing("s")  # keeps what is live in the conversation
        asking = asyncio.ensure_future(handler.stream({"prompt": "one", "sessionId": "s"}))
        await until(lambda: faults.calls)
        faults.resume()  # the session's lost streams are read
        faults.pause()
        await until(lambda: handler.live_stream("s"))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert handler.live_stream("s") is None
        async with session:
            pass


async def test_a_stream_that_is_being_created_when_the_handler_is_closed_is_ended(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        faults = Faults()
        faults.pause()
        slow = FaultySqliteClient(client, faults)
        model = ScriptedModel(*ENDLESS, rate=100)
        handler = StreamHandler(model=model, resumable=True, store=SqliteStreamStore(slow))
        asking = asyncio.ensure_future(handler.stream({"prompt": "one"}))
        await until(lambda: faults.calls)
        await handler.aclose()
        faults.resume()
        reply = await asking
        assert model.closed == 1
        assert not isinstance(reply.body, bytes)
        assert b"The server was shut down" in b"".join([data async for data in reply.body])


@asynccontextmanager
async def two_servers(database: Path) -> AsyncIterator[tuple[StreamHandler, StreamHandler, asyncio.Event]]:
    async with wrap_sqlite3(database) as one, wrap_sqlite3(database) as two:
        await migrate(one)
        model = GatedModel()
        handlers = [
            StreamHandler(
                model=model,
                resumable=True,
                store=SqliteStreamStore(client),
                conversations=SqliteConversationStore(client),
            )
            for client in (one, two)
        ]
        yield handlers[0], handlers[1], model.gate


async def until_ended(database: Path, stream_id: str) -> None:
    async with wrap_sqlite3(database) as client, asyncio.timeout(PATIENCE_S):
        streams = SqliteStreamStore(client)
        while (status := await streams.get_status(stream_id)) is None or status.is_active:
            await asyncio.sleep(0.01)


async def test_two_servers_agree_on_what_is_live(tmp_path: Path) -> None:
    async with two_servers(tmp_path / "chat.db") as (one, two, _):
        reply = await one.stream({"prompt": "one", "sessionId": "s"})
        stream_id = reply.headers["X-Stream-Id"]
        assert (await two.recover("s")).live_stream == stream_id
        assert two.live_stream("s") is None
        await two.stop({"id": stream_id})
        await drain(reply)
        assert outcome(await two.recover("s")) == (None, "stopped", None, False)


async def test_an_answer_that_another_server_recovered_is_not_added_again(tmp_path: Path) -> None:
    async with two_servers(tmp_path / "chat.db") as (one, two, gate):
        reply = await one.stream({"prompt": "one", "sessionId": "s"})
        async with one.changing("s"):  # it takes longer to save than another server waits
            gate.set()
            await until_ended(tmp_path / "chat.db", reply.headers["X-Stream-Id"])
            assert (await two.recover("s")).recovered
        await drain(reply)
        chat = (await two.recover("s")).chat
        assert [message["content"] for message in chat.messages] == ["one", "re: one"]
        assert chat.size == 2
