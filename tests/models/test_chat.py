"""aibind.models.chat and aibind.models.endpoint, as the author of a model uses it: as its docstring shows."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from aibind.errors import ModelError
from aibind.models import Finish, ModelEvent, ModelRequest, TextDelta, ToolCall, Usage
from aibind.models.chat import ChatReply, chat_body
from aibind.models.endpoint import EndpointAnswer, Redactor, encode_body
from tests.support.endpoint import delta, texts, usage

from .helpers import HELLO, ask

KEY = "sk-a-secret-of-mine"


async def cut(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def answer_of(body: bytes, content_type: str, size: int = 7) -> AsyncGenerator[ModelEvent]:
    reply = ChatReply(Redactor([KEY]))
    answer = EndpointAnswer(content_type, reply)
    async for part in cut(body, size):
        for event in answer.take(part):
            yield event
        if reply.done:
            break
    else:
        for event in answer.take(None):
            yield event
    for event in reply.end():
        yield event
    if reply.failure is not None:
        raise reply.failure


def sse(*data: str) -> bytes:
    return "".join(f"data: {item}\n\n" for item in data).encode()


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("end", [["[DONE]"], []], ids=["with DONE", "without"])
async def test_a_streamed_answer(size: int, end: list[str]) -> None:
    call = delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}])
    body = sse(*texts("Hel", "lo 👋", finish="tool_calls")[:-1], call, delta("tool_calls"), usage(3, 4), *end)
    events = [event async for event in answer_of(body, "text/event-stream", size)]
    assert events == [
        TextDelta("Hel"),
        TextDelta("lo 👋"),
        ToolCall("c1", "f", "{}"),
        Finish("tool_calls"),
        Usage(3, 4),
    ]


async def test_an_answer_in_one_piece() -> None:
    body = json.dumps({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}).encode()
    events = [event async for event in answer_of(body, "application/json; charset=utf-8")]
    assert events == [TextDelta("Hello"), Finish("stop")]


async def test_an_answer_that_was_cut() -> None:
    answer = answer_of(sse(*texts("Hel", "lo")[:-1])[:-10], "text/event-stream")
    assert await anext(answer) == TextDelta("Hel")
    with pytest.raises(ModelError) as caught:
        await anext(answer)
    assert (caught.value.code, caught.value.retryable) == ("cut_off", True)


async def test_an_endpoint_that_repeats_the_key() -> None:
    error = json.dumps({"error": {"message": f"The key {KEY} is wrong", "code": "invalid_api_key"}})
    with pytest.raises(ModelError, match=r"The key \[redacted\] is wrong") as caught:
        _ = [event async for event in answer_of(sse(error), "text/event-stream")]
    assert caught.value.code == "invalid_api_key"


def test_a_reply_needs_no_redactor() -> None:
    reply = ChatReply()
    assert list(reply.feed(delta(content="Hello"))) == [TextDelta("Hello")]
    assert list(reply.feed(delta("stop"))) == []
    assert (reply.finished, reply.done, reply.end(), reply.failure) == (True, False, [Finish("stop")], None)


def test_a_redactor_leaves_short_secrets_and_shows_none() -> None:
    redact = Redactor([KEY, f"{KEY}-and-more", "abc"])
    assert redact(f"{KEY}-and-more, {KEY}, abc") == "[redacted], [redacted], abc"
    assert KEY not in repr(redact)
    assert Redactor()(KEY) == KEY


def test_a_body() -> None:
    body = chat_body("m", ask("é", system="Be brief", json_schema={"title": "a b", "type": "object"}))
    assert json.loads(encode_body(body)) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "é"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "a_b", "schema": {"title": "a b", "type": "object"}, "strict": False},
        },
    }
    assert b"\xc3\xa9" in encode_body(body)
    plain = chat_body("m", ask("x", json_schema={"type": "object"}), "json_object")
    assert plain["response_format"] == {"type": "json_object"}
    assert "JSON Schema" in plain["messages"][0]["content"]
    assert "response_format" not in chat_body("m", HELLO)


@pytest.mark.parametrize("messages", [[], [{"content": "no role"}], [{"role": "user", "content": 7}]])
def test_messages_that_cannot_be_sent(messages: list[dict[str, object]]) -> None:
    with pytest.raises(ModelError):
        chat_body("m", ModelRequest(messages))


def test_a_body_that_json_cannot_hold() -> None:
    with pytest.raises(ModelError, match="cannot be written as JSON"):
        encode_body({"temperature": float("nan")})
