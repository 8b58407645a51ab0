"""The limits of a handler, each at, under and over its bound."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aibind.conversations import MemoryConversationStore
from aibind.errors import ModelError, ModelTimeoutError, RequestError
from aibind.models import ModelEvent, ModelRequest, ReasoningDelta, TextDelta, ToolCall
from aibind.server import Access, Endpoints, HttpResponse, Limits, StreamHandler
from aibind.streams import MemoryStreamStore, SseParser, StreamStatus
from tests.support.models import ENDLESS, ScriptedModel, until

ADA, EVE = Access("ada"), Access("eve")
both_ways = pytest.mark.parametrize("resumable", [False, True], ids=["plain", "resumable"])
around = pytest.mark.parametrize(("count", "fits"), [(9, True), (10, True), (11, False)])


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def picture() -> dict[str, str]:
    return {"mimeType": "image/png", "data": "aGk="}


BODIES: dict[str, tuple[str, str, Any]] = {
    "prompt": ("message_chars", "stream", lambda n: {"prompt": "x" * n}),
    "system": ("message_chars", "structured", lambda n: {"prompt": "x", "system": "x" * n}),
    "input": ("message_chars", "complete", lambda n: {"input": "x" * n}),
    "message": ("message_chars", "chat", lambda n: {"messages": [user("x"), user("x" * n)]}),
    "parts": (
        "message_chars",
        "chat",
        lambda n: {"messages": [user([{"type": "text", "text": "x" * 5}, {"type": "text", "text": "x" * (n - 5)}])]},
    ),
    "chat": ("messages", "chat", lambda n: {"messages": [user("x")] * n}),
    "title": ("messages", "title", lambda n: {"messages": [user("x")] * n}),
    "compact": ("messages", "compact", lambda n: {"messages": [user("x")] * n}),
    "attachments": ("attachments", "stream", lambda n: {"prompt": "x", "attachments": [picture()] * n}),
    "attachments of chat": ("attachments", "chat", lambda n: {"messages": [user("x")], "attachments": [picture()] * n}),
}


async def events_of(reply: HttpResponse[Any]) -> list[tuple[str, str]]:
    parser = SseParser()
    messages = [message async for data in reply.body for message in parser.feed(data)]
    return [(message.event, message.data) for message in messages if message.event != "stream-id"]


@around
@pytest.mark.parametrize("case", BODIES)
async def test_the_size_of_a_request(case: str, count: int, fits: bool) -> None:
    name, endpoint, body_of = BODIES[case]
    model = ScriptedModel("ok")
    endpoints = Endpoints(StreamHandler(model=model, limits=Limits(**{name: 10})))

    async def read_body() -> bytes:
        return json.dumps(body_of(count)).encode()

    reply = await endpoints.answer("POST", f"/__aibind__/{endpoint}", "", {}, read_body)
    if fits:
        assert reply.status == 200
        return
    assert (reply.status, model.requests) == (413, [])
    assert isinstance(reply.body, bytes)
    error = json.loads(reply.body)["error"]
    assert " 11 " in error
    assert f"at most 10 ({name})" in error


@both_ways
@pytest.mark.parametrize(("name", "owners"), [("streams", [ADA, None, EVE]), ("streams_per_owner", [ADA, ADA, ADA])])
async def test_replies_at_one_time(name: str, owners: list[Access | None], resumable: bool) -> None:
    model = ScriptedModel(*ENDLESS, rate=100)
    handler = StreamHandler(model=model, resumable=resumable, limits=Limits(**{name: 2}))
    endpoints = Endpoints(handler)
    replies = [await handler.stream({"prompt": "x"}, access=owner) for owner in owners[:2]]
    for ask in (handler.stream, handler.chat, handler.complete):
        with pytest.raises(RequestError, match=rf"2 .*at one time \({name}\): try later") as refused:
            await ask({"prompt": "x", "input": "x", "messages": [user("x")]}, access=owners[2])
        assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "5"})
    if name == "streams_per_owner":
        replies.append(await handler.stream({"prompt": "x"}, access=EVE))
        replies.append(await handler.stream({"prompt": "x"}))
    # Each way to end gives the place back.
    if resumable:
        await handler.stop({"id": replies[0].headers["X-Stream-Id"]})
    else:
        assert not isinstance(replies[0].body, bytes)
        await replies[0].body.aclose()
    replies.append(await handler.stream({"prompt": "x"}, access=owners[2]))
    with pytest.raises(RequestError, match=name):
        await handler.stream({"prompt": "x"}, access=owners[2])
    for reply in replies:
        assert not isinstance(reply.body, bytes)
        await reply.body.aclose()
    await handler.aclose()
    assert repr(handler._load) == "<Load streams=0 followers=0>"
    assert not handler._load._by_owner
    del endpoints


async def test_a_request_that_is_refused_takes_no_place() -> None:
    handler = StreamHandler(
        model=ScriptedModel("ok"), resumable=True, conversations=MemoryConversationStore(), limits=Limits(streams=1)
    )
    for _ in range(3):
        with pytest.raises(RequestError):
            await handler.stream({"prompt": "x", "sessionId": "s", "edit": "nothing"})
        await events_of(await handler.stream({"prompt": "x", "requestId": "1"}))  # answered once, attached twice
    await until(lambda: repr(handler._load) == "<Load streams=0 followers=0>")


@pytest.mark.parametrize("name", ["followers", "followers_per_stream"])
async def test_followers_at_one_time(name: str) -> None:
    handler = StreamHandler(model=ScriptedModel(*ENDLESS, rate=100), resumable=True, limits=Limits(**{name: 3}))
    first = await handler.stream({"prompt": "x", "requestId": "1"})
    stream_id = first.headers["X-Stream-Id"]
    others = [await handler.resume(stream_id, None), await handler.stream({"prompt": "x", "requestId": "1"})]
    for ask in (handler.resume(stream_id, None), handler.stream({"prompt": "x", "requestId": "1"})):
        with pytest.raises(RequestError, match=rf"3 responses follow.* at one time \({name}\)") as refused:
            await ask
        assert refused.value.status == 429
    if name == "followers":
        with pytest.raises(RequestError, match="followers"):
            await handler.stream({"prompt": "y"})
    else:
        others.append(await handler.stream({"prompt": "y"}))
    assert not isinstance(others[0].body, bytes)
    await anext(others[0].body)
    await others[0].body.aclose()  # one that was read; the next was never started
    others.append(await handler.resume(stream_id, None))
    with pytest.raises(RequestError, match=name):
        await handler.resume(stream_id, None)
    del others[1]
    others.append(await handler.resume(stream_id, None))
    await handler.aclose()


async def test_one_owner_cannot_take_the_places_of_all_followers() -> None:
    handler = StreamHandler(
        model=ScriptedModel(*ENDLESS, rate=100), resumable=True, limits=Limits(followers_per_owner=3)
    )
    one, two = Access("one"), Access("two")
    first = await handler.stream({"prompt": "x", "requestId": "1"}, access=one)
    stream_id = first.headers["X-Stream-Id"]
    again = [await handler.resume(stream_id, None, access=one) for _ in range(2)]
    for ask in (
        lambda: handler.resume(stream_id, None, access=one),
        lambda: handler.resume("unknown", None, access=one),
        lambda: handler.stream({"prompt": "x", "requestId": "1"}, access=one),
        lambda: handler.stream({"prompt": "y"}, access=one),
    ):
        with pytest.raises(RequestError, match=r"3 responses of yours .* \(followers_per_owner\)") as refused:
            await ask()
        assert refused.value.status == 429
    others = await handler.stream({"prompt": "x"}, access=two)
    assert not isinstance(again[0].body, bytes)
    await again[0].body.aclose()
    again.append(await handler.resume(stream_id, None, access=one))
    await handler.aclose()
    del first, again, others
    assert repr(handler._load) == "<Load streams=0 followers=0>"
    assert not handler._load._following


async def test_an_owner_who_does_not_stop_asking_waits_for_each_refusal() -> None:
    handler = StreamHandler(model=ScriptedModel(*ENDLESS, rate=100), resumable=True, limits=Limits(streams_per_owner=1))
    reply = await handler.stream({"prompt": "x"}, access=Access("one"))
    began = asyncio.get_running_loop().time()
    waited: list[float] = []
    for _ in range(21):
        with pytest.raises(RequestError, match="streams_per_owner"):
            await handler.stream({"prompt": "x"}, access=Access("one"))
        waited.append(asyncio.get_running_loop().time() - began)
    assert waited[20] > waited[19] + 0.9
    other = await handler.stream({"prompt": "x"}, access=Access("two"))
    await handler.aclose()
    del reply, other


class SlowStore(MemoryStreamStore):
    """Counts how many ask it about a stream at one time."""

    asked = 0
    most = 0

    async def get_status(self, stream_id: str, *, owner: str | None = None) -> StreamStatus | None:
        self.asked += 1
        self.most = max(self.most, self.asked)
        await asyncio.sleep(0.001)
        self.asked -= 1
        return await super().get_status(stream_id, owner=owner)


async def test_resumes_of_one_owner_wait_for_each_other() -> None:
    store = SlowStore()
    handler = StreamHandler(
        model=ScriptedModel(*ENDLESS, rate=100), resumable=True, store=store, limits=Limits(followers_per_owner=50)
    )
    one = Access("one")
    found = await asyncio.gather(
        *(handler.resume("unknown", None, access=one) for _ in range(60)), return_exceptions=True
    )
    statuses = [error.status for error in found if isinstance(error, RequestError)]
    assert Counter(statuses) == {404: 50, 429: 10}
    assert store.most == 8
    assert not handler._load._gates
    await handler.aclose()


class TalkingModel:
    """Says what it is told to, then nothing, without end."""

    def __init__(self, *events: ModelEvent) -> None:
        self._events = events
        self.closed = 0

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        try:
            for event in self._events:
                yield event
            if request.messages[-1]["content"] == "wait":
                await asyncio.Event().wait()
        finally:
            self.closed += 1


@both_ways
@pytest.mark.parametrize(
    ("events", "text", "fits"),
    [
        ([TextDelta("12345"), TextDelta("6789")], "123456789", True),
        ([TextDelta("12345"), TextDelta("67890")], "1234567890", True),
        ([TextDelta("12345"), TextDelta("678901")], "1234567890", False),
        ([ReasoningDelta("12345"), TextDelta("678901")], "67890", False),
        ([TextDelta("12345"), ToolCall("1", "find", '{"a":1}')], "12345", False),
    ],
)
async def test_the_length_of_a_reply(events: list[ModelEvent], text: str, fits: bool, resumable: bool) -> None:
    conversations = MemoryConversationStore()
    model = TalkingModel(*events)
    handler = StreamHandler(
        model=model, resumable=resumable, conversations=conversations, limits=Limits(reply_chars=10)
    )
    seen = await events_of(await handler.stream({"prompt": "x", "sessionId": "s"}))
    error = "The reply was ended after 10 characters, which is this server's limit (reply_chars)"
    assert "".join(data for event, data in seen if not event) == text
    assert seen[-2:] == ([seen[-2], ("done", "")] if fits else [("error", error), ("done", "")])
    message = (await conversations.load("s")).messages[-1]
    assert (message["content"], model.closed) == (text, 1)
    if not fits:
        with pytest.raises(ModelError, match="reply_chars"):
            await handler.complete({"input": "x"})


@both_ways
async def test_the_time_of_a_reply(resumable: bool) -> None:
    conversations = MemoryConversationStore()
    model = TalkingModel(TextDelta("so far"))
    handler = StreamHandler(model=model, resumable=resumable, conversations=conversations, limits=Limits(reply_s=0.1))
    seen = await events_of(await handler.stream({"prompt": "wait", "sessionId": "s"}))
    error = "The reply was ended after 0.1 s, which is this server's limit (reply_s)"
    assert seen == [("", "so far"), ("error", error), ("done", "")]
    chat = await conversations.load("s")
    assert (chat.messages[-1]["content"], model.closed) == ("so far", 1)
    with pytest.raises(ModelTimeoutError, match="reply_s"):
        await handler.complete({"input": "wait"})
    assert await events_of(await handler.stream({"prompt": "x"})) == [("", "so far"), ("done", "")]


async def test_waiting_for_a_session_is_not_part_of_the_time_of_a_reply() -> None:
    handler = StreamHandler(
        model=TalkingModel(TextDelta("so far")),
        resumable=True,
        conversations=MemoryConversationStore(),
        on_busy="queue",
        limits=Limits(reply_s=0.3),
    )
    first = await handler.stream({"prompt": "wait", "sessionId": "s"})
    second = await handler.stream({"prompt": "x", "sessionId": "s"})
    assert (await events_of(first))[-2][0] == "error"
    assert await events_of(second) == [("", "so far"), ("done", "")]


async def test_a_stop_is_no_error_of_time() -> None:
    handler = StreamHandler(model=TalkingModel(TextDelta("so far")), resumable=True, limits=Limits(reply_s=60))
    reply = await handler.stream({"prompt": "wait"})
    await handler.stop({"id": reply.headers["X-Stream-Id"]})
    assert (await events_of(reply))[-2:] == [("stopped", ""), ("done", "")]


@pytest.mark.parametrize("name", ["streams", "followers_per_owner", "messages", "reply_s"])
def test_bounds_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0"):
        Limits(**{name: 0})
    Limits(**{name: None})


@pytest.mark.parametrize("endpoint", ["stop", "resume", "stream"])
@pytest.mark.parametrize(("session_id", "fits"), [("é" * 199, True), ("é" * 200, True), ("é" * 200 + "x", False)])
async def test_the_length_of_ids(endpoint: str, session_id: str, fits: bool) -> None:
    handler = StreamHandler(model=ScriptedModel("ok"), resumable=True, conversations=MemoryConversationStore())
    asked = {
        "stop": lambda: handler.stop({"id": session_id}),
        "resume": lambda: handler.resume(session_id, None),
        "stream": lambda: handler.stream({"prompt": "x", "sessionId": session_id}),
    }[endpoint]
    if fits and endpoint != "resume":
        assert (await asked()).status == 200
        return
    with pytest.raises(RequestError) as refused:
        await asked()
    assert refused.value.status == (404 if fits else 400)
    assert fits or "400 bytes" in str(refused.value)
