from __future__ import annotations

import asyncio
import json
import math
from typing import Any, Literal

import httpx2
import pytest

from aibind.errors import ModelError
from aibind.models import Finish, ModelEvent, ModelRequest, OpenAIModel, ReasoningDelta, TextDelta, ToolCall, Usage
from tests.support.endpoint import Endpoint, Exchange, Reply, delta, every, failure, texts, usage
from tests.support.models import PATIENCE_S

from .helpers import HELLO, ask, calls_of, collect, collect_all, collect_until_error, model_at, text_of, usage_of


async def answer(reply: Reply, request: ModelRequest = HELLO, **options: Any) -> list[ModelEvent]:
    async with Endpoint(reply) as endpoint, model_at(endpoint, **options) as model:
        return await collect(model, request)


async def sent(request: ModelRequest = HELLO, **options: Any) -> dict[str, Any]:
    """Return the body that goes out for a request."""
    async with Endpoint(Reply(texts("ok"))) as endpoint, model_at(endpoint, **options) as model:
        await collect(model, request)
        body: dict[str, Any] = endpoint.exchanges[0].body
        return body


# --- what comes back -------------------------------------------------------------------------------------------------


async def test_text_comes_at_the_endpoints_boundaries() -> None:
    reply = Reply([*texts("Grüße", ",", " ", "世", "界 👩🏽‍🚀\n\n", "| a |"), usage(7, 6)])
    assert await answer(reply) == [
        *map(TextDelta, ["Grüße", ",", " ", "世", "界 👩🏽‍🚀\n\n", "| a |"]),
        Usage(input_tokens=7, output_tokens=6),
    ]


async def test_chunks_that_say_nothing_give_no_event() -> None:
    data = [
        json.dumps({"choices": [], "prompt_filter_results": []}),
        delta(role="assistant"),
        delta(role="assistant", content=""),
        delta(content=None, reasoning_content=None, tool_calls=None, refusal=None),
        delta(content="a"),
        json.dumps({"choices": [{"index": 0}]}),
        json.dumps({"choices": [{"index": 0, "delta": None, "finish_reason": ""}], "usage": None, "error": None}),
        json.dumps({"id": "x"}),
        json.dumps({"choices": [{"index": 1, "delta": {"content": "another choice"}}]}),
        delta(content="b"),
        delta("stop"),
    ]
    assert await answer(Reply(data)) == [TextDelta("a"), TextDelta("b")]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [None, 1, 3, 10_000])
@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_the_wire_may_be_cut_anywhere(
    newline: str, size: int | None, framing: Literal["chunked", "close"]
) -> None:
    reply = Reply(
        [*texts("Grüße 👋🏽", " und\n", "世界"), usage(1, 2)],
        newline=newline,
        comment="keep-alive",
        split=every(size) if size else None,
        framing=framing,
    )
    events = await answer(reply)
    assert text_of(events) == "Grüße 👋🏽 und\n世界"
    assert usage_of(events) == Usage(1, 2)


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
async def test_reasoning_is_told_from_text(key: str) -> None:
    data = [delta(**{key: "let me "}), delta(**{key: "think", "content": ""}), *texts("42")]
    assert await answer(Reply(data)) == [ReasoningDelta("let me "), ReasoningDelta("think"), TextDelta("42")]


async def test_reasoning_under_two_names_is_not_doubled() -> None:
    assert await answer(Reply([delta(reasoning="hm", reasoning_content="hm"), delta("stop")])) == [ReasoningDelta("hm")]


async def test_content_in_parts_is_read() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    data = [delta(content=[thinking]), delta(content=[{"type": "text", "text": "42"}, {"type": "reference"}])]
    assert await answer(Reply([*data, delta("stop")])) == [ReasoningDelta("hm"), TextDelta("42")]


async def test_a_character_cut_in_halves_is_joined() -> None:
    halves = [r'{"choices":[{"delta":{"content":"a\ud83d"}}]}', r'{"choices":[{"delta":{"content":"\ude00b"}}]}']
    assert text_of(await answer(Reply([*halves, delta("stop")]))) == "a😀b"
    assert text_of(await answer(Reply([halves[0], delta("stop")]))) == "a\ufffd"
    assert text_of(await answer(Reply([halves[1], delta("stop")]))) == "\ufffdb"


