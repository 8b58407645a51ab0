"""Replies whose process has died, and a handler that goes on with them through the model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aibind.errors import PRODUCER_LOST, ProducerLostError, StreamNotFoundError
from aibind.models import (
    EchoModel,
    Model,
    ModelEvent,
    ModelRequest,
    ReplyReference,
    TextDelta,
    ToolCall,
    skip_repeated,
)
from aibind.models.resuming import not_resumable
from aibind.server import Access, StreamHandler
from aibind.server.takeovers import MAX_TAKEOVERS
from aibind.sqlite import SqliteDatabase, SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream, HttpResponse, StreamEvent, encode_chunk
from tests.support.sources import read_all, text_of
from tests.support.tools import TOOLSETS

LEASE_MS = 300
TEXT = "one two three four five six"


@dataclass
class Resuming:
    """Says what it was given for each request, and goes on from its start; notes how it was asked."""

    script: Callable[[ModelRequest], Sequence[ModelEvent | str]]
    exact: bool = True
    resumable: bool = True
    refuses: bool = False
    pause_s: float = 0.03
    asked: list[ModelRequest] = field(default_factory=list)
    resumed: list[tuple[ModelRequest, list[ModelEvent], str | None]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    @property
    def repeats_exactly(self) -> bool:
        return self.exact

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent | str]:
        self.asked.append(request)
        async for event in self._say(request):
            yield event

    async def resume(
        self, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
    ) -> AsyncIterator[ModelEvent | str]:
        self.resumed.append((request, list(so_far), reference))
        if self.refuses:
            raise not_resumable("it was told not to")
        async for event in skip_repeated(self._say(request), so_far):
            yield event

    async def cancel(self, reference: str) -> None:
        self.cancelled.append(reference)

    async def _say(self, request: ModelRequest) -> AsyncIterator[ModelEvent | str]:
        for event in self.script(request):
            await asyncio.sleep(self.pause_s)
            yield event


def words(_: ModelRequest) -> list[ModelEvent | str]:
    return [ReplyReference("resp_1"), *(TextDelta(f"{word} ") for word in TEXT.split())]


def forecast(request: ModelRequest) -> list[ModelEvent | str]:
    results = [message for message in request.messages if message["role"] == "tool"]
    if results:
        return [ReplyReference("resp_2"), TextDelta("It is "), TextDelta(str(len(results))), TextDelta(" degrees.")]
    return [
        ReplyReference("resp_1"),
        TextDelta("Let me "),
        TextDelta("look. "),
        ToolCall("c1", "look", '{"at": "the window"}'),
    ]


class Rig:
    """Two store objects over one file, as two processes have; the first process has died."""

    def __init__(self, client: SqliteDatabase) -> None:
        self.client = client
        self.dead = SqliteStreamStore(client, lease_ms=LEASE_MS)
        self.streams = SqliteStreamStore(client, lease_ms=LEASE_MS)
        self.conversations = SqliteMessageStore(client)
        self.is_over = asyncio.Event()
        self.tasks: list[asyncio.Task[Any]] = []

    def handler(self, model: Model, **options: Any) -> StreamHandler:
        return StreamHandler(
            model=model,
            resumable=True,
            store=self.streams,
            conversations=self.conversations,
            toolsets=TOOLSETS,
            housekeeping_interval_s=None,
            **options,
        )

    async def leave(self, model: Resuming, stop_after: int, **body: Any) -> str:
        """Begin a reply as a process that dies once its store has ``stop_after`` events of it; return its stream."""
        handler = StreamHandler(
            model=model, resumable=True, store=self.dead, conversations=self.conversations, toolsets=TOOLSETS,
            flush_interval_ms=0, housekeeping_interval_s=None,
        )  # fmt: skip
        access = Access(body.pop("owner")) if "owner" in body else None
        endpoint = handler.chat if "messages" in body else handler.stream
        response = await endpoint({"prompt": "hi", **body}, access=access)
        stream_id = response.headers["X-Stream-Id"]
        stream = DurableStream.find(self.dead, stream_id)
        while len((await self.streams.read_page(stream_id)).chunks) < stop_after:
            await asyncio.sleep(0.001)
        if stream is not None:
            await self._die(stream)
        return stream_id

    async def _die(self, stream: DurableStream) -> None:
        """End the tasks of a producer as a kill does: nothing is stored, and nothing is closed in an orderly way."""
        name = stream.id
        self.dead._leases.clear()
        tasks = [task for task in asyncio.all_tasks() if name in task.get_name()]

        async def refuse(*_: Any, **__: Any) -> Any:
            await self.is_over.wait()
            raise StreamNotFoundError(name)

        for method in ("append_many", "finish", "renew", "get_status", "set_reference"):
            setattr(self.dead, method, refuse)
        self.tasks += tasks

    async def go_on(self, handler: StreamHandler, stream_id: str) -> bool:
        """Let a handler go on with a stream at once."""
        status = await self.streams.get_status(stream_id)
        assert status is not None
        return await handler.continue_reply(stream_id, lease=status.expires_at)

    async def wait_for_end(self, stream_id: str) -> tuple[str, str | None]:
        """Follow a stream to its end; return its text and its error."""
        text = ""
        with suppress(ProducerLostError):
            async for page in self.streams.read_pages(stream_id):
                text += "".join(event.data for chunk in page.chunks for event in chunk.events if event.is_text)
        status = await self.streams.get_status(stream_id)
        assert status is not None
        assert not status.is_active
        return text, status.error


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with wrap_sqlite3(tmp_path / "a.db") as client:
        await migrate(client)
        found = Rig(client)
        yield found
        found.is_over.set()
        await asyncio.gather(*found.tasks, return_exceptions=True)


async def read_text(response: HttpResponse[Any]) -> tuple[str, list[str]]:
    messages = await read_all(response.body)
    return text_of(messages), [
        message.data or message.event for message in messages if message.event in ("done", "error")
    ]


async def contents(rig: Rig, session_id: str = "s") -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in (await rig.conversations.load(session_id)).messages]


async def until_answered(rig: Rig, count: int = 2, session_id: str = "s") -> list[tuple[str, str]]:
    while len(found := await contents(rig, session_id)) < count:
        await asyncio.sleep(0.01)
    return found


@pytest.mark.parametrize("stored", [1, 2, 4])
async def test_a_follower_has_the_reply_gone_on_with(rig: Rig, stored: int) -> None:
    model = Resuming(words)
    stream_id = await rig.leave(model, stored, sessionId="s")
    handler = rig.handler(model)
    response = await handler.resume(stream_id, None)
    assert await read_text(response) == (f"{TEXT} ", ["done"])
    assert await until_answered(rig) == [("user", "hi"), ("assistant", f"{TEXT} ")]
    assert len(model.asked) == 1  # generated once
    [(request, so_far, reference)] = model.resumed
    assert (request.messages[-1]["content"], request.session_id, reference) == ("hi", "s", "resp_1")
    assert "".join(event.text for event in so_far if isinstance(event, TextDelta)).split() == TEXT.split()[:stored]
    status = await rig.streams.get_status(stream_id)
    assert status is not None
    assert (status.state, status.takeovers) == ("done", 1)
    recovery = await handler.recover("s")
    assert (recovery.live_stream, recovery.unanswered, recovery.recovered) == (None, None, False)


async def test_the_next_turn_and_the_sweep_have_it_gone_on_with(rig: Rig) -> None:
    model = Resuming(words)
    first = await rig.leave(model, 2, sessionId="s")
    handler = rig.handler(model)
    await asyncio.sleep(LEASE_MS / 1000 + 0.05)
    assert (await handler.recover("s")).live_stream == first
    assert await rig.wait_for_end(first) == (f"{TEXT} ", None)
    assert len(await until_answered(rig)) == 2


async def test_a_sweep_goes_on_with_replies_outside_of_sessions(rig: Rig) -> None:
    model = Resuming(words)
    messages = [{"role": "user", "content": "said by the page"}]
    stream_id = await rig.leave(model, 3, messages=messages, owner="ada")
    handler = rig.handler(model)
    assert not await rig.streams.orphans()  # its lease has not run out
    await asyncio.sleep(LEASE_MS / 1000 + 0.05)
    await handler.sweep()
    assert await rig.wait_for_end(stream_id) == (f"{TEXT} ", None)
    [(request, _, _)] = model.resumed
    assert (list(request.messages), request.owner) == (messages, "ada")


async def test_an_object_that_has_just_started_waits_for_no_lease(rig: Rig) -> None:
    model = Resuming(words)
    stream_id = await rig.leave(model, 2, sessionId="s")
    async with asyncio.timeout(LEASE_MS / 1000):
        assert await rig.go_on(rig.handler(model), stream_id)
    assert await rig.wait_for_end(stream_id) == (f"{TEXT} ", None)


@pytest.mark.parametrize(("stored", "asked", "rounds"), [(1, 1, "first"), (5, 2, "second"), (6, 2, "second")])
async def test_rounds_of_tools_go_on_where_they_were(rig: Rig, stored: int, asked: int, rounds: str) -> None:
    model = Resuming(forecast)
    stream_id = await rig.leave(model, stored, sessionId="s", toolset="eyes")
    before = len(model.asked)
    await rig.go_on(rig.handler(model), stream_id)
    text, error = await rig.wait_for_end(stream_id)
    assert (text, error) == ("Let me look. It is 1 degrees.", None)
    told = await until_answered(rig, 4)
    assert [role for role, _ in told] == ["user", "assistant", "tool", "assistant"]
    assert [content for role, content in told if role == "assistant"] == ["Let me look. ", "It is 1 degrees."]
    [(request, so_far, reference)] = model.resumed
    assert reference == ("resp_1" if rounds == "first" else "resp_2")
    assert len(request.messages) == (1 if rounds == "first" else 3)
    assert so_far
    assert len(model.asked) - before == (1 if rounds == "first" else 0)


async def test_a_tool_that_may_have_been_running_is_not_run_again(rig: Rig) -> None:
    model = Resuming(forecast)
    asked = {"maxSteps": 5, "toolset": "eyes", "messages": [{"role": "user", "content": "hi"}]}
    await rig.dead.create("s1", continuation=json.dumps(asked))
    call = StreamEvent("tool_call", '{"id":"c1","name":"look","args":{"at":"the window"}}')
    await rig.dead.append_many("s1", ["\x01Let me look. ", encode_chunk(call)], first_seq=1, epoch=0)
    assert not await rig.go_on(rig.handler(model), "s1")
    assert await rig.wait_for_end("s1") == ("Let me look. ", PRODUCER_LOST)
    assert not model.resumed


@pytest.mark.parametrize("kind", ["not resumable", "refuses", "another handler"])
async def test_a_reply_that_cannot_be_gone_on_with_ends_as_lost(rig: Rig, kind: str) -> None:
    left = Resuming(words)
    stream_id = await rig.leave(left, 2, sessionId="s")
    model = Resuming(words, resumable=kind != "not resumable", refuses=kind == "refuses")
    handler = rig.handler(model) if kind != "another handler" else rig.handler(EchoModel())
    if kind == "another handler":
        await rig.streams.set_reference(stream_id, json.dumps({"value": "resp_1", "results": 0}), epoch=0)
    response = await handler.resume(stream_id, None)
    text, end = await read_text(response)
    assert f"{TEXT} ".startswith(text)
    assert end in ([PRODUCER_LOST, "done"], ["done"])
    if kind != "another handler":
        assert end == [PRODUCER_LOST, "done"]
        await handler.recover("s")
        assert (await contents(rig))[1] == ("assistant", text)


async def test_a_reply_is_taken_over_a_bounded_number_of_times(rig: Rig) -> None:
    model = Resuming(words)
    stream_id = await rig.leave(model, 2, sessionId="s")
    for _ in range(MAX_TAKEOVERS):
        status = await rig.streams.get_status(stream_id)
        assert status is not None
        assert await rig.streams.claim(stream_id, lease=status.expires_at, max_takeovers=MAX_TAKEOVERS)
    assert not await rig.go_on(rig.handler(model), stream_id)
    text, error = await rig.wait_for_end(stream_id)
    assert (text.split(), error) == (TEXT.split()[:2], PRODUCER_LOST)


async def test_stopping_ends_the_answer_at_its_provider(rig: Rig) -> None:
    model = Resuming(words)
    handler = rig.handler(model)
    response = await handler.stream({"prompt": "hi", "sessionId": "s"})
    stream_id = response.headers["X-Stream-Id"]
    while not (await rig.streams.read_page(stream_id)).chunks:
        await asyncio.sleep(0.01)
    await handler.stop({"id": stream_id})
    await read_text(response)
    while not model.cancelled:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert model.cancelled == ["resp_1"]


async def test_stopping_a_lost_reply_ends_the_answer_at_its_provider(rig: Rig) -> None:
    model = Resuming(words)
    stream_id = await rig.leave(model, 2, sessionId="s", owner="ada")
    await asyncio.sleep(LEASE_MS / 1000 + 0.05)
    handler = rig.handler(model)
    await handler.stop({"id": stream_id}, access=Access("eve"))
    assert model.cancelled == []
    await handler.stop({"id": stream_id}, access=Access("ada"))
    assert model.cancelled == ["resp_1"]
    status = await rig.streams.get_status(stream_id)
    assert status is not None
    assert status.state == "stopped"


async def test_what_is_sampled_again_is_delivered_once_stored(rig: Rig) -> None:
    model = Resuming(words, exact=False)
    handler = rig.handler(model, flush_interval_ms=20)
    response = await handler.stream({"prompt": "hi", "sessionId": "s"})
    stream = DurableStream.find(rig.streams, response.headers["X-Stream-Id"])
    assert stream is not None
    seen = 0
    async for batch in stream.follow():
        seen += sum(len(event.data) for _, event in batch.events)
        page = await rig.streams.read_page(stream.id)
        stored = sum(len(event.data) for chunk in page.chunks for event in chunk.events)
        assert seen <= stored
    assert seen == len(TEXT) + 1
    await read_text(response)


async def test_the_echo_model_goes_on_in_the_middle_of_a_word(rig: Rig) -> None:
    model = EchoModel(tokens_per_second=0)
    whole = "".join([event.text async for event in model.stream(ModelRequest([{"role": "user", "content": "hi"}]))
                     if isinstance(event, TextDelta)])  # fmt: skip
    handler = rig.handler(model)
    await rig.dead.create("s1", continuation=json.dumps({
        "maxSteps": 5, "messages": [{"role": "user", "content": "hi"}]}))  # fmt: skip
    await rig.dead.append_many("s1", [f"\x01{whole[:7]}"], first_seq=1, epoch=0)
    assert await rig.go_on(handler, "s1")
    assert await rig.wait_for_end("s1") == (whole, None)


async def test_of_a_thousand_races_for_a_stream_each_has_one_winner(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "a.db") as first, wrap_sqlite3(tmp_path / "a.db") as second:
        await migrate(first)
        one, two = SqliteStreamStore(first), SqliteStreamStore(second)
        winners = [0, 0]
        for number in range(1000):
            stream_id = f"s{number}"
            await one.create(stream_id, continuation="{}")
            status = await one.get_status(stream_id)
            assert status is not None
            lease = status.expires_at
            claims = await asyncio.gather(
                one.claim(stream_id, lease=lease, max_takeovers=3), two.claim(stream_id, lease=lease, max_takeovers=3)
            )
            assert sum(claim is not None for claim in claims) == 1
            winners[claims[0] is None] += 1
        assert sum(winners) == 1000


async def test_a_server_that_shuts_down_leaves_lost_replies_to_others(rig: Rig) -> None:
    model = Resuming(words)
    stream_id = await rig.leave(model, 2, sessionId="s")
    closing, other = rig.handler(model), SqliteStreamStore(rig.client, lease_ms=LEASE_MS)
    following = asyncio.create_task(rig.wait_for_end(stream_id))  # in the process that shuts down
    await closing.aclose()
    await asyncio.sleep(4 * LEASE_MS / 1000)
    status = await other.get_status(stream_id)
    assert status is not None
    assert (status.is_active, status.takeovers) == (True, 0)
    handler = StreamHandler(
        model=model, resumable=True, store=other, conversations=rig.conversations, housekeeping_interval_s=None
    )
    await handler.sweep()
    assert await following == (f"{TEXT} ", None)
