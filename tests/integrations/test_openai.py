"""Streams of OpenAI's own client as models, against a loopback endpoint that replays recordings."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("openai")

import httpx2
import openai
from hypothesis import given, settings
from hypothesis import strategies as st

from aibind.conversations import MemoryConversationStore
from aibind.errors import ModelError, ModelTimeoutError
from aibind.integrations.openai import OpenAIClientModel, openai_events
from aibind.models import CustomEvent, ModelRequest, TextDelta
from aibind.models.chat import chat_body
from aibind.server import StreamHandler
from tests.models.helpers import collect_all, collect_until_error, model_at, text_of
from tests.support.endpoint import Endpoint, Exchange, Reply, Script, delta, failure, texts
from tests.support.recordings import CHAT_RECORDINGS, RESPONSES_RECORDINGS, read_recording

from .support import TIDE, ask, ask_and_resume_everywhere, check_stop

KEY = "sk-very-secret"
APIS = ("chat_completions", "responses")
NAMES = {"chat_completions": CHAT_RECORDINGS, "responses": RESPONSES_RECORDINGS}
CASES: list[Any] = [
    pytest.param(api, *name.values, marks=name.marks) if not isinstance(name, str) else (api, name)
    for api in APIS
    for name in NAMES[api]
]


@asynccontextmanager
async def client_at(*script: Script, **options: Any) -> AsyncIterator[tuple[Any, Endpoint]]:
    options = {"timeout": 30, "max_retries": 0, "api_key": KEY, **options}
    async with (
        Endpoint(*script) as endpoint,
        httpx2.AsyncClient(verify=False, trust_env=False) as http,  # reading certificates takes longer than a test
        openai.AsyncOpenAI(base_url=endpoint.base_url, http_client=http, **options) as client,
    ):
        yield client, endpoint


def recorded(name: str, **fields: Any) -> Reply:
    return Reply(read_recording(name), done=not name.startswith("responses"), **fields)


@pytest.mark.parametrize(("api", "name"), CASES)
async def test_a_recording_gives_the_events_of_the_built_in_model(api: str, name: str) -> None:
    async def events_of(model: Any) -> tuple[Any, str]:
        try:
            return await collect_all(model), ""
        except ModelError as error:
            return None, f"{error} {error.code}"

    async with client_at(recorded(name)) as (client, endpoint), model_at(endpoint, api=api) as built_in:
        model = OpenAIClientModel(client, "some-model", api=api)
        for _ in range(2):
            assert await events_of(model) == await events_of(built_in)
        ours, theirs = endpoint.exchanges[:2]
        assert (ours.path, ours.body) == (theirs.path, theirs.body)
        assert endpoint.connections == 2 or "error" in name  # each client uses one for both of its requests


@pytest.mark.parametrize(
    ("api", "call", "answer"),
    [
        ("chat_completions", "chat-tool-call-whole", "chat-reasoning"),
        ("responses", "responses-function-call", "responses-summary"),
    ],
)
async def test_a_conversation_with_a_tool(api: str, call: str, answer: str) -> None:
    """Every prefix of the reply can be resumed, and the next turn sees the history."""
    async with client_at(recorded(call), recorded(answer)) as (client, endpoint):
        handler = StreamHandler(
            model=OpenAIClientModel(client, "m", api=api),
            resumable=True,
            conversations=MemoryConversationStore(),
            toolsets={"sea": [TIDE]},
            settings={"temperature": 0.5},
        )
        events = await ask_and_resume_everywhere(handler, sessionId="s", toolset="sea", system="Be brief")
        names = [name for name, _ in events]
        assert [name for name in names if name != "reasoning"] == ["tool_call", "tool_result", "", "usage", "done"]
        assert "reasoning" in names[2:]
        assert json.loads(dict(events)["tool_call"])["args"] == {"harbour": "Tórshavn", "when": "today"}
        assert json.loads(dict(events)["tool_result"])["result"]["high"] == "12:04"
        await ask(handler, "Again?", sessionId="s", toolset="sea")
        await handler.aclose()
        first, second, third = (exchange.body for exchange in endpoint.exchanges)
    assert first["temperature"] == 0.5
    said = third["messages" if api == "chat_completions" else "input"]
    kinds = [item.get("type") or item["role"] for item in said]
    if api == "chat_completions":
        assert second["messages"][-1]["tool_call_id"] == second["messages"][-2]["tool_calls"][0]["id"]
        assert kinds == ["user", "assistant", "tool", "assistant", "user"]
    else:
        assert first["instructions"] == "Be brief"
        assert [item.get("type") for item in second["input"]] == [None, "function_call", "function_call_output"]
        assert kinds == ["user", "function_call", "function_call_output", "assistant", "user"]


@pytest.mark.parametrize("api", APIS)
async def test_a_stop_closes_the_clients_stream(api: str) -> None:
    name = "chat-markdown" if api == "chat_completions" else "responses-text"
    async with client_at(recorded(name, delay_s=0.02)) as (client, endpoint):
        handler = StreamHandler(model=OpenAIClientModel(client, "m", api=api), resumable=True)
        await check_stop(handler, endpoint)
        await handler.aclose()


SECRET = json.dumps({"error": {"message": f"{KEY} is overloaded", "code": "overloaded"}})
ENDPOINT = "The model's endpoint"
CUT = "The model's reply was cut off: the connection ended before the reply did"
FAILURES: list[tuple[Script, str, str, bool]] = [
    (failure(401, f"bad key {KEY}"), f"{ENDPOINT} answered 401 (check the API key): bad key [redacted]", "", False),
    (failure(429, "slow", code="rate_limit_exceeded"), "The model's endpoint answered 429: slow", "", True),
    (
        Reply([delta(content="Half"), SECRET]),
        f"{ENDPOINT} broke off with an error: [redacted] is overloaded",
        "Half",
        True,
    ),
    (Reply(texts("Half", " an"), cut_after=2), CUT, "Half", True),
    (Reply(["{x"]), "The model's endpoint sent a data line that is not JSON: '{x'", "", True),
    (Reply([], done=False), f"{ENDPOINT} sent an empty answer: check base_url and the model's name", "", False),
    (
        Reply([delta(content="x"), delta("content_filter")]),
        "The endpoint's content filter stopped the answer",
        "x",
        False,
    ),
    (Reply(hang_up=True), f"{ENDPOINT} cannot be reached: Server disconnected without sending a response.", "", True),
]


@pytest.mark.parametrize(("script", "told", "text", "retryable"), FAILURES)
async def test_a_failure_is_a_model_error(
    script: Script, told: str, text: str, retryable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_at(script) as (client, _):
        events, error = await collect_until_error(OpenAIClientModel(client, "m"))
        assert isinstance(error, ModelError)
        assert (str(error), text_of(events), error.retryable) == (told, text, retryable)
        events, error = await collect_until_error(Direct(client))
        assert (str(error), text_of(events)) == (told, text)
        assert KEY not in str(error)
    assert not [record for record in caplog.records if record.name == "aibind" and record.levelno > logging.INFO]


class Direct:
    """A model that makes its request itself."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def stream(self, request: ModelRequest) -> Any:
        messages: Any = list(request.messages)
        return openai_events(self._client.chat.completions.create(model="m", messages=messages, stream=True))