async def test_usage_comes_last_and_once() -> None:
    data = [usage(5, 1), delta(content="a"), usage(5, 2), delta("stop"), usage(5, 3), json.dumps({"choices": []})]
    assert await answer(Reply(data)) == [TextDelta("a"), Usage(5, 3)]


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        ({"x_groq": {"id": "r", "usage": {"prompt_tokens": 3, "completion_tokens": 4}}}, Usage(3, 4)),
        ({"usage": {"prompt_tokens": 3}}, Usage(3, 0)),
        ({"usage": {"input_tokens": 3, "output_tokens": 4.0}}, Usage(3, 4)),
        ({"usage": {"prompt_tokens": None, "completion_tokens": 4}}, Usage(0, 4)),
        ({"usage": {}}, None),
        ({"usage": {"total_tokens": "many"}}, None),
        ({"usage": [1]}, None),
        ({"usage": {"prompt_tokens": math.inf, "completion_tokens": 10**400}}, Usage(0, 10**400)),
    ],
)
async def test_usage_in_its_dialects(chunk: dict[str, Any], expected: Usage | None) -> None:
    assert usage_of(await answer(Reply([*texts("a"), json.dumps(chunk)]))) == expected


async def test_an_answer_in_one_piece_is_understood() -> None:
    message = {"role": "assistant", "content": "Hello", "tool_calls": [_piece(None, "c1", "f", "{}")]}
    whole = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    reply = Reply(body=json.dumps(whole, indent=1).encode(), content_type="application/json; charset=utf-8")
    assert await answer(reply) == [TextDelta("Hello"), ToolCall("c1", "f", "{}"), Usage(1, 2)]


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/octet-stream"])
async def test_a_stream_of_another_type_is_read(content_type: str | None) -> None:
    assert text_of(await answer(Reply(texts("a"), content_type=content_type))) == "a"


async def test_done_is_the_end_whatever_follows() -> None:
    data = [delta(content="a"), "[DONE]", delta(content="b")]
    assert await answer(Reply(data)) == [TextDelta("a")]
    assert await answer(Reply(data, split=every(10_000))) == [TextDelta("a")]


async def test_a_last_message_without_a_blank_line_counts() -> None:
    body = f"data: {delta(content='a')}\n\ndata: [DONE]".encode()
    assert await answer(Reply(body=body)) == [TextDelta("a")]


@pytest.mark.parametrize("reason", ["stop", "length", "model_length", "eos", "tool_calls", "something_new"])
async def test_reasons_that_end_an_answer_normally(reason: str) -> None:
    data = [*texts("as far as it", finish=reason), usage(1, 4)]
    async with Endpoint(Reply(data, done=False)) as endpoint, model_at(endpoint) as model:
        assert await collect_all(model) == [TextDelta("as far as it"), Finish(reason), Usage(1, 4)]


async def test_a_refusal_is_text() -> None:
    data = [delta(refusal="I cannot"), delta(refusal=" do that."), delta("stop")]
    assert text_of(await answer(Reply(data))) == "I cannot do that."


async def test_an_endpoint_that_says_no_more_after_its_reason_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aibind.models.endpoint_client._MAX_TAIL_S", 0.05)
    async with asyncio.timeout(PATIENCE_S):
        assert await answer(Reply(texts("a"), stall_after=3), timeout_s=60) == [TextDelta("a")]


async def test_an_answer_cut_after_its_reason_is_whole() -> None:
    assert await answer(Reply([*texts("a"), usage(1, 2)], cut_after=3)) == [TextDelta("a")]
    body = "".join(f"data: {data}\n\n" for data in texts("a")) + 'data: {"choi'
    assert await answer(Reply(body=body.encode(), framing="close")) == [TextDelta("a")]


# --- tool calls ------------------------------------------------------------------------------------------------------


def _piece(
    index: int | None, identity: str | None = None, name: str | None = None, arguments: Any = None
) -> dict[str, Any]:
    piece = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return piece | ({} if index is None else {"index": index}) | ({} if identity is None else {"id": identity})


ROME = ToolCall("a", "weather", '{"city": "Rome"}')
TIME = ToolCall("b", "time", "{}")
SPACED = '{ "city":\n"Rome" }'

