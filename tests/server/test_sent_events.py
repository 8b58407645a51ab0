"""A client is sent all events of a reply when it asks for them, and else those that the JavaScript clients know."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aibind.models import CustomEvent, Finish, ReasoningDelta, TextDelta, ToolCall, ToolCallDelta, ToolResult, Usage
from aibind.server import Access, Endpoints, HttpResponse, StreamHandler
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream, MemoryStreamStore, SseMessage, SseParser, StreamEvent
from tests.support.http import ALL_EVENTS
from tests.support.models import ScriptedModel
from tests.support.sources import text_of

REPLY = (
    ReasoningDelta("I think."),
    TextDelta("One "),
    ToolCallDelta("c", "look", "{}"),
    ToolCall("c", "look", "{}"),
    ToolResult("c", "look", '"here"'),
    CustomEvent("weather", {"rain": True}),
    ReasoningDelta("Still."),
    TextDelta("two"),
    Finish("length"),
)
USAGE = Usage(3, 4)
BODIES: Mapping[str, Any] = {
    "stream": {"prompt": "hi"},
    "structured": {"prompt": "hi"},
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
}
TOOLS = ["tool_call_delta", "tool_call", "tool_result", "weather"]
ALL: Mapping[str, list[str]] = {
    "stream": ["reasoning", "", *TOOLS, "reasoning", "", "finish", "usage"],
    "structured": ["reasoning", "partial", "data", "finish", "usage"],
    "chat": ["reasoning", "", *TOOLS, "reasoning", "", "finish", "usage"],
}
KNOWN: Mapping[str, list[str]] = {
    "stream": ["", "", "usage"],
    "structured": ["partial", "data", "usage"],
    "chat": ["", "tool_call", "", "usage"],
}
ACCEPTED = ("text/event-stream", "Text/Event-Stream", "application/json, text/event-stream;q=0.9")
OTHERS = (None, "*/*", "application/json, text/plain, */*", "text/*", "x-text/event-stream")


def endpoints_of(endpoint: str, **options: Any) -> Endpoints:
    structured = (ReasoningDelta("I think."), '{"a":1}', Finish("length"))
    model = ScriptedModel(*(structured if endpoint == "structured" else REPLY), usage=USAGE)
    return Endpoints(StreamHandler(model=model, flush_interval_ms=0, **options))


async def ask(
    endpoints: Endpoints, endpoint: str, accept: str | None, **headers: str
) -> tuple[HttpResponse[Any], list[SseMessage]]:
    async def read_body() -> bytes:
        return json.dumps(BODIES[endpoint]).encode()

    if accept is not None:
        headers["accept"] = accept
    reply = await endpoints.answer("POST", f"/__aibind__/{endpoint}", "", headers, read_body)
    assert reply.status == 200
    assert not isinstance(reply.body, bytes)
    return reply, SseParser().feed(b"".join([data async for data in reply.body]))


async def resume(
    endpoints: Endpoints, stream_id: str, after: str, accept: str | None, endpoint: str = "stream"
) -> list[SseMessage]:
    async def read_body() -> bytes:
        raise AssertionError("it has no body")

    headers = {} if accept is None else {"accept": accept}
    reply = await endpoints.answer(
        "GET", f"/__aibind__/{endpoint}/resume", f"id={stream_id}&after={after}", headers, read_body
    )
    assert not isinstance(reply.body, bytes)
    return SseParser().feed(b"".join([data async for data in reply.body]))


def names(messages: list[SseMessage]) -> list[str]:
    return [message.event for message in messages if message.event not in ("stream-id", "done")]


@pytest.mark.parametrize("resumable", [True, False])
@pytest.mark.parametrize("endpoint", BODIES)
async def test_all_events_are_sent_to_a_client_that_accepts_event_streams(endpoint: str, resumable: bool) -> None:
    for accept in ACCEPTED:
        _, messages = await ask(endpoints_of(endpoint, resumable=resumable), endpoint, accept)
        assert names(messages) == ALL[endpoint]


@pytest.mark.parametrize("resumable", [True, False])
@pytest.mark.parametrize("endpoint", BODIES)
async def test_any_other_client_is_sent_what_javascript_knows(endpoint: str, resumable: bool) -> None:
    for accept in OTHERS:
        _, messages = await ask(endpoints_of(endpoint, resumable=resumable), endpoint, accept)
        assert names(messages) == KNOWN[endpoint]
        assert text_of(messages) == ("" if endpoint == "structured" else "One two")
        assert messages[-1].event == "done"


async def test_what_is_stored_does_not_depend_on_the_client() -> None:
    endpoints = endpoints_of("stream", resumable=True)
    reply, shown = await ask(endpoints, "stream", None)
    stream_id = reply.headers["X-Stream-Id"]
    assert names(shown) == KNOWN["stream"]
    everything = await resume(endpoints, stream_id, "0", ALL_EVENTS["Accept"])
    assert names(everything) == ALL["stream"]
    assert names(await resume(endpoints, stream_id, "0", None)) == KNOWN["stream"]
    ids = {message.id: message.data for message in everything}
    assert all(ids[message.id] == message.data for message in shown if message.event != "stream-id")


async def call(endpoints: Endpoints, method: str, path: str, query: str = "", body: Any = None, **headers: str) -> Any:
    """Return the status of an answer, and its whole body."""

    async def read_body() -> bytes:
        return json.dumps(body).encode()

    reply = await endpoints.answer(method, f"/__aibind__/{path}", query, headers, read_body)
    content = reply.body if isinstance(reply.body, bytes) else b"".join([data async for data in reply.body])
    return reply.status, content


@pytest.mark.parametrize("endpoint", BODIES)
async def test_javascript_clients_find_the_other_endpoints_below_their_own(endpoint: str) -> None:
    endpoints = endpoints_of(endpoint, resumable=True)
    reply, _ = await ask(endpoints, endpoint, None)
    stream_id = reply.headers["X-Stream-Id"]
    assert names(await resume(endpoints, stream_id, "0", None, endpoint)) == KNOWN[endpoint]
    assert names(await resume(endpoints, stream_id, "0", ALL_EVENTS["Accept"], endpoint)) == ALL[endpoint]
    assert await call(endpoints, "POST", f"{endpoint}/stop", body={"id": stream_id}) == (200, b'{"ok":true}')
    status, content = await call(endpoints, "POST", f"{endpoint}/compact", body=BODIES["chat"])
    assert (status, set(json.loads(content))) == (200, {"summary", "tokensSaved"})
    plain = endpoints_of(endpoint)
    assert (await call(plain, "POST", f"{endpoint}/compact", body=BODIES["chat"]))[0] == 200
    assert (await call(plain, "POST", f"{endpoint}/stop", body={"id": stream_id}))[0] == 404
    assert (await call(plain, "GET", f"{endpoint}/resume", f"id={stream_id}"))[0] == 404


async def test_a_javascript_client_is_told_in_the_reply_that_its_stream_is_unknown() -> None:
    """Its other attempts, after any status but 2xx, would take seconds, and it would show no error."""
    endpoints = endpoints_of("stream", resumable=True)
    query, error = "id=x%0Ay&after=0", 'Stream "x\ny" does not exist or has expired'
    fetch = {"sec-fetch-mode": "cors", "accept": "*/*"}
    for endpoint in BODIES:
        status, content = await call(endpoints, "GET", f"{endpoint}/resume", query, **fetch)
        assert status == 200
        assert [(message.event, message.data) for message in SseParser().feed(content)] == [
            ("error", error),
            ("done", ""),
        ]
    for headers in ({}, {"accept": "*/*"}, {**fetch, "accept": "text/event-stream"}):
        assert await call(endpoints, "GET", "stream/resume", query, **headers) == (
            404,
            json.dumps({"error": error}, separators=(",", ":")).encode(),
        )
    assert (await call(endpoints, "GET", "stream/resume", "id=x&after=y", **fetch))[0] == 400
    assert (await call(endpoints, "GET", "complete/resume", "id=x", **fetch))[0] == 404


async def test_a_javascript_client_cannot_tell_the_stream_of_another_from_an_unknown_one() -> None:
    handler = StreamHandler(model=ScriptedModel("mine"), resumable=True)
    endpoints = Endpoints(handler, authorize=lambda request, *asked: request.headers["x-user"])
    reply = await handler.stream(BODIES["stream"], access=Access("ada"))
    stream_id = reply.headers["X-Stream-Id"]
    fetch = {"sec-fetch-mode": "cors", "accept": "*/*"}
    answers = {
        (user, id): await call(endpoints, "GET", "stream/resume", f"id={id}&after=0", **fetch, **{"x-user": user})
        for user in ("ada", "eve")
        for id in (stream_id, "unknown")
    }
    assert b"mine" in answers["ada", stream_id][1]
    unknown = (200, answers["eve", "unknown"][1].replace(b"unknown", stream_id.encode()))
    assert answers["eve", stream_id] == unknown
    assert b"mine" not in unknown[1]


async def test_a_repeated_request_is_sent_what_it_asks_for() -> None:
    endpoints = endpoints_of("stream", resumable=True)
    for accept, expected in ((None, KNOWN), (ALL_EVENTS["Accept"], ALL), (None, KNOWN)):
        _, messages = await ask(endpoints, "stream", accept, **{"idempotency-key": "one"})
        assert names(messages) == expected["stream"]


async def test_a_method_of_the_handler_sends_what_it_is_told_to() -> None:
    handler = StreamHandler(model=ScriptedModel(*REPLY), resumable=True, flush_interval_ms=0)
    for events, expected in (
        (None, ALL["stream"][:-1]),
        (["reasoning"], ["reasoning", "", "reasoning", ""]),
        ([], [""] * 2),
    ):
        reply = await handler.stream(BODIES["stream"], events=events)
        assert not isinstance(reply.body, bytes)
        assert names(SseParser().feed(b"".join([data async for data in reply.body]))) == expected


def random_events(rng: random.Random) -> list[StreamEvent]:
    """Return events as models send them: text and reasoning in pieces, short and long, and others that crowd."""
    events: list[StreamEvent] = []
    for _ in range(rng.randrange(5, 40)):
        name = rng.choice(["", "", "reasoning", "tool_call_delta", "usage", "weather"])
        size = rng.choice([1, 5, 700, 3000]) if name in ("", "reasoning") else 3
        events.append(StreamEvent(name, "".join(rng.choices("abcdé\n😀", k=size))))
    return events


@pytest.mark.parametrize("place", ["here", "elsewhere", "stored"])
@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("seed", range(2))
async def test_events_that_are_left_out_do_not_disturb_a_reader_who_comes_back(
    seed: int, packs: bool, place: str, tmp_path: Path
) -> None:
    """Cut after every message: a reader of some events receives each of them once, in order, and the whole text."""
    rng = random.Random(f"{seed} {packs} {place}")
    events = random_events(rng)
    sent = {"usage"}

    async def source() -> Any:
        for event in events:
            yield event

    async with wrap_sqlite3(tmp_path / "one.db") as one, wrap_sqlite3(tmp_path / "one.db") as two:
        await migrate(one)
        store = SqliteStreamStore(one)
        stream = await DurableStream.create(store, source(), pack_events=packs, flush_interval_ms=5)
        if place == "stored":
            await stream.wait_closed()
        reader = store if place == "here" else SqliteStreamStore(two, poll_interval_ms=5)
        seen: list[SseMessage] = []
        last_id, limit = 0, rng.randrange(1, 4)
        while not (seen and seen[-1].event == "done"):
            reply = await DurableStream.resume(reader, stream.id, last_id, events=sent)
            parser = SseParser()
            read: list[SseMessage] = []
            async for data in reply.body:
                read += parser.feed(data)
                if len(read) >= limit:
                    break
            await reply.body.aclose()
            seen += read[:limit]
            last_id = int(seen[-1].id or last_id)
        await stream.wait_closed()
    assert text_of(seen) == "".join(event.data for event in events if not event.event)
    assert [message.data for message in seen if message.event == "usage"] == [
        event.data for event in events if event.event == "usage"
    ]
    assert {message.event for message in seen} <= {"", "usage", "done"}


async def test_a_reader_of_none_of_the_events_is_sent_heartbeats() -> None:
    async def think() -> Any:
        for _ in range(30):
            await asyncio.sleep(0.005)
            yield StreamEvent("reasoning", "hm ")
        yield "So."

    store = MemoryStreamStore()
    stream = await DurableStream.create(store, think(), heartbeat_ms=20)
    data = [data async for data in stream.response(events=()).body]
    assert data.count(b": ping\n\n") >= 3
    assert b"" not in data
    assert text_of(SseParser().feed(b"".join(data))) == "So."
