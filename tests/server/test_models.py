"""The models that a handler is given: what is refused when it is made, and what when a model answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

from aibind.conversations import MemoryConversationStore
from aibind.models import EchoModel, ModelRequest, TextDelta, ToolCall, Usage
from aibind.server import Endpoints, HttpResponse, StreamHandler, Tool
from aibind.streams import SseParser
from tests.support.models import PATIENCE_S

both_ways = pytest.mark.parametrize("resumable", [False, True], ids=["plain", "resumable"])

EXPECTED = "give an object with stream(request), such as EchoModel()"
MESSAGES = [{"role": "user", "content": "x"}]


async def events_of(reply: HttpResponse[Any]) -> list[tuple[str, str]]:
    assert not isinstance(reply.body, bytes), reply.body
    parser = SseParser()
    messages = [message async for data in reply.body for message in parser.feed(data)]
    return [(message.event, message.data) for message in messages if message.event != "stream-id"]


# --- given to the handler ---


async def answer(request: ModelRequest) -> str:
    return "x"


class Streamless:
    stream = "not a method"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (answer, "a function"),
        (lambda request: "x", "a function"),
        (EchoModel().stream, "a function"),
        (EchoModel, "the class EchoModel"),
        (Streamless(), "of type Streamless"),
        ("gpt-9", "of type str"),
        (partial(answer), "of type partial"),
    ],
)
def test_what_is_not_a_model_is_refused_at_once(value: Any, kind: str) -> None:
    with pytest.raises(TypeError) as raised:
        StreamHandler(model=value)
    assert str(raised.value) == f"model is {kind}: {EXPECTED}"
    with pytest.raises(TypeError) as raised:
        StreamHandler(models={"good": EchoModel(), "bad": value})
    assert str(raised.value) == f'models["bad"] is {kind}: {EXPECTED}'


def test_models_without_keys_are_refused_at_once() -> None:
    models: Any = EchoModel()
    with pytest.raises(TypeError, match="models is of type EchoModel: give a mapping"):
        StreamHandler(models=models)


# --- strings ---


class StringModel:
    """Yields strings, and whatever else it is told to."""

    def __init__(self, *events: Any) -> None:
        self._events = events
        self.requests: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncIterator[Any]:
        self.requests.append(request)
        for event in self._events:
            yield event


@both_ways
async def test_strings_are_text(resumable: bool) -> None:
    conversations = MemoryConversationStore()
    model = StringModel("Hel", TextDelta("lo"), "", " there", Usage(1, 2))
    handler = StreamHandler(model=model, conversations=conversations, resumable=resumable)
    for events in (
        await events_of(await handler.stream({"prompt": "x", "sessionId": "s"})),
        await events_of(await handler.chat({"messages": MESSAGES})),
    ):
        assert "".join(data for event, data in events if not event) == "Hello there"
        assert events[-2:] == [("usage", '{"inputTokens":1,"outputTokens":2}'), ("done", "")]
    assert (await conversations.load("s")).messages[-1] == {"role": "assistant", "content": "Hello there"}

    assert (await handler.complete({"input": "x"})).body == b"Hello there"
    assert (await handler.title({"messages": MESSAGES})).body == b"Hello there"
    assert (await handler.compact({"messages": MESSAGES})).body == b'{"summary":"Hello there","tokensSaved":-1}'


@both_ways
async def test_strings_are_structured_text(resumable: bool) -> None:
    handler = StreamHandler(model=StringModel('{"a": [1', ', 2], "b"', ": true}"), resumable=resumable)
    events = await events_of(await handler.structured({"prompt": "x"}))
    assert next(json.loads(data) for event, data in events if event == "partial") == {"a": [1]}
    assert events[-2:] == [("data", '{"a":[1,2],"b":true}'), ("done", "")]


async def test_strings_are_text_in_rounds_of_tools() -> None:
    class Caller(StringModel):
        async def stream(self, request: ModelRequest) -> AsyncIterator[Any]:
            self.requests.append(request)
            if request.messages[-1]["role"] == "tool":
                yield "noon"
            else:
                yield "Let me "
                yield "look"
                yield ToolCall("1", "clock", "{}")

    async def clock() -> str:
        return "12:00"

    model = Caller()
    handler = StreamHandler(model=model, toolsets={"time": [Tool("clock", "Tells the time.", clock)]})
    events = await events_of(await handler.chat({"messages": MESSAGES, "toolset": "time"}))
    assert [event for event, _ in events] == ["", "", "tool_call", "tool_result", "", "done"]
    assert model.requests[1].messages[1]["content"] == "Let me look"


# --- answers that are none ---


class ChatCompletionChunk:
    """What an SDK yields."""


class Awaitable:
    async def stream(self, request: ModelRequest) -> str:
        return "x"


class Returning:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def stream(self, request: ModelRequest) -> Any:
        return self._answer


class Generating:
    def stream(self, request: ModelRequest) -> Iterator[TextDelta]:
        yield TextDelta("x")


BROKEN = [
    (Awaitable(), "Awaitable.stream returned coroutine, not an async iterator"),
    (Returning(None), "Returning.stream returned NoneType, not an async iterator"),
    (Returning(["x"]), "Returning.stream returned list, not an async iterator"),
    (Generating(), "Generating.stream returned generator, not an async iterator"),
    (StringModel(ChatCompletionChunk()), "StringModel.stream yielded ChatCompletionChunk: yield str, TextDelta"),
    (StringModel("a", b"bytes"), "StringModel.stream yielded bytes: yield str, TextDelta"),
    (StringModel(None), "StringModel.stream yielded NoneType: yield str, TextDelta"),
]
broken = pytest.mark.parametrize(("model", "told"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")


@broken
@both_ways
@pytest.mark.parametrize("endpoint", ["stream", "structured", "chat"])
async def test_a_model_that_answers_wrongly_is_an_error_event(
    model: Any, told: str, endpoint: str, resumable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    handler = StreamHandler(model=model, resumable=resumable)
    async with asyncio.timeout(PATIENCE_S):
        events = await events_of(await getattr(handler, endpoint)({"prompt": "x", "messages": MESSAGES}))
    assert events[-2:] == [("error", "The model failed"), ("done", "")]
    assert told in caplog.text
    assert told.split(":")[0] not in str(events)


@broken
@pytest.mark.parametrize("endpoint", ["complete", "title", "compact"])
async def test_a_model_that_answers_wrongly_is_a_502(
    model: Any, told: str, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def read_body() -> bytes:
        return json.dumps({"input": "x", "messages": MESSAGES}).encode()

    endpoints = Endpoints(StreamHandler(model=model))
    reply = await endpoints.answer("POST", f"/__aibind__/{endpoint}", "", {}, read_body)
    assert (reply.status, reply.body) == (502, b'{"error":"The model failed"}')
    assert told in caplog.text


async def test_what_a_model_answers_with_is_closed_when_it_yields_something_wrong() -> None:
    closed = asyncio.Event()

    class Model:
        async def stream(self, request: ModelRequest) -> AsyncIterator[Any]:
            try:
                yield ChatCompletionChunk()
            finally:
                closed.set()

    await events_of(await StreamHandler(model=Model()).stream({"prompt": "x"}))
    assert closed.is_set()