TOOL_CALLS = {
    "in pieces": (
        [
            [_piece(0, "a", "weather", "")],
            [_piece(0, arguments='{"city"')],
            [_piece(0, arguments=': "Rome"}')],
            [_piece(1, "b", "time", "{}")],
        ],
        [ROME, TIME],
    ),
    "interleaved": (
        [
            [_piece(0, "a", "weather", '{"city": '), _piece(1, "b", "time", "")],
            [_piece(1, arguments="{}"), _piece(0, arguments='"Rome"}')],
        ],
        [ROME, TIME],
    ),
    "id and name repeated": (
        [
            [_piece(0, "a", "weather", '{"city"')],
            [_piece(0, "a", "weather", ': "Rome"}')],
            [_piece(1, "b", "time", "{}")],
        ],
        [ROME, TIME],
    ),
    "index always 0": ([[_piece(0, "a", "weather", ROME.arguments)], [_piece(0, "b", "time", "{}")]], [ROME, TIME]),
    "no index": ([[_piece(None, "a", "weather", ROME.arguments), _piece(None, "b", "time", "{}")]], [ROME, TIME]),
    "no index, in pieces": (
        [
            [_piece(None, "a", "weather", '{"city": ')],
            [_piece(None, arguments='"Rome"}')],
            [_piece(None, "b", "time", "{}")],
        ],
        [ROME, TIME],
    ),
    "arguments as an object": (
        [[_piece(0, "a", "weather", {"city": "Rome"})], [_piece(1, "b", "time", {})]],
        [ROME, TIME],
    ),
    "exactly as sent": ([[_piece(0, "a", "weather", SPACED)]], [ToolCall("a", "weather", SPACED)]),
    "arguments before the name": (
        [[_piece(0, arguments='{"city"')], [_piece(0, "a", "weather", ': "Rome"}')], [_piece(1, "b", "time", "{}")]],
        [ROME, TIME],
    ),
    "second before the first": (
        [[_piece(1, "a", "weather", '{"city": ')], [_piece(0, "b", "time", "{}")], [_piece(1, arguments='"Rome"}')]],
        [ROME, TIME],
    ),
    "no arguments": ([[_piece(0, "a", "now", None)]], [ToolCall("a", "now", "")]),
}


@pytest.mark.parametrize("name", TOOL_CALLS)
async def test_tool_calls_are_put_together(name: str) -> None:
    pieces, expected = TOOL_CALLS[name]
    data = [delta(content="Let me see."), *(delta(tool_calls=piece) for piece in pieces), delta("tool_calls")]
    assert await answer(Reply([*data, usage(1, 2)])) == [TextDelta("Let me see."), *expected, Usage(1, 2)]


async def test_a_tool_call_without_an_id_gets_one() -> None:
    data = [delta(tool_calls=[_piece(0, "", "f", "{}"), _piece(3, None, "g", "{}")]), delta("tool_calls")]
    first, second = calls_of(await answer(Reply(data)))
    assert (first.name, second.name) == ("f", "g")
    assert first.id.startswith("call_")
    assert first.id != second.id


# --- what goes out ---------------------------------------------------------------------------------------------------


async def test_the_request_is_chat_completions() -> None:
    request = ModelRequest(
        [{"role": "user", "content": "héllo \ud800"}],
        system="Be brief.",
        tools=[
            {"name": "f", "description": "d", "parameters": {"type": "object"}},
            {"type": "function", "function": {"name": "g"}},
        ],
    )
    async with (
        Endpoint(Reply(texts("ok"))) as endpoint,
        model_at(endpoint, api_key="sk-1 ", headers={"X-Team": "blue"}) as model,
    ):
        await collect(model, request)
        [exchange] = endpoint.exchanges
    assert (exchange.method, exchange.path) == ("POST", "/v1/chat/completions")
    assert exchange.headers["authorization"] == "Bearer sk-1"
    assert exchange.headers["x-team"] == "blue"
    assert exchange.headers["content-type"] == "application/json"
    assert exchange.headers["accept-encoding"] == "identity"
    assert "héllo ?" in exchange.raw.decode()
    assert exchange.body == {
        "model": "some-model",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "héllo ?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}},
            {"type": "function", "function": {"name": "g"}},
        ],
    }


async def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-this-endpoint")
    async with Endpoint(Reply(texts("ok"))) as endpoint, model_at(endpoint) as model:
        await collect(model)
        assert "authorization" not in endpoint.exchanges[0].headers


async def test_messages_are_sent_without_what_is_ours() -> None:
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
    whole = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    other = {"id": "2", "type": "function", "function": {"name": "g", "arguments": '{"a":1}'}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": parts, "name": "ann", "id": "n1", "createdAt": 5, "metadata": {}},
        {"role": "assistant", "content": "", "reasoning": "hm", "usage": {}},
        {"role": "assistant", "content": "hi", "tool_calls": []},
        {"role": "assistant", "content": None, "tool_calls": [whole, {"id": "2", "name": "g", "arguments": '{"a":1}'}]},
        {"role": "tool", "tool_call_id": "1", "content": "", "toolName": "f"},
        {"role": "user"},
    ]
    assert (await sent(ModelRequest(messages)))["messages"] == [
        {"role": "user", "content": parts, "name": "ann"},
        {"role": "assistant", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [whole, other]},
        {"role": "tool", "content": "", "tool_call_id": "1"},
        {"role": "user", "content": ""},
    ]


