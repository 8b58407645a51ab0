"""Streams of Anthropic's own client as models, and messages both ways."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("anthropic")

import anthropic
import httpx2
from hypothesis import given, settings
from hypothesis import strategies as st

from aibind.conversations import MemoryConversationStore
from aibind.errors import ModelError
from aibind.integrations.anthropic import AnthropicClientModel, anthropic_events, from_anthropic, to_anthropic
from aibind.models import CustomEvent, Finish, MessageData, ModelRequest, ReasoningDelta, TextDelta, ToolCall, Usage
from aibind.server import StreamHandler, Tool
from tests.integrations.frameworks import CALL_ID, Response
from tests.integrations.frameworks.anthropic import messages_events
from tests.models.helpers import HELLO, collect_all, collect_until_error, text_of
from tests.support.endpoint import Endpoint, Reply, Script

from .support import ask, check_stop

KEY = "sk-very-secret"
SAYS = Response(text=("It is ", "21."))
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}


async def temperature(place: str) -> int:
    return 21


PLACE = {"type": "object", "properties": {"place": {"type": "string"}}}
WEATHER = Tool("temperature", "Returns the temperature", temperature, PLACE)


@asynccontextmanager
async def client_at(*script: Script, **options: Any) -> AsyncIterator[tuple[Any, Endpoint]]:
    options = {"timeout": 30, "max_retries": 0, "api_key": KEY, **options}
    async with (
        Endpoint(*script) as endpoint,
        httpx2.AsyncClient(verify=False, trust_env=False) as http,
        anthropic.AsyncAnthropic(base_url=endpoint.origin, http_client=http, **options) as client,
    ):
        yield client, endpoint


def reply(*events: dict[str, Any], **fields: Any) -> Reply:
    return Reply([json.dumps(event) for event in events], done=False, names_events=True, **fields)


def blocks(*given: dict[str, Any], reason: str = "end_turn", **delta: Any) -> Reply:
    """Make a reply whose blocks come whole."""
    events: list[dict[str, Any]] = []
    for index, block in enumerate(given):
        events += [
            {"type": "content_block_start", "index": index, "content_block": block},
            {"type": "content_block_stop", "index": index},
        ]
    end = {**END, "delta": {"stop_reason": reason, **delta}}
    return reply(*events, end, {"type": "message_stop"})


async def test_a_reply_is_events() -> None:
    asks = Response(("Which ", "place?"), ("Let me ", "look. "), calls=True)
    async with client_at(reply(*messages_events(asks))) as (client, _):
        for events in (
            await collect_all(AnthropicClientModel(client, "m")),
            [
                one
                async for one in anthropic_events(
                    client.messages.create(model="m", max_tokens=1, messages=[], stream=True)
                )
            ],
        ):
            assert events == [
                ReasoningDelta("Which "),
                ReasoningDelta("place?"),
                TextDelta("Let me "),
                TextDelta("look. "),
                MessageData(
                    "anthropic",
                    [
                        {"type": "thinking", "signature": "c2lnbmVk"},
                        {"type": "text"},
                        {"type": "tool_use", "id": CALL_ID},
                    ],
                ),
                ToolCall(CALL_ID, "temperature", '{"place":"Bern"}'),
                Finish("tool_calls"),
                Usage(3, 2),
            ]


async def test_signed_thinking_is_sent_with_the_next_request() -> None:
    asks = Response(("Which place?\r\n",), calls=True)
    thinking = {"type": "thinking", "thinking": "Which place?\r\n", "signature": "c2lnbmVk"}
    call = {"type": "tool_use", "id": CALL_ID, "name": "temperature", "input": {"place": "Bern"}}
    async with client_at(*(reply(*messages_events(one)) for one in (asks, SAYS, SAYS))) as (client, endpoint):
        model = AnthropicClientModel(client, "m", options={"thinking": {"type": "adaptive"}})
        store = MemoryConversationStore()
        handler = StreamHandler(model=model, conversations=store, toolsets={"weather": [WEATHER]})
        names = [name for name, _ in await ask(handler, sessionId="s", toolset="weather", system="Be brief")]
        assert names == ["reasoning", "message_data", "tool_call", "tool_result", "", "usage", "done"]
        await ask(handler, "Thanks", sessionId="s")
        first, second, third = (exchange.body for exchange in endpoint.exchanges)
        stored = (await store.load("s")).messages
    assert (first["system"], first["thinking"]) == ("Be brief", {"type": "adaptive"})
    assert first["tools"] == [
        {"name": "temperature", "description": "Returns the temperature", "input_schema": WEATHER.parameters}
    ]
    said = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [thinking, call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": CALL_ID, "content": "21"}]},
    ]
    assert second["messages"] == said
    answers = [{"role": "assistant", "content": "It is 21."}, {"role": "user", "content": "Thanks"}]
    assert third["messages"] == [*said, *answers]
    assert stored[1]["reasoning"] == "Which place?\n"
    assert "anthropic" not in stored[3]


async def test_citations_and_tools_that_anthropic_runs() -> None:
    use = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    citation = {
        "type": "web_search_result_location",
        "url": "https://tides.example",
        "cited_text": "noon",
        "title": "T",
        "encrypted_index": "x",
    }
    events: list[dict[str, Any]] = [
        {"type": "content_block_start", "index": 0, "content_block": use},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": '{"query":"tide"}'},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": found},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": "", "citations": None}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "citations_delta", "citation": citation}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "At noon"}},
        {"type": "content_block_stop", "index": 2},
        END,
        {"type": "message_stop"},
    ]
    called = {**use, "input": {"query": "tide"}}
    async with client_at(reply(*events)) as (client, _):
        got = await collect_all(AnthropicClientModel(client, "m"))
    assert got[:4] == [
        CustomEvent("server_tool", called),
        CustomEvent("server_tool", found),
        CustomEvent("citation", citation),
        TextDelta("At noon"),
    ]
    kept = got[4]
    assert isinstance(kept, MessageData)
    sent = to_anthropic([{"role": "assistant", "content": "At noon", kept.key: kept.value}])
    text = {"type": "text", "text": "At noon", "citations": [citation]}
    assert sent == [{"role": "assistant", "content": [called, found, text]}]


async def test_a_stop_closes_the_clients_stream() -> None:
    endless = Response(endless=True)
    async with client_at(reply(*messages_events(endless), delay_s=0.01)) as (client, endpoint):
        handler = StreamHandler(model=AnthropicClientModel(client, "m"), resumable=True)
        await check_stop(handler, endpoint)
        await handler.aclose()


CUT = "The model's reply was cut off: the connection ended before the reply did"
HALF = [*messages_events(SAYS)][:4]
FAILURES: list[tuple[Script, str, str, str | None]] = [
    (
        Reply(status=529, body=b'{"error":{"type":"overloaded_error","message":"Busy sk-very-secret"}}'),
        "The model's endpoint answered 529: Busy [redacted]",
        "",
        "overloaded_error",
    ),
    (
        reply(*messages_events(Response(text=("Half",), fails=True))),
        "The model's endpoint broke off with an error: key sk-secret is out of money",
        "Half",
        "overloaded_error",
    ),
    (reply(*messages_events(SAYS), cut_after=4), CUT, "It is ", "cut_off"),
    (reply(*HALF), CUT, "It is ", "cut_off"),
    (reply(), "The model's endpoint sent an empty answer: check base_url and the model's name", "", None),
    (
        blocks(
            {"type": "text", "text": "No"},
            reason="refusal",
            stop_details={"type": "refusal", "explanation": "not this"},
        ),
        "The model refused: not this",
        "No",
        "refusal",
    ),
    (
        blocks({"type": "tool_use", "id": "1", "name": "t", "input": {}}, reason="max_tokens"),
        "The limit of tokens cut off a tool call: allow more tokens",
        "",
        "length",
    ),
    (
        reply({"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": "x"}}),
        "The model's endpoint sent an event that is not as the Messages format has it",
        "",
        "malformed_reply",
    ),
]


@pytest.mark.parametrize(("script", "told", "text", "code"), FAILURES)
async def test_a_failure_is_a_model_error(script: Script, told: str, text: str, code: str | None) -> None:
    async with client_at(script) as (client, _):
        events, error = await collect_until_error(AnthropicClientModel(client, "m"))
    assert isinstance(error, ModelError)
    assert str(error).startswith(told)
    assert KEY not in str(error)
    assert (text_of(events), error.code) == (text, code)
    assert not any(isinstance(event, MessageData | ToolCall) for event in events)


async def test_reasons_to_stop() -> None:
    for reason, told in (("max_tokens", "length"), ("stop_sequence", "stop"), ("pause_turn", "pause_turn")):
        async with client_at(blocks({"type": "text", "text": "x"}, reason=reason)) as (client, _):
            assert Finish(told) in await collect_all(AnthropicClientModel(client, "m"))


async def test_structured_output_and_settings() -> None:
    schema = {"type": "object", "properties": {"level": {"type": "number"}}}
    async with client_at(blocks({"type": "text", "text": '{"level":2}'})) as (client, endpoint):
        model = AnthropicClientModel(client, "m", max_tokens=99, options={"top_k": None, "odd": 1})
        settings = {"stop": "x", "temperature": 0.5, "top_k": 3, "max_completion_tokens": 7}
        for asked in (schema, {}):
            request = ModelRequest(
                [{"role": "system", "content": "Be kind"}, *HELLO.messages], "Be brief", asked, settings=settings
            )
            assert text_of(await collect_all(model, request)) == '{"level":2}'
        first, second = (exchange.body for exchange in endpoint.exchanges)
    given = first["output_config"]["format"]
    assert (given["type"], given["schema"]["additionalProperties"]) == ("json_schema", False)
    assert (first["stop_sequences"], first["temperature"], first["odd"], first["max_tokens"]) == (["x"], 0.5, 1, 7)
    assert "top_k" not in first
    assert "output_config" not in second
    assert second["system"] == "Be brief\n\nBe kind\n\nAnswer with one JSON object and nothing else."
    assert second["messages"] == list(HELLO.messages)


async def test_arguments_are_checked() -> None:
    wrong: Any = anthropic.Anthropic(api_key=KEY)
    with pytest.raises(TypeError, match=r"client is of type Anthropic: give an anthropic\.AsyncAnthropic"):
        AnthropicClientModel(wrong, "m")
    wrong.close()
    async with anthropic.AsyncAnthropic(api_key=KEY) as client:
        assert repr(AnthropicClientModel(client, "m")).startswith("AnthropicClientModel('m', base_url='https://")
        with pytest.raises(ValueError, match="model is empty"):
            AnthropicClientModel(client, "")
        with pytest.raises(ValueError, match="max_tokens is 0"):
            AnthropicClientModel(client, "m", max_tokens=0)
        _, error = await collect_until_error(AnthropicClientModel(client, "m"), ModelRequest([]))
        assert "nothing to answer" in str(error)


# --- messages ---


def test_pictures_and_documents() -> None:
    data = base64.b64encode(b"\x89PNG").decode()
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "https://x/a.png", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{data}"}},
        {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk="}},
        {"type": "file", "file": {"file_data": f"data:image/png;base64,{data}", "filename": "a.png"}},
        {"type": "file", "file": {"file_id": "file_1"}},
    ]
    [sent] = to_anthropic([{"role": "user", "content": parts}])
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": data}
    assert sent["content"] == [
        image,
        {"type": "image", "source": {"type": "url", "url": "https://x/a.png"}},
        {"type": "document", "source": pdf, "title": "a.pdf"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
        image,
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
    ]
    for part, told in (
        ({"type": "input_audio", "input_audio": {}}, "type 'input_audio', which Anthropic's models do not read"),
        ({"type": "file", "file": {}}, "neither data nor an id"),
        ({"type": "file", "file": {"file_data": "data:text/plain;base64,%"}}, "not base64"),
    ):
        with pytest.raises(ModelError, match=told):
            to_anthropic([{"role": "user", "content": [part]}])
    with pytest.raises(ModelError, match="Message 0 of the conversation has no role"):
        to_anthropic([{"content": "x"}])


def test_what_says_nothing_or_was_changed() -> None:
    assert to_anthropic([{"role": "assistant", "content": "", "reasoning": "Hm"}]) == []
    bad = {"id": "c", "function": {"name": "t", "arguments": "{"}}
    [sent] = to_anthropic([{"role": "assistant", "content": "", "tool_calls": [bad]}])
    assert sent["content"][0]["input"] == {"invalid_arguments": "{"}
    edited = {"role": "assistant", "content": "New", "anthropic": [{"type": "tool_use", "id": "gone"}]}
    assert to_anthropic([edited]) == [{"role": "assistant", "content": "New"}]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
SOME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
NAMES = st.text("abc", min_size=1, max_size=3)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
DATA = st.binary(max_size=5).map(lambda data: base64.b64encode(data).decode())
SOURCES: Any = (
    st.builds(
        lambda data, kind: {"type": "base64", "media_type": kind, "data": data},
        DATA,
        st.sampled_from(["image/png", "application/pdf"]),
    )
    | st.builds(lambda name: {"type": "url", "url": f"https://x/{name}"}, NAMES)
    | st.builds(lambda name: {"type": "file", "file_id": name}, NAMES)
    | st.builds(lambda text: {"type": "text", "media_type": "text/plain", "data": text}, TEXT)
)
TEXTS: Any = st.builds(lambda text: {"type": "text", "text": text}, SOME)
MORE: Any = st.sampled_from([{}, {"cache_control": {"type": "ephemeral"}}])
PARTS: Any = st.builds(
    lambda kind, source, more: {"type": kind, "source": source, **more},
    st.sampled_from(["image", "document"]),
    SOURCES,
    MORE | st.just({"title": "t"}),
)
RESULTS: Any = st.builds(
    lambda call_id, content, more: {"type": "tool_result", "tool_use_id": call_id, "content": content, **more},
    NAMES,
    TEXT | st.lists(TEXTS | PARTS, max_size=2),
    MORE | st.just({"is_error": True}),
)
SAID: Any = (
    TEXTS
    | st.builds(lambda text, sign: {"type": "thinking", "thinking": text, "signature": sign}, TEXT, NAMES)
    | st.builds(lambda data: {"type": "redacted_thinking", "data": data}, NAMES)
    | st.builds(
        lambda i, name, args: {"type": "tool_use", "id": i, "name": name, "input": args},
        NAMES,
        NAMES,
        st.dictionaries(NAMES, JSON, max_size=2),
    )
    | st.builds(lambda i: {"type": "server_tool_use", "id": i, "name": "web_search", "input": {}}, NAMES)
    | st.builds(lambda text: {"type": "text", "text": text, "citations": [{"cited_text": "x"}]}, SOME)
)
MESSAGES: Any = st.lists(
    st.builds(
        lambda content: {"role": "user", "content": content}, SOME | st.lists(TEXTS | PARTS, min_size=1, max_size=3)
    )
    | st.builds(
        lambda content: {"role": "assistant", "content": content}, SOME | st.lists(SAID, min_size=1, max_size=4)
    )
    | st.builds(lambda content: {"role": "user", "content": content}, st.lists(RESULTS, min_size=1, max_size=2)),
    max_size=4,
)


def merged(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join messages of results that follow each other, as the API does."""
    found: list[dict[str, Any]] = []
    for message in messages:
        if found and all(is_results(one) for one in (found[-1], message)):
            found[-1] = {**message, "content": [*found[-1]["content"], *message["content"]]}
        else:
            found.append(message)
    return found


