"""Prefilled messages: what is sent for another process to go on with, and what of the answer is new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from aibind.errors import ModelError
from aibind.models import (
    ApprovalRequest,
    CustomEvent,
    Finish,
    ModelEvent,
    ModelRequest,
    OpenAIModel,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    can_resume,
)
from tests.support.endpoint import Endpoint, Reply, delta, failure, texts, usage

from .helpers import HELLO, ask, joined, model_at, read_until_error, reasoning_of, text_of


async def resumed(
    so_far: Sequence[ModelEvent], *answer: str, prefill: str = "plain", request: ModelRequest = HELLO, **options: Any
) -> tuple[list[ModelEvent], Any]:
    """Go on with an answer; return the rest, and the body of the request."""
    reply = Reply([*texts(*answer), usage(5, 2)])
    async with Endpoint(reply) as endpoint, model_at(endpoint, prefill=prefill, **options) as model:
        events = [event async for event in model.resume(request, so_far, None)]
        [exchange] = endpoint.exchanges
    return joined(events), exchange.body


@pytest.mark.parametrize(
    ("prefill", "mark", "fields"),
    [
        ("plain", {}, {}),
        ("prefix", {"prefix": True}, {}),
        ("partial", {"partial": True}, {}),
        ("continue_final_message", {}, {"continue_final_message": True, "add_generation_prompt": False}),
    ],
)
async def test_the_text_is_the_last_message(prefill: str, mark: dict[str, Any], fields: dict[str, Any]) -> None:
    so_far: list[ModelEvent] = [TextDelta("It is"), CustomEvent("progress", 1), TextDelta(" late")]
    rest, body = await resumed(so_far, ", so", " go.", prefill=prefill, extra_body={"temperature": 0})
    assert rest == [TextDelta(", so go."), Finish("stop"), Usage(5, 2)]
    assert body.pop("messages") == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "It is late", **mark},
    ]
    assert {name: body[name] for name in body if name not in ("model", "stream", "stream_options")} == {
        "temperature": 0,
        **fields,
    }


@pytest.mark.parametrize(
    ("text", "answer", "rest"),
    [
        ("It is late", ["It", " is late", " now"], " now"),  # as Mistral's endpoint repeats it
        ("It is late", ["It is later", " now"], "r now"),
        ("It is late", ["It is", " not."], "It is not."),
        ("It is late", ["It", " is late"], ""),
        ("It is late", ["It is"], "It is"),
        ("It is late \n", [" ", "\nnow"], "now"),
        ("It is late \n", [" now"], "now"),
        ("It is late \n", ["now"], "now"),
        ("It is late \n", ["It is late", " ", "now"], "now"),
        ("It is late ", [" "], ""),
        ("It is late", [" ", "now"], " now"),
        ("\n", ["\nNow"], "Now"),
        ("", ["Now"], "Now"),
    ],
)
async def test_what_is_new_in_the_answer(text: str, answer: list[str], rest: str) -> None:
    found, _ = await resumed([TextDelta(text)] if text else [], *answer)
    assert text_of(found) == rest
    assert found[-2:] == [Finish("stop"), Usage(5, 2)]


async def test_an_answer_without_text_is_asked_for_again() -> None:
    rest, body = await resumed([], "Now", prefill="continue_final_message")
    assert text_of(rest) == "Now"
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert "continue_final_message" not in body


async def test_reasoning_is_not_told_again() -> None:
    lines = [delta(role="assistant", reasoning_content="Hm."), *texts(" now"), usage(5, 2)]
    async with Endpoint(Reply(lines)) as endpoint, model_at(endpoint, prefill="plain") as model:
        so_far: list[ModelEvent] = [ReasoningDelta("Hm."), TextDelta("It is late")]
        rest = [event async for event in model.resume(HELLO, so_far, None)]
        again = [event async for event in model.resume(HELLO, [], None)]
    assert (reasoning_of(rest), text_of(rest)) == ("", " now")
    assert (reasoning_of(again), text_of(again)) == ("Hm.", " now")


CALL = ToolCall("c", "f", "{}")


@pytest.mark.parametrize(
    ("so_far", "request_"),
    [
        ([TextDelta("a"), CALL], HELLO),
        ([TextDelta("a"), ToolCallDelta("c", "f", "{")], HELLO),
        ([CALL, ToolResult("c", "f", "1")], HELLO),
        ([ApprovalRequest("c", "f", "{}")], HELLO),
        ([ReasoningDelta("Hm")], HELLO),
        ([TextDelta("{")], ask("hello", json_schema={})),
    ],
)
async def test_what_cannot_be_prefilled(so_far: list[ModelEvent], request_: ModelRequest) -> None:
    async with Endpoint(Reply(texts("x"))) as endpoint, model_at(endpoint, prefill="plain") as model:
        rest, error = await read_until_error(model.resume(request_, so_far, None))
        assert endpoint.exchanges == []
    assert rest == []
    assert isinstance(error, ModelError)
    assert error.code == "not_resumable"


@pytest.mark.parametrize(("status", "code"), [(400, "not_resumable"), (422, "not_resumable"), (401, "nope")])
async def test_an_endpoint_that_refuses(status: int, code: str) -> None:
    async with (
        Endpoint(failure(status, "no prefill here", code="nope")) as endpoint,
        model_at(endpoint, prefill="plain") as model,
    ):
        _, error = await read_until_error(model.resume(HELLO, [TextDelta("a")], None))
    assert isinstance(error, ModelError)
    assert error.code == code


async def test_which_models_can_resume() -> None:
    async with Endpoint(Reply(texts("x"))) as endpoint, model_at(endpoint, prefill="plain") as model:
        assert can_resume(model)
        assert not model.repeats_exactly
        await model.cancel("x")  # there is nothing that goes on by itself
        assert endpoint.exchanges == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prefill": "yes"}, "prefill is 'yes': give 'plain', 'prefix', 'partial', 'continue_final_message' or None"),
        ({"prefill": "plain", "api": "responses"}, "prefill is for chat completions"),
        ({"prefill": "plain", "api": "responses", "background": True}, "prefill is for chat completions"),
    ],
)
def test_settings_that_cannot_be_used(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        OpenAIModel("m", base_url="http://127.0.0.1/v1", **options)