async def test_structured_output_asks_for_a_schema() -> None:
    schema = {"title": "My answer!", "type": "object"}
    body = await sent(ask("hi", json_schema=schema))
    wanted = {"name": "My_answer", "schema": schema, "strict": False}
    assert body["response_format"] == {"type": "json_schema", "json_schema": wanted}
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    untitled = await sent(ask("hi", json_schema={"type": "object"}))
    assert untitled["response_format"]["json_schema"]["name"] == "answer"


async def test_an_empty_schema_asks_for_any_object() -> None:
    body = await sent(ask("hi", json_schema={}, system="Be brief."))
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0]["content"].startswith("Be brief.\n\n")
    assert "JSON" in body["messages"][0]["content"]


async def test_an_endpoint_that_knows_json_object_only_gets_the_schema_in_words() -> None:
    body = await sent(ask("hi", json_schema={"type": "object", "required": ["größe"]}), structured="json_object")
    assert body["response_format"] == {"type": "json_object"}
    assert '"required": ["größe"]' in body["messages"][0]["content"]


async def test_extra_body_is_laid_over_the_request() -> None:
    body = await sent(extra_body={"temperature": 0, "stream_options": None, "model": "another"})
    assert body["temperature"] == 0
    assert body["model"] == "another"
    assert "stream_options" not in body


async def test_the_settings_of_a_request_are_sent() -> None:
    body = await sent(ask("hello", settings={"temperature": 0, "top_p": 1}), extra_body={"top_p": None})
    assert body["temperature"] == 0
    assert "top_p" not in body  # what the model was made with has the last word


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("", "/chat/completions"),
        (" /", "/chat/completions"),
        ("/deployments/d?api-version=1", "/deployments/d/chat/completions?api-version=1"),
    ],
)
async def test_a_base_url_in_any_form(base: str, path: str) -> None:
    async with Endpoint(Reply(texts("ok"))) as endpoint:
        async with OpenAIModel("m", base_url=f"{endpoint.origin}{base.strip()}") as model:
            await collect(model)
        assert endpoint.exchanges[0].path == path


async def test_an_endpoint_that_refuses_stream_options_is_asked_without() -> None:
    def mistral(exchange: Exchange) -> Reply:
        if "stream_options" not in exchange.body:
            return Reply(texts("Bonjour"))
        refused = {
            "type": "extra_forbidden",
            "loc": ["body", "stream_options"],
            "msg": "Extra inputs are not permitted",
        }
        body = json.dumps({"object": "error", "message": {"detail": [refused]}, "code": None}).encode()
        return Reply(status=422, body=body, content_type="application/json")

    async with Endpoint(mistral) as endpoint, model_at(endpoint, max_retries=0) as model:
        assert text_of(await collect(model)) == "Bonjour"
        assert len(endpoint.exchanges) == 2
        assert text_of(await collect(model)) == "Bonjour"  # and it is remembered
        assert len(endpoint.exchanges) == 3


# --- connections -----------------------------------------------------------------------------------------------------


async def test_a_connection_is_used_again() -> None:
    async with Endpoint(Reply(texts("a"))) as endpoint, model_at(endpoint) as model:
        for _ in range(3):
            await collect(model)
        assert [exchange.connection for exchange in endpoint.exchanges] == [1, 1, 1]


async def test_a_connection_is_used_again_after_an_error_answer() -> None:
    async with Endpoint(failure(400, "no"), Reply(texts("a"))) as endpoint, model_at(endpoint) as model:
        await collect_until_error(model)
        await collect(model)
        assert endpoint.connections == 1


async def test_an_idle_connection_that_the_endpoint_closed_is_replaced() -> None:
    reply = Reply(texts("a"), framing="close")
    async with Endpoint(reply) as endpoint, model_at(endpoint) as model:
        for _ in range(3):
            assert text_of(await collect(model)) == "a"
        assert endpoint.connections == 3


async def test_as_many_connections_as_there_are_replies() -> None:
    async with Endpoint(Reply(texts("a", "b"), stall_after=2)) as endpoint, model_at(endpoint) as model:
        replies = [model.stream(HELLO) for _ in range(120)]
        assert set(await asyncio.gather(*map(anext, replies))) == {TextDelta("a")}
        assert endpoint.connections == 120
        await asyncio.gather(*(reply.aclose() for reply in replies))