def is_results(message: dict[str, Any]) -> bool:
    return isinstance(message["content"], list) and all(one["type"] == "tool_result" for one in message["content"])


@settings(max_examples=60, deadline=None)
@given(MESSAGES)
def test_anthropics_messages_come_back(messages: list[dict[str, Any]]) -> None:
    stored = from_anthropic(messages)
    assert to_anthropic(json.loads(json.dumps(stored))) == merged(messages)


CALLS: Any = st.builds(
    lambda i, name, args: {
        "id": i,
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(args, separators=(",", ":"), ensure_ascii=False)},
    },
    NAMES,
    NAMES,
    st.dictionaries(NAMES, JSON, max_size=2),
)
STORED: Any = st.lists(
    st.builds(
        lambda text, picture, call, result: [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": text},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
                ],
            },
            {"role": "assistant", "content": text, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": result, "name": call["function"]["name"]},
            {"role": "assistant", "content": text},
        ],
        SOME,
        DATA,
        CALLS,
        TEXT,
    ),
    max_size=3,
)


@settings(max_examples=25, deadline=None)
@given(STORED)
def test_stored_messages_come_back(turns: list[list[dict[str, Any]]]) -> None:
    stored = [message for turn in turns for message in turn]
    names: dict[str, str] = {}
    for message in stored:  # an id that is used again names the last tool that had it
        names |= {call["id"]: call["function"]["name"] for call in message.get("tool_calls", ())}
        if message["role"] == "tool":
            message["name"] = names[message["tool_call_id"]]
    assert from_anthropic(to_anthropic(stored)) == stored