async def test_a_silent_endpoint_times_out_as_the_client_says() -> None:
    for reply, told in (
        (Reply(silent=True), "The model's endpoint sent nothing"),
        (Reply(texts("a", "b"), stall_after=2), "The model's reply was cut off: the endpoint sent nothing"),
    ):
        async with client_at(reply, timeout=0.2) as (client, _):
            _, error = await collect_until_error(OpenAIClientModel(client, "m"))
        assert isinstance(error, ModelTimeoutError)
        assert str(error).startswith(told)


async def test_a_finished_reply_is_whole_whatever_becomes_of_the_connection() -> None:
    async with client_at(Reply(texts("Whole"), cut_after=3)) as (client, _):
        assert text_of(await collect_all(OpenAIClientModel(client, "m"))) == "Whole"


async def test_a_client_that_cannot_send() -> None:
    client = openai.AsyncOpenAI(api_key=KEY, base_url="http://127.0.0.1:9/v1", max_retries=0)
    _, error = await collect_until_error(OpenAIClientModel(client, "m"))
    assert str(error).startswith("The model's endpoint cannot be reached: ")
    await client.close()
    _, error = await collect_until_error(OpenAIClientModel(client, "m"))
    assert str(error) == "The model's client was closed: create another one"


@pytest.mark.parametrize("name", ["chat-tool-calls-in-pieces", "responses-web-search"])
async def test_a_stream_of_ones_own_is_a_model_in_one_line(name: str) -> None:
    messages: Any = [{"role": "user", "content": "x"}]
    async with client_at(recorded(name)) as (client, _):
        api = "responses" if name.startswith("responses") else "chat_completions"
        handler = StreamHandler(
            model=lambda request: openai_events(
                client.responses.create(model="m", input=messages, stream=True)
                if api == "responses"
                else client.chat.completions.create(model="m", messages=messages, stream=True)
            )
        )
        events = await ask(handler)
        wanted = await ask(StreamHandler(model=OpenAIClientModel(client, "m", api=api)))
        assert [event for event in events if event[0] != "usage"] == [one for one in wanted if one[0] != "usage"]
        assert ("citation" in dict(events)) == (api == "responses")
        opened = await client.chat.completions.create(model="m", messages=messages, stream=True)
        iterator = openai_events(opened)
        await anext(iterator)
        await iterator.aclose()
        assert opened.response.is_closed