async def test_many_replies_at_once_are_not_mixed_up() -> None:
    def script(exchange: Exchange) -> Reply:
        return Reply(texts(*exchange.body["messages"][0]["content"]), delay_s=0.005)

    async with Endpoint(script) as endpoint, model_at(endpoint) as model:
        asked = [f"question {number}" for number in range(40)]
        answers = await asyncio.gather(*(collect(model, ask(text)) for text in asked))
        assert list(map(text_of, answers)) == asked


async def test_closing_the_iterator_disconnects_at_once() -> None:
    async with Endpoint(Reply(texts("a", "b", "c"), stall_after=2)) as endpoint, model_at(endpoint) as model:
        events = model.stream(HELLO)
        assert await anext(events) == TextDelta("a")
        await events.aclose()
        [exchange] = endpoint.exchanges
        async with asyncio.timeout(PATIENCE_S):
            await exchange.disconnected.wait()
        assert not exchange.finished


@pytest.mark.parametrize(
    "reply", [Reply(texts("a", "b"), stall_after=2), Reply(silent=True)], ids=["in the text", "before it"]
)
async def test_cancelling_the_task_disconnects_at_once(reply: Reply) -> None:
    async with Endpoint(reply) as endpoint, model_at(endpoint) as model:
        task = asyncio.create_task(collect(model))
        async with asyncio.timeout(PATIENCE_S):
            while not endpoint.exchanges:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await endpoint.exchanges[0].disconnected.wait()


async def test_closing_the_model_ends_its_replies_and_takes_no_more() -> None:
    async with Endpoint(Reply(texts("a", "b"), stall_after=2)) as endpoint:
        model = model_at(endpoint)
        events = model.stream(HELLO)
        await anext(events)
        await model.aclose()
        async with asyncio.timeout(PATIENCE_S):
            await endpoint.exchanges[0].disconnected.wait()
        await events.aclose()
        await model.aclose()
        _, error = await collect_until_error(model)
        assert isinstance(error, ModelError)
        assert "closed" in str(error)


async def test_a_client_that_was_given_is_used_and_stays_open() -> None:
    async with Endpoint(Reply(texts("a"))) as endpoint:
        async with httpx2.AsyncClient(headers={"X-Mine": "yes"}, trust_env=False) as client:
            async with model_at(endpoint, client=client) as model:
                await collect(model)
            assert not client.is_closed
        assert endpoint.exchanges[0].headers["x-mine"] == "yes"


async def test_a_loopback_address_is_never_sent_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert text_of(await answer(Reply(texts("a")))) == "a"


# --- making one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": ""}, "model"),
        ({"base_url": "localhost:11434/v1"}, "http://localhost:11434/v1"),
        ({"base_url": "ftp://example.com"}, "http://"),
        ({"base_url": "http://"}, "host"),
        ({"base_url": ""}, "host"),
        ({"base_url": "http://example.com:99999"}, "base_url"),
        ({"base_url": "http://[::1"}, "base_url"),
        ({"base_url": "http://exa mple.com"}, "base_url"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"connect_timeout_s": -1}, "connect_timeout_s"),
        ({"max_retries": -1}, "max_retries"),
        ({"backoff_s": -1}, "backoff_s"),
        ({"structured": "yaml"}, "structured"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "sk-one\nsk-two"}, "api_key"),
        ({"headers": {"X-Thing": "a\r\nb"}}, "X-Thing"),
        ({"headers": {"X Thing": "a"}}, "X Thing"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        OpenAIModel(**{"model": "m", **options})
    assert "sk-one" not in str(caught.value)


async def test_a_repr_gives_nothing_away() -> None:
    url = "https://user:hunter22@example.com/v1?api-key=query-secret"
    model = OpenAIModel("m", base_url=url, api_key="sk-secret-1", headers={"X-Api-Key": "sk-secret-2"})
    assert repr(model) == "OpenAIModel('m', base_url='https://example.com/v1')"
    await model.aclose()


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (ModelRequest([]), "no messages"),
        (ModelRequest([{"content": "hi"}]), "Message 0 .* role"),
        (ModelRequest([{"role": "user", "content": "a"}, {"role": "user", "content": 5}]), "message 1 is int"),
        (ask("hi", tools=[{"name": object()}]), "JSON"),
        (ask("hi", json_schema={"maximum": float("nan")}), "JSON"),
    ],
)
async def test_a_request_that_cannot_be_sent_is_a_model_error(request_: ModelRequest, says: str) -> None:
    async with Endpoint(Reply(texts("ok"))) as endpoint, model_at(endpoint) as model:
        with pytest.raises(ModelError, match=says):
            await collect(model, request_)
        assert not endpoint.exchanges
