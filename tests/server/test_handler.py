"""The endpoints: conversations, branches, tools, structure, failures."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aibind.conversations import ConversationStore, MemoryConversationStore
from aibind.errors import ModelError, ModelTimeoutError, RequestError
from aibind.models import ReasoningDelta, ToolCall, Usage
from aibind.server import Endpoints, HttpResponse, StreamHandler, Tool
from aibind.sqlite import SqliteConversationStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, SseMessage, SseParser, StreamStore
from aibind.testing import Faults, FaultySqliteClient
from tests.support.models import ENDLESS, GatedModel, ScriptedModel, until


async def messages_of(reply: HttpResponse[Any]) -> list[SseMessage]:
    assert not isinstance(reply.body, bytes), reply.body
    parser = SseParser()
    return [message async for data in reply.body for message in parser.feed(data)]


async def events_of(reply: HttpResponse[Any]) -> list[tuple[str, str]]:
    return [(message.event, message.data) for message in await messages_of(reply) if message.event != "stream-id"]


@asynccontextmanager
async def open_stores(backend: str, folder: Path) -> AsyncIterator[tuple[StreamStore, ConversationStore]]:
    if backend == "memory":
        yield MemoryStreamStore(), MemoryConversationStore()
        return
    async with wrap_sqlite3(folder / "streams.db") as client:
        await migrate(client)
        yield SqliteStreamStore(client), SqliteConversationStore(client)


backends = pytest.mark.parametrize("backend", ["memory", "sqlite"])
both_ways = pytest.mark.parametrize("resumable", [False, True], ids=["plain", "resumable"])


def text_messages(chat: Any) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in chat.messages]


# --- conversations ---


@backends
@both_ways
async def test_a_session_goes_on(backend: str, resumable: bool, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (streams, conversations):
        model = ScriptedModel("Hello ", "there")
        options: dict[str, Any] = {"resumable": True, "store": streams} if resumable else {}
        handler = StreamHandler(model=model, conversations=conversations, **options)
        for prompt in ("one", "two", "three"):
            await events_of(await handler.stream({"prompt": prompt, "sessionId": "s", "system": "be kind"}))
        assert text_messages(await conversations.load("s")) == [
            message
            for prompt in ("one", "two", "three")
            for message in (("user", prompt), ("assistant", "Hello there"))
        ]
        assert [message["content"] for message in model.requests[-1].messages] == [
            "one",
            "Hello there",
            "two",
            "Hello there",
            "three",
        ]
        assert model.requests[-1].system == "be kind"
        assert (await conversations.load("another")).is_empty


@pytest.mark.parametrize(("most", "seen"), [(None, 7), (0, 1), (1, 2), (4, 5), (100, 7)])
async def test_max_messages_limits_what_the_model_sees(most: int | None, seen: int) -> None:
    conversations = MemoryConversationStore()
    model = ScriptedModel("ok")
    handler = StreamHandler(model=model, conversations=conversations, max_messages=most)
    for number in range(4):
        await events_of(await handler.stream({"prompt": str(number), "sessionId": "s"}))
    assert len(model.requests[-1].messages) == seen
    assert model.requests[-1].messages[-1]["content"] == "3"
    assert (await conversations.load("s")).size == 8


@both_ways
async def test_a_turn_that_fails_keeps_its_text(resumable: bool) -> None:
    conversations = MemoryConversationStore()
    model = ScriptedModel("some ", "text", ModelError("The model is out of order"))
    handler = StreamHandler(model=model, conversations=conversations, resumable=resumable)
    events = await events_of(await handler.stream({"prompt": "hi", "sessionId": "s"}))
    assert events[-2:] == [("error", "The model is out of order"), ("done", "")]
    chat = await conversations.load("s")
    assert text_messages(chat) == [("user", "hi"), ("assistant", "some text")]
    node = chat.tree.get(chat.node_ids[-1])
    assert node is not None
    assert node.metadata["finish"] == "error"
    assert model.closed == 1


@both_ways
async def test_a_turn_that_fails_at_once_keeps_the_question(resumable: bool) -> None:
    conversations = MemoryConversationStore()
    failing = StreamHandler(model=ScriptedModel(ModelError("no")), conversations=conversations, resumable=resumable)
    await events_of(await failing.stream({"prompt": "one", "sessionId": "s"}))
    assert text_messages(await conversations.load("s")) == [("user", "one")]
    model = ScriptedModel("ok")
    handler = StreamHandler(model=model, conversations=conversations, resumable=resumable)
    await events_of(await handler.stream({"prompt": "two", "sessionId": "s"}))
    assert text_messages(await conversations.load("s")) == [("user", "one"), ("user", "two"), ("assistant", "ok")]


async def test_what_a_model_raises_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    handler = StreamHandler(model=ScriptedModel("a", ValueError("secret /etc/path")), resumable=True)
    events = await events_of(await handler.stream({"prompt": "hi"}))
    assert events == [("", "a"), ("error", "The model failed"), ("done", "")]
    assert "secret" in caplog.text


@backends
async def test_a_stopped_turn_keeps_its_text(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (streams, conversations):
        model = ScriptedModel(*ENDLESS, rate=200)
        handler = StreamHandler(model=model, conversations=conversations, resumable=True, store=streams)
        reply = await handler.stream({"prompt": "hi", "sessionId": "s"})
        reading = asyncio.ensure_future(events_of(reply))
        await until(lambda: model.given > 3)
        stream_id = reply.headers["X-Stream-Id"]
        assert handler.live_stream("s") == stream_id
        stopped = await handler.stop({"id": stream_id})
        assert stopped.body == b'{"ok":true}'
        assert model.closed == 1
        events = await reading
        assert events[-2:] == [("stopped", ""), ("done", "")]
        text = "".join(data for event, data in events if not event)
        assert text
        assert text_messages(await conversations.load("s")) == [("user", "hi"), ("assistant", text)]
        assert handler.live_stream("s") is None


async def test_a_reader_who_leaves_a_plain_stream_ends_it() -> None:
    conversations = MemoryConversationStore()
    model = ScriptedModel(*ENDLESS, rate=500)
    handler = StreamHandler(model=model, conversations=conversations)
    reply = await handler.stream({"prompt": "hi", "sessionId": "s"})
    body: Any = reply.body
    await anext(body)
    await anext(body)
    await body.aclose()
    assert model.closed == 1
    assert text_messages(await conversations.load("s")) == [("user", "hi"), ("assistant", "0 1 ")]


async def test_the_question_is_stored_before_the_answer() -> None:
    conversations = MemoryConversationStore()
    model = GatedModel()
    handler = StreamHandler(model=model, conversations=conversations, resumable=True)
    reply = await handler.stream({"prompt": "hi", "sessionId": "s"})
    chat = await conversations.load("s")
    assert text_messages(chat) == [("user", "hi")]
    node = chat.tree.get(chat.node_ids[0])
    assert node is not None
    assert node.metadata == {"streamId": reply.headers["X-Stream-Id"]}
    model.gate.set()
    await messages_of(reply)


@backends
async def test_an_answer_whose_producer_died_is_recovered(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (streams, conversations):
        chat = await conversations.load("s")
        chat.append({"role": "user", "content": "hi"}, {"streamId": "dead"})
        await conversations.save("s", chat)
        if backend == "memory":
            streams._lease_ms = 1  # type: ignore[attr-defined]
        else:
            streams = SqliteStreamStore(streams._client, lease_ms=1)  # type: ignore[attr-defined]
        await streams.create("dead")
        await streams.append_many("dead", ["\x01as far ", "reasoning\x01hm", "\x01as it came"])
        await asyncio.sleep(0.02)
        model = ScriptedModel("ok")
        handler = StreamHandler(model=model, conversations=conversations, resumable=True, store=streams)
        await events_of(await handler.stream({"prompt": "go on", "sessionId": "s"}))
        assert text_messages(await conversations.load("s")) == [
            ("user", "hi"),
            ("assistant", "as far as it came"),
            ("user", "go on"),
            ("assistant", "ok"),
        ]


# --- branches ---


@both_ways
async def test_edit_and_regenerate_make_branches(resumable: bool) -> None:
    conversations = MemoryConversationStore()
    model = ScriptedModel("answer")
    handler = StreamHandler(model=model, conversations=conversations, resumable=resumable)
    for prompt in ("one", "two"):
        await events_of(await handler.stream({"prompt": prompt, "sessionId": "s"}))
    first, answer, second, _ = (await conversations.load("s")).node_ids

    await events_of(await handler.stream({"prompt": "TWO", "sessionId": "s", "edit": second}))
    chat = await conversations.load("s")
    assert [content for _, content in text_messages(chat)] == ["one", "answer", "TWO", "answer"]
    assert chat.alternative_count(chat.node_ids[2]) == 2

    await events_of(await handler.stream({"sessionId": "s", "regenerate": answer}))
    chat = await conversations.load("s")
    assert [content for _, content in text_messages(chat)] == ["one", "answer"]
    assert chat.node_ids[0] == first
    assert chat.alternative_index(chat.node_ids[1]) == 1
    assert [message["content"] for message in model.requests[-1].messages] == ["one"]
    assert chat.size == 7


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"prompt": "x", "sessionId": "s", "edit": "nobody"}, 404),
        ({"sessionId": "s", "regenerate": "nobody"}, 404),
        ({"prompt": "x", "edit": "a"}, 400),
        ({"regenerate": "a"}, 400),
        ({"prompt": "x", "sessionId": "s", "edit": "a", "regenerate": "b"}, 400),
    ],
)
async def test_branches_that_cannot_be(body: dict[str, str], status: int) -> None:
    handler = StreamHandler(model=ScriptedModel("x"), conversations=MemoryConversationStore())
    with pytest.raises(RequestError) as raised:
        await handler.stream(body)
    assert raised.value.status == status


# --- other endpoints ---


async def test_structured_grows() -> None:
    model = ScriptedModel('{"a": [', "1", ', 2], "b": "h', "é\\", 'u00e9"', ', "c": true', "}", usage=Usage(1, 2))
    handler = StreamHandler(model=model, resumable=True)
    schema = {"type": "object", "properties": {"a": {"type": "array"}}}
    events = await events_of(await handler.structured({"prompt": "x", "schema": schema}))
    assert [json.loads(data) for event, data in events if event == "partial"] == [
        {"a": []},
        {"a": [1]},
        {"a": [1, 2], "b": "h"},
        {"a": [1, 2], "b": "hé"},
        {"a": [1, 2], "b": "héé"},
        {"a": [1, 2], "b": "héé", "c": True},
    ]
    assert events[-3:] == [
        ("data", '{"a":[1,2],"b":"héé","c":true}'),
        ("usage", '{"inputTokens":1,"outputTokens":2}'),
        ("done", ""),
    ]
    assert model.requests[0].json_schema == schema


async def test_structured_that_is_not_json_is_an_error() -> None:
    handler = StreamHandler(model=ScriptedModel("I would rather", " not"))
    events = await events_of(await handler.structured({"prompt": "x"}))
    assert events == [("error", "The model's answer is not valid JSON"), ("done", "")]


async def test_chat_runs_tools() -> None:
    class Caller(ScriptedModel):
        async def stream(self, request: Any) -> AsyncIterator[Any]:
            self.requests.append(request)
            if request.messages[-1]["role"] == "tool":
                yield ReasoningDelta("I see")
                async for event in ScriptedModel(f"It is {request.messages[-1]['content']}").stream(request):
                    yield event
            else:
                yield ToolCall("c1", "weather", '{"city": "Oslo"}')
                yield ToolCall("c2", "broken", "{}")
                yield ToolCall("c3", "nobody", "{}")
            yield Usage(10, 1)

    async def weather(city: str) -> dict[str, str]:
        return {"city": city, "sky": "grey"}

    async def broken() -> None:
        raise RuntimeError("no tool today")

    model = Caller()
    tools = [Tool("weather", "Tells the weather", weather, {"type": "object"}), Tool("broken", "Breaks", broken)]
    handler = StreamHandler(model=model, toolsets={"all": tools})
    body = {"messages": [{"role": "user", "content": "weather?"}], "toolset": "all", "maxSteps": 3}
    events = await events_of(await handler.chat(body))
    names = [event for event, _ in events]
    assert names == ["tool_call"] * 3 + ["tool_result"] * 3 + ["reasoning", "", "usage", "done"]
    assert json.loads(events[0][1]) == {"id": "c1", "name": "weather", "args": {"city": "Oslo"}}
    results = [json.loads(data)["result"] for event, data in events if event == "tool_result"]
    assert results == [
        {"city": "Oslo", "sky": "grey"},
        {"error": "no tool today"},
        {"error": "There is no tool nobody"},
    ]
    assert events[-2] == ("usage", '{"inputTokens":20,"outputTokens":2}')
    assert [tool["name"] for tool in model.requests[0].tools] == ["weather", "broken"]

    once = await events_of(await handler.chat({**body, "maxSteps": 1}))
    assert [event for event, _ in once] == ["tool_call"] * 3 + ["usage", "done"]


async def test_attachments_become_parts() -> None:
    model = ScriptedModel("nice picture")
    handler = StreamHandler(model=model)
    await events_of(
        await handler.chat(
            {
                "messages": [{"role": "user", "content": "what is it?"}],
                "attachments": [
                    {"mimeType": "image/png", "data": "aGk="},
                    {"mimeType": "application/pdf", "url": "https://example.org/a.pdf", "name": "a.pdf"},
                ],
            }
        )
    )
    assert model.requests[0].messages[0]["content"] == [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://example.org/a.pdf"}},
    ]


async def test_compact_replaces_the_stored_conversation() -> None:
    conversations = MemoryConversationStore()
    handler = StreamHandler(model=ScriptedModel("in short", usage=Usage(100, 20)), conversations=conversations)
    await events_of(await handler.stream({"prompt": "one", "sessionId": "s"}))
    messages = list((await conversations.load("s")).messages)
    reply = await handler.compact({"messages": messages, "sessionId": "s"})
    assert reply.body == b'{"summary":"in short","tokensSaved":80}'
    assert text_messages(await conversations.load("s")) == [("system", "in short")]


@pytest.mark.parametrize(
    ("endpoint", "body", "error"),
    [
        ("stream", [], "The body must be a JSON object"),
        ("stream", {"prompt": 1}, "prompt is required"),
        ("stream", {"prompt": "x", "system": 1}, "system must be a string"),
        ("stream", {"prompt": "x", "sessionId": 7}, "sessionId must be a string"),
        ("stream", {"prompt": "x", "sessionId": "ü" * 201}, "sessionId is longer than 400 bytes"),
        ("structured", {"prompt": "x", "schema": "s"}, "schema must be"),
        ("chat", {"messages": ["x"]}, "Message 1 must be an object"),
        ("chat", {"messages": [{"role": "boss", "content": "x"}]}, "Message 1 needs a role"),
        ("chat", {"messages": [{"role": "user", "content": 1}]}, "Message 1 needs content"),
        ("chat", {"messages": [{"role": "user", "content": "x"}], "toolset": "zzz"}, 'Unknown toolset: "zzz"'),
        ("chat", {"messages": [{"role": "user", "content": "x"}], "maxSteps": 0}, "maxSteps must be"),
        ("chat", {"messages": [{"role": "user", "content": "x"}], "attachments": "x"}, "attachments must be"),
        ("chat", {"messages": [{"role": "user", "content": "x"}], "attachments": [{}]}, "Attachment 1 needs a mime"),
        (
            "chat",
            {"messages": [{"role": "user", "content": "x"}], "attachments": [{"mimeType": "a/b", "url": "file:///x"}]},
            "use https or data",
        ),
        ("stop", {"id": 1}, "id is required"),
    ],
)
async def test_wrong_requests_say_what_is_wrong(endpoint: str, body: object, error: str) -> None:
    handler = StreamHandler(model=ScriptedModel("x"), resumable=True)
    with pytest.raises(RequestError, match=error):
        await getattr(handler, endpoint)(body)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ModelError("out of quota", status=429), 502, "out of quota"),
        (ModelTimeoutError("too slow"), 504, "too slow"),
        (ValueError("secret"), 502, "The model failed"),
    ],
)
@pytest.mark.parametrize("endpoint", ["complete", "title", "compact"])
async def test_a_failing_model_is_a_clear_answer(endpoint: str, error: Exception, status: int, message: str) -> None:
    endpoints = Endpoints(StreamHandler(model=ScriptedModel(error)))
    body = {"input": "x", "messages": [{"role": "user", "content": "x"}]}

    async def read_body() -> bytes:
        return json.dumps(body).encode()

    reply = await endpoints.answer("POST", f"/__aibind__/{endpoint}", "", {}, read_body)
    assert (reply.status, reply.body) == (status, json.dumps({"error": message}, separators=(",", ":")).encode())


async def test_a_broken_store_is_a_503_without_details(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        faults = Faults()
        faults.down = True
        conversations = SqliteConversationStore(FaultySqliteClient(client, faults))
        endpoints = Endpoints(StreamHandler(model=ScriptedModel("x"), conversations=conversations))

        async def read_body() -> bytes:
            return b'{"prompt": "x", "sessionId": "s"}'

        reply = await endpoints.answer("POST", "/__aibind__/stream", "", {}, read_body)
        assert reply.status == 503
        assert isinstance(reply.body, bytes)
        assert b"connection" not in reply.body


SESSION_BODY = {"prompt": "x", "messages": [{"role": "user", "content": "x"}], "sessionId": "s", "id": "x"}


@pytest.mark.parametrize(
    ("keeps", "method", "path"),
    [
        ("streams", "POST", "stream"),
        ("streams", "POST", "structured"),
        ("streams", "POST", "chat"),
        ("streams", "POST", "stream/stop"),
        ("streams", "GET", "stream/resume"),
        ("conversations", "POST", "stream"),
        ("conversations", "POST", "structured"),
        ("conversations", "POST", "compact"),
    ],
)
async def test_a_missing_table_is_told_to_the_operator(
    keeps: str, method: str, path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with wrap_sqlite3(tmp_path / "empty.db") as client:
        options: dict[str, Any] = {"conversations": SqliteConversationStore(client)}
        if keeps == "streams":
            options = {"resumable": True, "store": SqliteStreamStore(client)}
        endpoints = Endpoints(StreamHandler(model=ScriptedModel("x"), **options))

        async def read_body() -> bytes:
            return json.dumps(SESSION_BODY).encode()

        reply = await endpoints.answer(method, f"/__aibind__/{path}", "id=x", {}, read_body)
        assert (reply.status, reply.body) == (500, b'{"error":"The server\'s database is not set up"}')
        (told,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert "migrate" in told
        assert "aibind schema" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either a model or models"),
        ({"model": ScriptedModel(), "models": {"a": ScriptedModel()}}, "either a model or models"),
        ({"model": ScriptedModel(), "max_messages": -1}, "max_messages"),
        ({"model": ScriptedModel(), "store": MemoryStreamStore()}, "resumable=True"),
    ],
)
def test_wrong_settings_say_what_is_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamHandler(**options)


async def test_a_conversation_that_does_not_fit_says_so(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        conversations = SqliteConversationStore(client, max_bytes=300)
        model = ScriptedModel("x")
        endpoints = Endpoints(StreamHandler(model=model, conversations=conversations, resumable=True))

        async def read_body() -> bytes:
            return json.dumps({"prompt": "x" * 400, "sessionId": "s"}).encode()

        reply = await endpoints.answer("POST", "/__aibind__/stream", "", {}, read_body)
        assert reply.status == 413
        assert isinstance(reply.body, bytes)
        assert b"compact" in reply.body
        assert (await conversations.load("s")).is_empty
        assert model.closed == 1


async def test_a_second_turn_is_the_live_one() -> None:
    model = GatedModel()
    handler = StreamHandler(model=model, conversations=MemoryConversationStore(), resumable=True)
    first = await handler.stream({"prompt": "one", "sessionId": "s"})
    second = await handler.stream({"prompt": "two", "sessionId": "s"})
    await handler.stop({"id": first.headers["X-Stream-Id"]})
    assert handler.live_stream("s") == second.headers["X-Stream-Id"]
    model.gate.set()
    await messages_of(second)
    assert handler.live_stream("s") is None


async def test_structured_stores_no_more_than_it_must(tmp_path: Path) -> None:
    """Each partial holds all that came before it: one for every token would store the square of the answer."""
    pieces = ["[", *(f"{number}," for number in range(200)), "0]"]
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        store = SqliteStreamStore(FaultySqliteClient(client, Faults()))
        handler = StreamHandler(model=ScriptedModel(*pieces, rate=400), resumable=True, store=store)
        began = time.monotonic()
        events = await events_of(await handler.structured({"prompt": "x"}))
        took_ms = (time.monotonic() - began) * 1000
        partials = [data for event, data in events if event == "partial"]
        assert 1 < len(partials) < 3 + took_ms / store.flush_pace.interval_ms  # however long it took on this machine
        assert json.loads(dict(events)["data"]) == [*range(200), 0]


@backends
async def test_a_handler_that_is_closed_keeps_what_there_is(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (streams, conversations):
        model = ScriptedModel(*ENDLESS, rate=200)
        handler = StreamHandler(model=model, conversations=conversations, resumable=True, store=streams)
        readers = [
            asyncio.ensure_future(events_of(await handler.stream({"prompt": "hi", "sessionId": str(number)})))
            for number in range(3)
        ]
        await until(lambda: model.given > 20)  # of three replies at the same pace
        await handler.aclose()
        assert model.closed == 3
        for number, events in enumerate(await asyncio.gather(*readers)):
            assert events[-2:] == [("error", "The server was shut down"), ("done", "")]
            text = "".join(data for event, data in events if not event)
            assert text
            assert text_messages(await conversations.load(str(number))) == [("user", "hi"), ("assistant", text)]
        await handler.aclose()
        with pytest.raises(RequestError) as raised:
            await handler.stream({"prompt": "too late"})
        assert raised.value.status == 503


@both_ways
async def test_a_second_answer_that_never_comes_changes_nothing(resumable: bool) -> None:
    conversations = MemoryConversationStore()
    options: dict[str, Any] = {"conversations": conversations, "resumable": resumable}
    await events_of(
        await StreamHandler(model=ScriptedModel("ok"), **options).stream({"prompt": "one", "sessionId": "s"})
    )
    before = (await conversations.load("s")).to_json()
    answer = (await conversations.load("s")).node_ids[-1]
    failing = StreamHandler(model=ScriptedModel(ModelError("no")), **options)
    await events_of(await failing.stream({"sessionId": "s", "regenerate": answer}))
    assert (await conversations.load("s")).to_json() == before


@backends
async def test_an_answer_is_recovered_once(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (streams, conversations):
        handler = StreamHandler(
            model=ScriptedModel("answer"), conversations=conversations, resumable=True, store=streams
        )
        await events_of(await handler.stream({"prompt": "one", "sessionId": "s"}))
        chat = await conversations.load("s")
        chat.tree.set_active_leaf(chat.node_ids[0])  # the reader went back to the question
        await conversations.save("s", chat)
        await events_of(await handler.stream({"prompt": "two", "sessionId": "s"}))
        assert (await conversations.load("s")).size == 4


@both_ways
async def test_the_conversation_keeps_what_the_reader_saw(resumable: bool) -> None:
    conversations = MemoryConversationStore()
    model = ScriptedModel("a\r", "\nb\r", "c \ud83d", "\udc4b", " \ud83d")
    handler = StreamHandler(model=model, conversations=conversations, resumable=resumable)
    events = await events_of(await handler.stream({"prompt": "one", "sessionId": "s"}))
    text = "".join(data for event, data in events if not event)
    assert text == "a\nb\nc 👋 \ufffd"
    assert (await conversations.load("s")).messages[-1]["content"] == text