async def test_what_is_not_a_stream_of_the_client_is_refused() -> None:
    async def words() -> AsyncIterator[Any]:
        yield "x"

    with pytest.raises(TypeError, match="yielded str: give what create"):
        await anext(openai_events(words()))


async def test_citations_of_chat_completions_are_events() -> None:
    citation = {"type": "url_citation", "url_citation": {"url": "https://tides.example"}}
    reply = Reply([delta(content="High water", annotations=[citation]), delta("stop")])
    async with client_at(reply) as (client, _):
        events = await collect_all(OpenAIClientModel(client, "m"))
    assert events[:2] == [TextDelta("High water"), CustomEvent("citation", citation)]


@pytest.mark.parametrize("api", APIS)
async def test_structured_output_and_options(api: str) -> None:
    schema = {"title": "Sea", "type": "object", "properties": {"level": {"type": "number"}}}

    def answer(exchange: Exchange) -> Reply:
        if exchange.path.endswith("/responses"):
            text = {"type": "response.output_text.delta", "delta": '{"level":2}'}
            end = {"type": "response.completed", "response": {"id": "r", "output": [], "status": "completed"}}
            return Reply([json.dumps(text), json.dumps(end)], done=False)
        return Reply(texts('{"level"', ":2}"))

    async with client_at(answer) as (client, endpoint):
        options = {"stream_options": None, "top_p": 0.5, "odd": 1, "extra_body": {"more": 2}}
        model = OpenAIClientModel(client, "m", api=api, options=options)
        events = dict(await ask(StreamHandler(model=_structured(model, schema))))
        assert events[""] == '{"level":2}'
        body = endpoint.exchanges[0].body
    assert (body["top_p"], body["odd"], body["more"]) == (0.5, 1, 2)
    assert "stream_options" not in body
    asked = body["response_format"]["json_schema"] if api == "chat_completions" else body["text"]["format"]
    assert (asked["name"], asked["schema"]) == ("Sea", schema)


def _structured(model: Any, schema: Any) -> Any:
    return lambda request: model.stream(ModelRequest(request.messages, json_schema=schema))


async def test_arguments_are_checked() -> None:
    wrong: Any = openai.OpenAI(api_key=KEY)
    with pytest.raises(TypeError, match=r"client is of type OpenAI: give an openai\.AsyncOpenAI"):
        OpenAIClientModel(wrong, "m")
    async with openai.AsyncOpenAI(api_key=KEY, base_url="https://user:word@example.com/v1") as client:
        assert repr(OpenAIClientModel(client, "m")) == "OpenAIClientModel('m', base_url='https://example.com/v1/')"
        wrong_options: list[tuple[dict[str, Any], str]] = [
            ({"model": ""}, "model is empty"),
            ({"api": "chat"}, "api is 'chat': give"),
            ({"structured": "x"}, "structured is 'x'"),
        ]
        for options, told in wrong_options:
            with pytest.raises(ValueError, match=told):
                OpenAIClientModel(client, **{"model": "m", **options})
    wrong.close()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
PARTS = st.lists(
    st.builds(lambda text: {"type": "text", "text": text}, TEXT)
    | st.builds(lambda url: {"type": "image_url", "image_url": {"url": f"https://x/{url}"}}, st.text("abc")),
    min_size=1,
    max_size=3,
)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(TEXT | PARTS, TEXT, TEXT, TEXT), min_size=1, max_size=3))
def test_the_history_that_is_sent_loses_nothing_but_reasoning(turns: list[tuple[Any, str, str, str]]) -> None:
    stored: list[dict[str, Any]] = []
    for number, (question, text, arguments, result) in enumerate(turns):
        call = {"id": f"c{number}", "type": "function", "function": {"name": "t", "arguments": json.dumps([arguments])}}
        stored += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": text, "tool_calls": [call], "reasoning": text},
            {"role": "tool", "tool_call_id": f"c{number}", "content": result, "name": "t"},
            {"role": "assistant", "content": text},
        ]
    sent = chat_body("m", ModelRequest(stored))["messages"]
    assert sent == [{key: value for key, value in one.items() if key != "reasoning"} for one in stored]
