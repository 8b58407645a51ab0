"""OpenAIModel with ``api="responses"``, and aibind.models.responses for authors of models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibind.errors import ModelError
from aibind.models import CustomEvent, Finish, ModelRequest, ReasoningDelta, TextDelta, ToolCall, Usage
from aibind.models.openai import OpenAIModel
from aibind.models.responses import ResponsesReply, responses_body
from tests.support.endpoint import Endpoint, Reply, every
from tests.support.recordings import RESPONSES_RECORDINGS, read_recording

from .helpers import (
    HELLO,
    ask,
    calls_of,
    collect,
    collect_all,
    collect_until_error,
    model_at,
    reasoning_of,
    text_of,
    usage_of,
)


def recorded(name: str, **fields: Any) -> Reply:
    return Reply(read_recording(name), done=False, **fields)


def expected_of(lines: list[str]) -> tuple[str, str, list[tuple[str, str, str]], dict[str, Any] | None]:
    """Return the text, the reasoning, the calls and the usage that the last event has, read the plain way."""
    response = json.loads(lines[-1])["response"]
    text = reasoning = ""
    calls: list[tuple[str, str, str]] = []
    for item in response["output"]:
        if item["type"] == "message":
            text += "".join(part["text"] for part in item["content"])
        elif item["type"] == "reasoning":
            reasoning += "\n\n".join(part["text"] for part in item["summary"])
        elif item["type"] == "function_call":
            calls.append((item["call_id"], item["name"], item["arguments"]))
        elif item["type"] == "custom_tool_call":
            calls.append((item["call_id"], item["name"], json.dumps(item["input"], ensure_ascii=False)))
    return text, reasoning, calls, response["usage"]


WHOLE = [name for name in RESPONSES_RECORDINGS if "error" not in str(name)]


@pytest.mark.parametrize("size", [None, 1, 13, 4096])
@pytest.mark.parametrize("name", WHOLE)
async def test_a_recorded_reply_arrives_whole(name: str, size: int | None) -> None:
    lines = read_recording(name)
    if size == 1 and sum(map(len, lines)) > 60_000:
        lines = [*lines[:3], lines[-1]]
        lines[-1] = json.dumps({**json.loads(lines[-1]), "response": {"output": [], "usage": None}})
    text, reasoning, calls, usage = expected_of(lines)
    reply = Reply(lines, done=False, split=every(size) if size else None)
    async with Endpoint(reply) as endpoint, model_at(endpoint, api="responses") as model:
        events = await collect(model)
    assert text_of(events) == text
    assert reasoning_of(events) == reasoning
    assert [(call.id, call.name, call.arguments) for call in calls_of(events)] == calls
    assert usage_of(events) == (Usage(usage["input_tokens"], usage["output_tokens"]) if usage else None)


@pytest.mark.parametrize("name", WHOLE)
async def test_a_recorded_reply_that_is_cut_says_so(name: str) -> None:
    lines = read_recording(name)
    half = len(lines) // 2
    pieces = [json.loads(line) for line in lines[:half]]
    text = "".join(event["delta"] for event in pieces if event["type"] == "response.output_text.delta")
    async with Endpoint(recorded(name, cut_after=half)) as endpoint, model_at(endpoint, api="responses") as model:
        events, error = await collect_until_error(model)
    assert text_of(events) == text
    assert calls_of(events) == []
    assert isinstance(error, ModelError)
    assert error.code == "cut_off"


@pytest.mark.parametrize("name", [name for name in RESPONSES_RECORDINGS if "error" in str(name)])
async def test_a_recorded_failure_is_a_model_error(name: str) -> None:
    async with Endpoint(recorded(name)) as endpoint, model_at(endpoint, api="responses") as model:
        events, error = await collect_until_error(model)
    assert events == []
    assert isinstance(error, ModelError)
    assert error.code == "insufficient_quota"
    assert not error.retryable


async def test_paragraphs_of_a_summary_are_apart() -> None:
    async with Endpoint(recorded("responses-summary")) as endpoint, model_at(endpoint, api="responses") as model:
        events = await collect_all(model)
    assert reasoning_of(events) == (
        "**Reading the table**\n\nHigh water is at noon.\n\n**Answering**\n\nOne line will do."
    )
    kinds = [type(event) for event in events]
    assert kinds.index(TextDelta) > max(place for place, kind in enumerate(kinds) if kind is ReasoningDelta)
    assert events[-2:] == [Finish("stop"), Usage(30, 90)]


async def test_tools_that_the_provider_runs_and_citations_are_events() -> None:
    async with Endpoint(recorded("responses-web-search")) as endpoint, model_at(endpoint, api="responses") as model:
        events = [event for event in await collect(model) if isinstance(event, CustomEvent)]
    searches = [event.data for event in events if event.name == "server_tool"]
    assert [(item["type"], item["status"]) for item in searches] == [
        ("web_search_call", "in_progress"),
        ("web_search_call", "completed"),
    ] * 2
    assert searches[1]["action"]["query"] == "tide table Tórshavn"
    [citation] = [event.data for event in events if event.name == "citation"]
    assert citation["url"] == "https://tides.example/torshavn"


async def test_the_call_of_a_custom_tool_has_its_text_as_json() -> None:
    async with Endpoint(recorded("responses-custom-tool")) as endpoint, model_at(endpoint, api="responses") as model:
        events = await collect_all(model)
    [call] = calls_of(events)
    assert call.name == "query"
    assert json.loads(call.arguments) == "SELECT \"level\" FROM tides\nWHERE harbour = 'Tórshavn'"
    assert Finish("tool_calls") in events


# --- what goes out ---------------------------------------------------------------------------------------------------


async def sent(request: ModelRequest = HELLO, **options: Any) -> tuple[str, Any]:
    async with Endpoint(recorded("responses-text")) as endpoint, model_at(endpoint, api="responses", **options) as m:
        await collect(m, request)
        [exchange] = endpoint.exchanges
    return exchange.path, exchange.body


async def test_the_request_is_of_the_responses_format() -> None:
    path, body = await sent(
        ModelRequest(
            [
                {"role": "user", "content": "When is high water?"},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "name": "tide", "arguments": "{}"}]},
                {"role": "tool", "tool_call_id": "1", "content": '{"at": "12:04"}'},
                {"role": "assistant", "content": "At 12:04."},
                {"role": "user", "content": "Thanks"},
            ],
            system="Be brief.",
            tools=[
                {"name": "tide", "description": "d", "parameters": {"type": "object"}},
                {"type": "function", "function": {"name": "g", "strict": True}},
            ],
        ),
        extra_body={"reasoning": {"summary": "auto"}, "store": False},
    )
    assert path == "/v1/responses"
    assert body == {
        "model": "some-model",
        "stream": True,
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "When is high water?"},
            {"type": "function_call", "call_id": "1", "name": "tide", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": '{"at": "12:04"}'},
            {"role": "assistant", "content": "At 12:04."},
            {"role": "user", "content": "Thanks"},
        ],
        "tools": [
            {"type": "function", "strict": False, "name": "tide", "description": "d", "parameters": {"type": "object"}},
            {"type": "function", "strict": True, "name": "g"},
        ],
        "reasoning": {"summary": "auto"},
        "store": False,
    }


async def test_pictures_and_files_are_sent_as_items() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}}
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}}
    unknown = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
    parts = [{"type": "text", "text": "look"}, picture, file, unknown]
    answer = [{"type": "text", "text": "I see"}]
    _, body = await sent(
        ModelRequest(
            [
                {"role": "user", "content": parts},
                {"role": "assistant", "content": answer},
                {"role": "user", "content": [{"type": "image_url", "image_url": "https://tides.example/a.png"}]},
            ]
        )
    )
    assert body["input"] == [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
                unknown,
            ],
        },
        {"role": "assistant", "content": [{"type": "output_text", "text": "I see"}]},
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://tides.example/a.png"}]},
    ]


async def test_the_call_of_a_custom_tool_goes_back_as_one() -> None:
    call = ToolCall("c1", "query", json.dumps("SELECT 1"))
    stored = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "how many?"},
        {"role": "assistant", "content": "Looking.", "tool_calls": [stored]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "1"}]},
    ]
    body = responses_body("m", ModelRequest(messages))
    assert body["input"][1:] == [
        {"role": "assistant", "content": "Looking."},
        {"type": "custom_tool_call", "call_id": "c1", "name": "query", "input": "SELECT 1"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "1"}]},
    ]


async def test_structured_output_asks_for_a_format() -> None:
    schema = {"title": "My answer!", "type": "object"}
    _, body = await sent(ask("hi", json_schema=schema))
    assert body["text"] == {"format": {"type": "json_schema", "name": "My_answer", "schema": schema, "strict": False}}
    _, body = await sent(ask("hi", json_schema={}, system="Be brief."))
    assert body["text"] == {"format": {"type": "json_object"}}
    assert body["instructions"].startswith("Be brief.\n\n")
    assert "JSON" in body["instructions"]


def test_a_conversation_that_begins_with_a_system_message_keeps_it() -> None:
    request = ModelRequest([{"role": "system", "content": "Old rules"}, {"role": "user", "content": "hi"}])
    body = responses_body("m", request)
    assert "instructions" not in body
    assert body["input"][0] == {"role": "system", "content": "Old rules"}


@pytest.mark.parametrize("base", ["", "/", "/responses", "/chat/completions", "/responses/"])
async def test_a_base_url_in_any_form(base: str) -> None:
    async with Endpoint(recorded("responses-text")) as endpoint:
        model = OpenAIModel("m", api="responses", base_url=endpoint.base_url + base)
        await collect(model)
        await model.aclose()
        assert endpoint.exchanges[0].path == "/v1/responses"


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="'chat_completions' or 'responses'"):
        OpenAIModel("m", api="chat")  # type: ignore[arg-type]


# --- replies of many kinds -------------------------------------------------------------------------------------------


def read(*events: Any, structured: bool = False) -> ResponsesReply:
    reply = ResponsesReply(structured=structured)
    for event in events:
        list(reply.feed(json.dumps(event)))
    return reply


def completed(**fields: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"id": "resp_1", "output": [], **fields}}


def incomplete(reason: str) -> dict[str, Any]:
    return {"type": "response.incomplete", "response": {"incomplete_details": {"reason": reason}}}


CALL: dict[str, Any] = {
    "type": "response.output_item.done",
    "item": {"type": "function_call", "call_id": "1", "name": "f"},
}


def test_text_that_ran_into_the_limit_is_whole() -> None:
    reply = read({"type": "response.output_text.delta", "delta": "half a"}, incomplete("max_output_tokens"))
    assert reply.end() == [Finish("length")]
    assert reply.failure is None


@pytest.mark.parametrize(
    ("events", "structured", "code"),
    [
        ([incomplete("max_output_tokens")], True, "length"),
        ([{**CALL, "item": {**CALL["item"], "arguments": "{"}}, incomplete("max_output_tokens")], False, "length"),
        ([incomplete("content_filter")], False, "content_filter"),
        ([{"type": "response.refusal.delta", "delta": "I will not"}, completed()], True, "refusal"),
        ([{**CALL, "item": {**CALL["item"], "name": "", "arguments": ""}}, completed()], False, "malformed_reply"),
    ],
)
def test_replies_that_are_of_no_use_fail(events: list[Any], structured: bool, code: str) -> None:
    reply = read(*events, structured=structured)
    assert not any(isinstance(event, ToolCall) for event in reply.end())
    assert reply.failure is not None
    assert reply.failure.code == code


def test_a_refusal_is_text_unless_json_was_asked_for() -> None:
    reply = ResponsesReply()
    assert list(reply.feed('{"type": "response.refusal.delta", "delta": "No."}')) == [TextDelta("No.")]


def test_what_a_stream_is_continued_by() -> None:
    created = {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_7"}}
    delta = {"type": "response.output_text.delta", "sequence_number": 4, "delta": "hi"}
    reply = read(created, delta)
    assert (reply.response_id, reply.sequence_number) == ("resp_7", 4)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "oh"}}}, "server_error"),
        ({"type": "response.failed", "response": {}}, None),
        ({"type": "response.cancelled", "response": {}}, "cancelled"),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "slow down"}, "rate_limit_exceeded"),
        ({"object": "chat.completion.chunk", "choices": [{"delta": {}}]}, "chat_completions_format"),
        ({"type": "response.output_text.delta"}, "malformed_reply"),
        ({"type": "response.output_text.delta", "delta": 5}, "malformed_reply"),
        ({"type": "response.output_item.done", "item": None}, "malformed_reply"),
        (["a list"], "malformed_reply"),
    ],
)
def test_events_that_fail(event: Any, code: str | None) -> None:
    with pytest.raises(ModelError) as raised:
        read(event)
    assert raised.value.code == code


def test_events_of_unknown_types_are_skipped() -> None:
    reply = read({"type": "response.something.new", "delta": 1}, completed())
    assert reply.end() == [Finish("stop")]


async def test_an_answer_in_one_piece_is_understood() -> None:
    output = [
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "A"}, {"type": "summary_text", "text": "B"}],
        },
        {
            "type": "message",
            "content": [
                {"type": "output_text", "text": "Hello", "annotations": [{"url": "u"}]},
                {"type": "refusal", "refusal": " No."},
            ],
        },
        {"type": "web_search_call", "id": "ws_1"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": {"a": 1}},
    ]
    whole = {"object": "response", "id": "resp_1", "status": "completed", "output": output}
    body = json.dumps(whole | {"usage": {"input_tokens": 3, "output_tokens": 4}}).encode()
    reply = Reply(body=body, content_type="application/json")
    async with Endpoint(reply) as endpoint, model_at(endpoint, api="responses") as model:
        events = await collect_all(model)
    assert (reasoning_of(events), text_of(events)) == ("A\n\nB", "Hello No.")
    assert CustomEvent("citation", {"url": "u"}) in events
    assert CustomEvent("server_tool", {"type": "web_search_call", "id": "ws_1"}) in events
    assert events[-3:] == [ToolCall("c", "f", '{"a": 1}'), Finish("tool_calls"), Usage(3, 4)]


async def test_an_endpoint_with_chat_completions_is_told_apart() -> None:
    lines = read_recording("chat-markdown")
    async with Endpoint(Reply(lines)) as endpoint, model_at(endpoint, api="responses") as model:
        events, error = await collect_until_error(model)
    assert events == []
    assert isinstance(error, ModelError)
    assert error.code == "chat_completions_format"


async def test_closing_the_iterator_disconnects_at_once() -> None:
    reply = recorded("responses-text", delay_s=0.02)
    async with Endpoint(reply) as endpoint, model_at(endpoint, api="responses") as model:
        events = model.stream(HELLO)
        await anext(events)
        await events.aclose()
        await endpoint.exchanges[0].disconnected.wait()
        assert not endpoint.exchanges[0].finished
