"""Requests that no honest client sends, and models that break their promises: every one gets a clear answer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aibind.conversations import MemoryConversationStore
from aibind.errors import ConversationTooLargeError, ModelError
from aibind.history import ChatHistory
from aibind.models import EchoModel, ModelEvent, ModelRequest, TextDelta, ToolCall
from aibind.server import Endpoints, HttpResponse, StreamHandler, Tool, create_app
from aibind.sqlite import SqliteConversationStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import SseParser
from tests.support.models import ScriptedModel

both_ways = pytest.mark.parametrize("resumable", [False, True], ids=["plain", "resumable"])

VALUES = [
    "null",
    "true",
    "1",
    "-1",
    "1.5",
    '""',
    '" "',
    '"x"',
    '"\\ud800"',
    '"\\u0000"',
    '"a\\r\\nb"',
    '"' + "é" * 500 + '"',
    "9" * 400,
    "[]",
    "{}",
    "[null]",
    "[[]]",
    '["x"]',
    '{"a":1}',
]
BODIES = {  # with VALUE in turn as each of these
    "stream": [
        '{"prompt":VALUE}',
        '{"prompt":"/short x","sessionId":VALUE}',
        '{"prompt":"/short x","sessionId":"s","system":VALUE}',
        '{"prompt":"/short x","sessionId":"s","model":VALUE}',
        '{"prompt":"/short x","sessionId":"s","edit":VALUE}',
        '{"prompt":"/short x","sessionId":"s","regenerate":VALUE}',
    ],
    "structured": ['{"prompt":"x","schema":VALUE}', '{"prompt":"x","schema":{"type":VALUE}}'],
    "chat": [
        '{"messages":VALUE}',
        '{"messages":[{"role":VALUE,"content":"x"}]}',
        '{"messages":[{"role":"user","content":VALUE}]}',
        '{"messages":[{"role":"user","content":[VALUE]}]}',
        '{"messages":[{"role":"user","content":[{"type":"text","text":VALUE}]}]}',
        '{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":VALUE}]}',
        '{"messages":[{"role":"user","content":"x"}],"maxSteps":VALUE}',
        '{"messages":[{"role":"user","content":"x"}],"toolset":VALUE}',
        '{"messages":[{"role":"user","content":"x"}],"attachments":VALUE}',
        '{"messages":[{"role":"user","content":"x"}],"attachments":[{"mimeType":VALUE,"data":"x"}]}',
        '{"messages":[{"role":"user","content":"x"}],"attachments":[{"mimeType":"a/b","data":VALUE}]}',
    ],
    "title": ['{"messages":[{"role":VALUE,"content":"x"}]}', '{"messages":[{"role":"user","content":VALUE}]}'],
    "compact": ['{"messages":VALUE}', '{"messages":[{"role":"user","content":"x"}],"sessionId":VALUE}'],
    "complete": ['{"input":VALUE}', '{"input":"x","system":VALUE}'],
    "stream/stop": ['{"id":VALUE}', "VALUE"],
}


async def ask(endpoints: Endpoints, path: str, body: str | bytes) -> tuple[HttpResponse[Any], str]:
    async def read_body() -> bytes:
        return body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")

    reply = await endpoints.answer("POST", f"/__aibind__/{path}", "", {}, read_body)
    data = reply.body if isinstance(reply.body, bytes) else b"".join([part async for part in reply.body])
    return reply, data.decode()


async def events_of(reply: HttpResponse[Any]) -> list[tuple[str, str]]:
    assert not isinstance(reply.body, bytes), reply.body
    parser = SseParser()
    messages = [message async for data in reply.body for message in parser.feed(data)]
    return [(message.event, message.data) for message in messages if message.event != "stream-id"]


@pytest.mark.parametrize("path", BODIES)
async def test_a_body_of_any_shape_is_answered_or_refused(
    path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        handler = StreamHandler(
            model=EchoModel(tokens_per_second=0),
            resumable=True,
            store=SqliteStreamStore(client),
            conversations=SqliteConversationStore(client),
        )
        for template in BODIES[path]:
            for value in VALUES:
                body = template.replace("VALUE", value)
                reply, text = await ask(Endpoints(handler), path, body)
                assert reply.status in (200, 400, 404), (body, text)
                assert reply.status == 200 or list(json.loads(text)) == ["error"]
                assert "event: error" not in text, (body, text)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_numbers_that_json_does_not_have_are_refused(number: str) -> None:
    model = ScriptedModel("x")
    endpoints = Endpoints(StreamHandler(model=model))
    for path, body in (("structured", '{"prompt":"x","schema":{"a":VALUE}}'), ("chat", '{"messages":[VALUE]}')):
        reply, text = await ask(endpoints, path, body.replace("VALUE", number))
        assert (reply.status, text) == (400, '{"error":"The body is not valid JSON"}')
    assert model.requests == []


async def test_a_very_long_position_is_refused_in_our_words() -> None:
    endpoints = Endpoints(StreamHandler(model=ScriptedModel("x"), resumable=True))

    async def read_body() -> bytes:
        raise AssertionError

    reply = await endpoints.answer("GET", "/__aibind__/stream/resume", "id=x&after=" + "9" * 5000, {}, read_body)
    assert reply.status == 400
    assert isinstance(reply.body, bytes)
    assert b"after parameter must be" in reply.body


async def test_a_client_that_goes_away_in_its_request_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(StreamHandler(model=ScriptedModel("x")))
    received = iter([{"type": "http.request", "body": b'{"pro', "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(received)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/__aibind__/stream", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    assert sent == []
    assert caplog.records == []


# --- models ---


class UnclosableModel:
    """Says what it is told to, and fails when it is closed."""

    def __init__(self, *events: str | ToolCall | Exception) -> None:
        self._events = events

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        try:
            for event in self._events:
                if isinstance(event, Exception):
                    raise event
                yield TextDelta(event) if isinstance(event, str) else event
        finally:
            raise OSError("secret /etc/path")


class UnclosableIterator:
    """Is a model whose answer is no generator, and cannot be closed."""

    def __init__(self, *texts: str) -> None:
        self._texts = iter(texts)

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        return self

    def __aiter__(self) -> AsyncIterator[ModelEvent]:
        return self

    async def __anext__(self) -> ModelEvent:
        try:
            return TextDelta(next(self._texts))
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        raise OSError("secret /etc/path")


@both_ways
@pytest.mark.parametrize("endpoint", ["stream", "chat"])
async def test_a_model_that_fails_when_it_is_closed_has_answered_nevertheless(endpoint: str, resumable: bool) -> None:
    conversations = MemoryConversationStore()
    handler = StreamHandler(
        model=UnclosableIterator("Hello ", "world"), conversations=conversations, resumable=resumable
    )
    body = {"prompt": "x", "sessionId": "s", "messages": [{"role": "user", "content": "x"}]}
    events = await events_of(await getattr(handler, endpoint)(body))
    assert "".join(data for event, data in events if not event) == "Hello world"
    assert events[-1] == ("done", "")
    assert "error" not in dict(events)
    if endpoint == "stream":
        assert (await conversations.load("s")).messages[-1]["content"] == "Hello world"


@both_ways
@pytest.mark.parametrize("events", [(), ("some text",), (ModelError("out of order"),), ("some", ModelError("no"))])
async def test_a_model_that_fails_at_its_end_shows_nothing_of_it(resumable: bool, events: tuple[Any, ...]) -> None:
    handler = StreamHandler(model=UnclosableModel(*events), resumable=resumable)
    seen = await events_of(await handler.stream({"prompt": "x"}))
    assert seen[-2:] == [("error", "The model failed"), ("done", "")]
    assert "secret" not in str(seen)


async def test_a_tool_that_fails_with_a_missing_key_is_not_a_missing_tool() -> None:
    async def find(key: str) -> Any:
        return {"a": 1}[key]

    async def measure() -> float:
        return float("nan")

    model = ScriptedModel(
        ToolCall("1", "find", '{"key": "b"}'), ToolCall("2", "measure", ""), ToolCall("3", "nope", "")
    )
    tools = [Tool("find", "Finds.", find), Tool("measure", "Measures.", measure)]
    handler = StreamHandler(model=model, toolsets={"t": tools})
    body = {"messages": [{"role": "user", "content": "x"}], "toolset": "t", "maxSteps": 2}
    events = await events_of(await handler.chat(body))
    results = [json.loads(data)["result"] for event, data in events if event == "tool_result"]
    assert results[0] == {"error": "'b'"}
    assert list(results[1]) == ["error"]  # JSON has no NaN, and a browser could not read it
    assert results[2] == {"error": "There is no tool nope"}


async def test_arguments_that_no_browser_can_read_stay_text() -> None:
    model = ScriptedModel(ToolCall("1", "find", '{"key": NaN}'), ToolCall("2", "find", "[" * 100_000))
    handler = StreamHandler(model=model)
    events = await events_of(await handler.chat({"messages": [{"role": "user", "content": "x"}]}))
    calls = [json.loads(data)["args"] for event, data in events if event == "tool_call"]
    assert calls == ['{"key": NaN}', "[" * 100_000]


@pytest.mark.parametrize(
    "answer", ['{"a": NaN}', "Infinity", "[" * 500_000, "1" * 10_000], ids=lambda answer: answer[:8]
)
async def test_structured_that_no_browser_can_read_is_an_error(answer: str) -> None:
    handler = StreamHandler(model=ScriptedModel(answer))
    events = await events_of(await handler.structured({"prompt": "x"}))
    assert events[-2:] == [("error", "The model's answer is not valid JSON"), ("done", "")]


async def test_a_long_structured_answer_is_not_read_again_for_every_token() -> None:
    """Each partial is made by reading all that came before it: one for every token would be the square of it."""
    numbers = [*range(3_000)]
    pieces = ["[", *(f"{number}," for number in numbers[:-1]), f"{numbers[-1]}]"]
    handler = StreamHandler(model=ScriptedModel(*pieces))
    events = await events_of(await handler.structured({"prompt": "x"}))
    assert json.loads(dict(events)["data"]) == numbers
    partials = [json.loads(data) for event, data in events if event == "partial"]
    assert 60 < len(partials) < 500
    assert partials[:4] == [[], [0], [0, 1], [0, 1, 2]]


@both_ways
async def test_an_answer_that_cannot_be_stored_is_sent_nevertheless(
    resumable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class FullStore(MemoryConversationStore):
        async def save(self, session_id: str, chat: ChatHistory) -> None:
            if chat.size > 1:
                raise ConversationTooLargeError("full", session_id)
            await super().save(session_id, chat)

    handler = StreamHandler(model=ScriptedModel("Hello"), conversations=FullStore(), resumable=resumable)
    events = await events_of(await handler.stream({"prompt": "x", "sessionId": "s"}))
    assert events == [("", "Hello"), ("done", "")]
    assert "full" in caplog.text


async def test_a_model_that_never_answers_is_stopped() -> None:
    closed = asyncio.Event()

    class SilentModel:
        async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
            try:
                await asyncio.Event().wait()
                yield TextDelta("never")
            finally:
                closed.set()

    conversations = MemoryConversationStore()
    handler = StreamHandler(model=SilentModel(), conversations=conversations, resumable=True)
    reply = await handler.stream({"prompt": "x", "sessionId": "s"})
    await handler.stop({"id": reply.headers["X-Stream-Id"]})
    assert closed.is_set()
    assert await events_of(reply) == [("stopped", ""), ("done", "")]
    assert [message["content"] for message in (await conversations.load("s")).messages] == ["x"]
    assert handler.live_stream("s") is None
