"""The models that a handler is given: what is refused when it is made, and what when a model answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from aibind.conversations import MemoryConversationStore
from aibind.errors import ModelError, RequestError
from aibind.models import (
    CustomEvent,
    EchoModel,
    Finish,
    MessageData,
    Model,
    ModelEvent,
    ModelFunction,
    ModelRequest,
    ReasoningDelta,
    ReplyReference,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    can_resume,
)
from aibind.models.chat import chat_body
from aibind.server import Access, Endpoints, HttpResponse, StreamHandler, Tool
from aibind.server.answers import Answer
from aibind.server.models import Models, ask_model, resume_model
from aibind.streams import SseParser, StreamEvent
from tests.support.models import PATIENCE_S, ScriptedModel

both_ways = pytest.mark.parametrize("resumable", [False, True], ids=["plain", "resumable"])

EXPECTED = (
    "give an object with stream(request), such as EchoModel(), or a function that returns an async iterator, "
    "such as an async generator function"
)
MESSAGES = [{"role": "user", "content": "x"}]
HELLO = ModelRequest([{"role": "user", "content": "Hello"}])


async def events_of(reply: HttpResponse[Any]) -> list[tuple[str, str]]:
    assert not isinstance(reply.body, bytes), reply.body
    parser = SseParser()
    messages = [message async for data in reply.body for message in parser.feed(data)]
    return [(message.event, message.data) for message in messages if message.event != "stream-id"]


# --- given to the handler ---


async def answer(request: ModelRequest) -> str:
    return "x"


def pieces(request: ModelRequest) -> Iterator[str]:
    yield "x"


async def echo(request: ModelRequest) -> AsyncIterator[str]:
    yield request.messages[-1]["content"]


class Streamless:
    stream = "not a method"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (answer, "a coroutine function"),
        (pieces, "a generator function"),
        (echo(HELLO), "of type async_generator"),
        (EchoModel, "the class EchoModel"),
        (Streamless(), "of type Streamless"),
        ("gpt-9", "of type str"),
        (partial(answer), "a coroutine function"),
        (["x"], "of type list"),
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


# --- functions ---


class Callable:
    async def __call__(self, request: ModelRequest) -> AsyncIterator[str]:
        yield "called " + request.messages[-1]["content"]


class Words:
    """An async iterable that is no iterator, as some clients have."""

    def __init__(self, *words: str) -> None:
        self._words = words

    async def __aiter__(self) -> AsyncIterator[str]:
        for word in self._words:
            yield word


async def prefixed(prefix: str, request: ModelRequest) -> AsyncIterator[str | ModelEvent]:
    yield prefix
    yield TextDelta(request.messages[-1]["content"])


@both_ways
@pytest.mark.parametrize(
    ("function", "text"),
    [
        (echo, "Hello"),
        (partial(prefixed, "a "), "a Hello"),
        (Callable(), "called Hello"),
        (EchoModel(tokens_per_second=0).stream, "Hello"),
        (lambda request: echo(request), "Hello"),
        (lambda request: Words("Hel", "lo"), "Hello"),
        (partial(lambda words, request: words, Words("Hello")), "Hello"),
    ],
)
async def test_a_function_that_returns_an_async_iterator_is_a_model(function: Any, text: str, resumable: bool) -> None:
    for handler in (
        StreamHandler(model=function, resumable=resumable),
        StreamHandler(models={"one": function}, resumable=resumable),
        StreamHandler(choose_model=lambda request: function, resumable=resumable),
    ):
        events = await events_of(await handler.stream({"prompt": "Hello"}))
        assert text in "".join(data for event, data in events if not event)


async def test_a_function_is_closed_when_its_reply_is_stopped() -> None:
    closed = asyncio.Event()

    async def endless(request: ModelRequest) -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await asyncio.sleep(0)
        finally:
            closed.set()

    handler = StreamHandler(model=endless, resumable=True)
    reply = await handler.stream({"prompt": "x"})
    await handler.stop({"id": reply.headers["X-Stream-Id"]})
    assert closed.is_set()
    assert (await events_of(reply))[-2:] == [("stopped", ""), ("done", "")]


async def test_a_function_that_yields_something_else_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def numbers(request: ModelRequest) -> AsyncIterator[Any]:
        yield 7

    await events_of(await StreamHandler(model=partial(numbers)).stream({"prompt": "x"}))
    assert "numbers yielded int: yield str, TextDelta, ReasoningDelta, ToolCallDelta, ToolCall" in caplog.text


# --- chosen by a function ---


async def test_a_model_is_chosen_for_each_request() -> None:
    asked: list[ModelRequest] = []

    async def choose(request: ModelRequest) -> Model | ModelFunction | str:
        asked.append(request)
        return echo if request.context == "free" else request.model or "slow"

    handler = StreamHandler(
        models={"fast": StringModel("fast"), "slow": StringModel("slow")},
        choose_model=choose,
        settings={"temperature": 0},
        conversations=MemoryConversationStore(),
    )
    body = {"prompt": "Hello", "sessionId": "s"}
    free, paid = Access("ada", context="free"), Access("bob", context="paid")
    assert (await events_of(await handler.stream(body, access=free)))[0] == ("", "Hello")
    assert (await events_of(await handler.stream(body, access=paid)))[0] == ("", "slow")
    assert (await events_of(await handler.chat({"messages": MESSAGES, "model": "fast"}, access=paid)))[0] == (
        "",
        "fast",
    )
    assert (await handler.title({"messages": MESSAGES, "sessionId": "s"})).body == b"slow"
    assert [(request.owner, request.session_id, request.model) for request in asked] == [
        ("ada", "s", None),
        ("bob", "s", None),
        ("bob", None, "fast"),
        (None, "s", None),
    ]
    assert [request.settings for request in asked] == [{"temperature": 0}] * 4
    with pytest.raises(RequestError, match="Unknown model key"):
        await handler.stream({"prompt": "x", "model": "other"})


@pytest.mark.parametrize(
    ("chosen", "error", "told"),
    [
        ("other", 'Unknown model key: "other"', ""),
        (answer, "The model failed", f"The result of choose_model is a coroutine function: {EXPECTED}"),
        (None, "The model failed", f"The result of choose_model is of type NoneType: {EXPECTED}"),
    ],
)
async def test_what_is_chosen_must_be_a_model(
    chosen: Any, error: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler = StreamHandler(models={"one": EchoModel()}, choose_model=lambda request: chosen)
    assert await events_of(await handler.stream({"prompt": "x"})) == [("error", error), ("done", "")]
    assert told in caplog.text


def test_what_chooses_must_be_a_function() -> None:
    choose: Any = {"fast": EchoModel()}
    with pytest.raises(TypeError, match="choose_model is of type dict: give a function"):
        StreamHandler(choose_model=choose)
    with pytest.raises(ValueError, match="choose_model stands alone or goes with models"):
        StreamHandler(model=EchoModel(), choose_model=lambda request: "x")


# --- what a model says beside text ---


@both_ways
async def test_a_model_may_run_its_own_tools_and_send_its_own_events(resumable: bool) -> None:
    conversations = MemoryConversationStore()
    model = StringModel(
        "Let me look. ",
        ToolCallDelta("c1", "find", '{"q"'),
        ToolCallDelta("c1", "find", ":1}"),
        ToolCall("c1", "find", '{"q":1}'),
        CustomEvent("progress", {"percent": 50}),
        ToolResult("c1", "find", '["a"]'),
        ToolResult("c9", "find", "of no call"),
        "Found it.",
        CustomEvent("citation", "page 7"),
        Finish("length"),
    )
    ran: list[str] = []

    async def find(**arguments: Any) -> str:
        ran.append("found")
        return "b"

    handler = StreamHandler(
        model=model,
        conversations=conversations,
        resumable=resumable,
        toolsets={"search": [Tool("find", "Finds", find)]},
    )
    for toolset in ({}, {"toolset": "search"}):
        events = await events_of(await handler.stream({"prompt": "x", "sessionId": "s", **toolset}))
        assert [event for event in events if event[0]] == [
            ("tool_call_delta", '{"id":"c1","name":"find","delta":"{\\"q\\""}'),
            ("tool_call_delta", '{"id":"c1","name":"find","delta":":1}"}'),
            ("tool_call", '{"id":"c1","name":"find","args":{"q":1}}'),
            ("progress", '{"percent":50}'),
            ("tool_result", '{"id":"c1","name":"find","result":["a"]}'),
            ("tool_result", '{"id":"c9","name":"find","result":"of no call"}'),
            ("citation", '"page 7"'),
            ("finish", "length"),
            ("done", ""),
        ]
        messages = (await conversations.load("s")).messages[-4:]
        assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
        assert messages[2] == {"role": "tool", "tool_call_id": "c1", "name": "find", "content": '["a"]'}
        assert messages[3] == {"role": "assistant", "content": "Found it."}
    assert ran == []


async def test_calls_that_a_model_left_are_run_after_those_that_it_ran() -> None:
    class Caller(StringModel):
        async def stream(self, request: ModelRequest) -> AsyncIterator[Any]:
            self.requests.append(request)
            if len(self.requests) > 1:
                yield "done"
                return
            yield ToolCall("1", "inside", "{}")
            yield ToolResult("1", "inside", "1")
            yield ToolCall("2", "clock", "{}")

    async def clock() -> str:
        return "noon"

    model = Caller()
    handler = StreamHandler(model=model, toolsets={"time": [Tool("clock", "Tells the time.", clock)]})
    await events_of(await handler.chat({"messages": MESSAGES, "toolset": "time"}))
    assert [message["role"] for message in model.requests[1].messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
    ]
    assert model.requests[1].messages[-1]["content"] == '"noon"'


@pytest.mark.parametrize("name", ["", "usage", "done", "error", "message_data", "tool_result", "two\nlines"])
def test_a_custom_event_cannot_look_like_another(name: str) -> None:
    with pytest.raises(ValueError, match="Event name"):
        CustomEvent(name, 1)


async def test_what_a_model_keeps_with_its_message_is_in_its_next_request() -> None:
    """And in the request with the results of tools; the same message is recovered from the stream."""
    model = ScriptedModel(
        ReasoningDelta("Hm"), ToolCall("c1", "find", "{}"), MessageData("vendor", 1), MessageData("vendor", ["signed"])
    )

    async def find() -> str:
        return "b"

    conversations = MemoryConversationStore()
    tools = {"search": [Tool("find", "Finds", find)]}
    handler = StreamHandler(model=model, conversations=conversations, toolsets=tools)
    events = await events_of(
        await handler.stream({"prompt": "x", "sessionId": "s", "toolset": "search", "maxSteps": 2})
    )
    assert events[2:4] == [("message_data", '{"vendor":1}'), ("message_data", '{"vendor":["signed"]}')]
    wanted = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}],
        "reasoning": "Hm",
        "vendor": ["signed"],
    }
    assert model.requests[1].messages[1] == wanted
    assert (await conversations.load("s")).messages[1] == wanted
    assert chat_body("m", model.requests[1])["messages"][1].keys() == {"role", "content", "tool_calls"}
    assert Answer(StreamEvent(name, data) for name, data in events).messages()[0] == wanted
    for key in ("", "content", "tool_calls", "reasoning"):
        with pytest.raises(ValueError, match="cannot be the key of a MessageData"):
            MessageData(key, 1)


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
    (lambda request: "x", "<lambda> returned str, not an async iterator"),
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


# --- going on with an answer ---


class Recorder:
    """A resumable model, which remembers what it was asked to go on with, and to cancel."""

    resumable = True

    def __init__(self, name: str, *, repeats_exactly: bool = True) -> None:
        self.name = name
        self.repeats_exactly = repeats_exactly
        self.cancelled: list[str] = []

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent | str]:
        yield ReplyReference(f"{self.name}-1")
        yield "begun"

    async def resume(
        self, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
    ) -> AsyncIterator[ModelEvent | str]:
        yield f"{self.name} after {len(so_far)} of {reference}"

    async def cancel(self, reference: str) -> None:
        self.cancelled.append(reference)


async def test_a_reference_is_not_sent_to_readers() -> None:
    for tools in ({}, {"chat": [Tool("f", "d", None)]}):
        handler = StreamHandler(model=Recorder("a"), toolsets=tools, resumable=True)
        reply = await handler.chat({"messages": MESSAGES})
        assert await events_of(reply) == [("", "begun"), ("done", "")]


async def test_a_chosen_model_goes_on_and_is_cancelled() -> None:
    small, large = Recorder("small"), Recorder("large")
    models = Models(None, {"small": small, "large": large}, lambda request: str(request.context))
    model = models.pick(None)
    assert can_resume(model)
    assert model.repeats_exactly
    request = replace(HELLO, context="large")
    so_far = [event async for event in ask_model(model, request)]
    assert so_far == [ReplyReference("large-1"), TextDelta("begun")]
    await model.cancel("large-1")
    assert (small.cancelled, large.cancelled) == ([], ["large-1"])
    rest = [event async for event in resume_model(model, request, so_far[1:], "large-7")]
    assert rest == [TextDelta("large after 1 of large-7")]
    await model.cancel("large-7")
    assert large.cancelled == ["large-1", "large-7"]
    await model.cancel("unknown")


async def test_a_chosen_model_that_cannot_go_on() -> None:
    inexact = Recorder("b", repeats_exactly=False)
    for chosen in (echo, ScriptedModel("x"), inexact):
        model = Models(None, {"a": Recorder("a")}, lambda _, chosen=chosen: chosen).pick(None)  # type: ignore[misc]
        with pytest.raises(ModelError) as raised:
            [event async for event in resume_model(model, HELLO, [], None)]
        assert raised.value.code == "not_resumable"
    model = Models(None, {"b": inexact}, lambda _: "b").pick(None)
    assert can_resume(model)
    assert not model.repeats_exactly
    assert [event async for event in resume_model(model, HELLO, [], None)] == [TextDelta("b after 0 of None")]


def test_which_chosen_models_can_go_on() -> None:
    assert can_resume(Models(None, {"a": echo, "b": EchoModel()}, lambda _: "a").pick(None))
    assert not can_resume(Models(None, {"a": echo}, lambda _: "a").pick(None))
    assert can_resume(Models(None, None, lambda _: echo).pick(None))  # which may return another one


async def test_a_model_that_cannot_go_on_says_so() -> None:
    model = Models(echo, None).pick(None)
    assert not can_resume(model)
    with pytest.raises(ModelError, match="its model cannot go on") as raised:
        [event async for event in resume_model(model, HELLO, [], None)]
    assert raised.value.code == "not_resumable"


async def test_what_resume_answers_with_is_checked() -> None:
    class Wrong(Recorder):
        async def resume(self, request: ModelRequest, so_far: Any, reference: Any) -> Any:  # type: ignore[override]
            return "x"

    with pytest.raises(TypeError, match=r"Wrong.resume returned coroutine, not an async iterator"):
        [event async for event in resume_model(Wrong("w"), HELLO, [], None)]
