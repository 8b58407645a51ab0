"""The encoders: what events become, wherever a stream was cut, and work that followers share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibind.protocols import (
    Encoder,
    JsonLinesEncoder,
    PlainTextEncoder,
    SseEncoder,
    UiMessageEncoder,
    encoded,
    respond,
)
from aibind.streams import (
    DurableStream,
    EventBatch,
    MemoryStreamStore,
    SseParser,
    StreamEnd,
    StreamEvent,
    follow,
)
from tests.protocols.events import ENDS, EVENTS, batches_of, encode, joined, named

DONE = StreamEnd("done")

ENCODERS: list[Encoder] = [SseEncoder("s1"), UiMessageEncoder("m1"), PlainTextEncoder(), JsonLinesEncoder()]


def chunks_of(data: bytes) -> list[Any]:
    """Return the chunks of a UI message stream, the last of which is ``[DONE]``."""
    *chunks, done = [message.data for message in SseParser().feed(data)]
    assert done == "[DONE]"
    return [json.loads(chunk) for chunk in chunks]


def shown(*events: StreamEvent, end: StreamEnd = DONE, encoder: UiMessageEncoder | None = None) -> list[Any]:
    """Return the chunks between ``start`` and ``finish``."""
    start, *chunks, finish = chunks_of(encode(batches_of(events, end), encoder or UiMessageEncoder("m1")))
    assert start == {"type": "start", "messageId": "m1"}
    assert finish["type"] == "finish"
    return chunks


def test_text_and_reasoning() -> None:
    events = [StreamEvent("reasoning", "Hm"), StreamEvent("", "One"), StreamEvent("", " two")]
    assert shown(*events) == [
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "1"},
        {"type": "reasoning-delta", "id": "1", "delta": "Hm"},
        {"type": "reasoning-end", "id": "1"},
        {"type": "text-start", "id": "2"},
        {"type": "text-delta", "id": "2", "delta": "One"},
        {"type": "text-delta", "id": "2", "delta": " two"},
        {"type": "text-end", "id": "2"},
        {"type": "finish-step"},
    ]


def test_tools_and_the_step_after_their_results() -> None:
    events = [
        named("tool_call_delta", id="c1", name="clock", delta='{"zo'),
        named("tool_call_delta", id="c1", name="clock", delta='ne":1}'),
        named("tool_call", id="c1", name="clock", args={"zone": 1}),
        named("tool_call", id="c2", name="weather", args={}),
        named("tool_result", id="c1", name="clock", result={"time": 12}),
        named("tool_result", id="c2", name="weather", result={"error": "No weather"}),
        named("tool_result", id="c3", name="weather", result="of a call that is not here"),
        StreamEvent("", "Noon"),
    ]
    ran = {"providerExecuted": True}
    assert shown(*events, encoder=UiMessageEncoder("m1", typed_tools=frozenset({"weather"}))) == [
        {"type": "start-step"},
        {"type": "tool-input-start", "toolCallId": "c1", "toolName": "clock", "dynamic": True},
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"zo'},
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": 'ne":1}'},
        {
            "type": "tool-input-available",
            "toolCallId": "c1",
            "toolName": "clock",
            "dynamic": True,
            "input": {"zone": 1},
        },
        {"type": "tool-input-available", "toolCallId": "c2", "toolName": "weather", "input": {}},
        {"type": "tool-output-available", "toolCallId": "c1", "dynamic": True, "output": {"time": 12}, **ran},
        {"type": "tool-output-error", "toolCallId": "c2", "errorText": "No weather", **ran},
        {"type": "finish-step"},
        {"type": "start-step"},
        {"type": "text-start", "id": "1"},
        {"type": "text-delta", "id": "1", "delta": "Noon"},
        {"type": "text-end", "id": "1"},
        {"type": "finish-step"},
    ]


@pytest.mark.parametrize(
    ("event", "chunk"),
    [
        (named("usage", inputTokens=1), {"type": "message-metadata", "messageMetadata": {"usage": {"inputTokens": 1}}}),
        (named("citation", url="https://a", title="A"), {"type": "source-url", "sourceId": "https://a"}),
        (named("annotation", url_citation={"url": "https://a"}), {"type": "source-url", "url": "https://a"}),
        (
            named("source", id="s", title="A", mediaType="a/b"),
            {"type": "source-document", "sourceId": "s", "title": "A"},
        ),
        (named("file", url="data:,", mediaType="text/plain"), {"type": "file", "mediaType": "text/plain"}),
        (named("file", name="no URL"), {"type": "data-file", "data": {"name": "no URL"}}),
        (named("progress", id="p", percent=5), {"type": "data-progress", "id": "p", "data": {"id": "p", "percent": 5}}),
        (StreamEvent("note", "no JSON"), {"type": "data-note", "data": "no JSON"}),
        (named("partial", a=1), {"type": "data-object", "id": "object", "data": {"a": 1}}),
    ],
)
def test_events_of_applications(event: StreamEvent, chunk: dict[str, Any]) -> None:
    (found,) = [chunk for chunk in shown(event) if not chunk["type"].endswith("-step")]
    assert found.items() >= chunk.items()


def test_an_event_of_the_application_does_not_cut_the_text() -> None:
    chunks = shown(StreamEvent("", "a"), named("progress", percent=1), StreamEvent("", "b"))
    assert [chunk["id"] for chunk in chunks if chunk["type"] == "text-delta"] == ["1", "1"]


@pytest.mark.parametrize(
    ("events", "end", "expected"),
    [
        ([], DONE, [{"type": "finish", "finishReason": "stop"}]),
        ([StreamEvent("finish", "length")], DONE, [{"type": "finish", "finishReason": "length"}]),
        ([StreamEvent("finish", "content_filter")], DONE, [{"type": "finish", "finishReason": "content-filter"}]),
        ([StreamEvent("finish", "paused")], DONE, [{"type": "finish", "finishReason": "other"}]),
        (
            [named("tool_call", id="c", name="ask", args={})],
            DONE,
            [{"type": "finish-step"}, {"type": "finish", "finishReason": "tool-calls"}],
        ),
        (
            [],
            StreamEnd("stopped"),
            [{"type": "abort", "reason": "stopped"}, {"type": "finish", "finishReason": "other"}],
        ),
        (
            [],
            StreamEnd("error", "quota"),
            [{"type": "error", "errorText": "quota"}, {"type": "finish", "finishReason": "error"}],
        ),
    ],
)
def test_there_is_always_a_finish(events: list[StreamEvent], end: StreamEnd, expected: list[Any]) -> None:
    assert chunks_of(encode(batches_of(events, end), UiMessageEncoder("m1")))[-len(expected) :] == expected


def test_a_message_is_replayed_after_what_it_has_from_earlier_streams() -> None:
    before = (named("tool_call", id="c", name="ask", args={}), named("tool_result", id="c", name="ask", result=42))
    chunks = shown(StreamEvent("", "So"), encoder=UiMessageEncoder("m1", before=before))
    kinds = [chunk["type"] for chunk in chunks]
    assert kinds[:4] == ["start-step", "tool-input-available", "tool-output-available", "finish-step"]
    assert kinds[4:] == ["start-step", "text-start", "text-delta", "text-end", "finish-step"]


def test_calls_that_wait() -> None:
    call = named("tool_call", id="c", name="pay", args={})
    asked = [call, named("approval_request", id="c", name="pay"), StreamEvent("finish", "waiting")]
    chunks = chunks_of(encode(batches_of(asked, DONE), UiMessageEncoder("m1")))
    assert {"type": "tool-approval-request", "approvalId": "c", "toolCallId": "c"} in chunks
    assert chunks[-1] == {"type": "finish", "finishReason": "tool-calls"}
    of_page = [call, named("approval_request", id="c", details={"runs": "page"})]
    assert all(chunk["type"] != "tool-approval-request" for chunk in shown(*of_page))
    rest = [named("approval", id="c", approved=False), named("tool_result", id="c", result={"error": "Denied"})]
    going_on = UiMessageEncoder("m1", before=(call,), sends_before=False)
    assert shown(*rest, encoder=going_on) == [{"type": "tool-output-denied", "toolCallId": "c"}]
    assert shown(*rest) == []  # of a call that is not here


@given(EVENTS, ENDS, st.lists(st.integers(0, 14), max_size=4))
def test_a_message_is_the_same_however_its_stream_was_cut(
    events: list[StreamEvent], end: StreamEnd, cuts: list[int]
) -> None:
    whole = chunks_of(encode(batches_of(events, end), UiMessageEncoder("m1")))
    in_pieces = chunks_of(encode(batches_of(events, end, cuts), UiMessageEncoder("m1")))
    assert list(joined(in_pieces)) == list(joined(whole))


@settings(max_examples=25)
@given(EVENTS, ENDS)
def test_json_lines_have_everything(events: list[StreamEvent], end: StreamEnd) -> None:
    lines = [json.loads(line) for line in encode(batches_of(events, end), JsonLinesEncoder()).split(b"\n") if line]
    assert [line["id"] for line in lines[:-1]] == list(range(1, len(events) + 1))
    assert [line.get("event", "") for line in lines[:-1]] == [event.event for event in events]
    assert [line["text"] for line in lines if "text" in line] == [event.data for event in events if event.is_text]
    assert (lines[-1]["end"], lines[-1].get("error")) == (end.state, end.error)
    for line, event in zip(lines, events, strict=False):
        if "data" in line and isinstance(line["data"], str):
            assert line["data"] == event.data or json.loads(event.data) == line["data"]


def test_plain_text_is_the_text() -> None:
    events = [StreamEvent("reasoning", "no"), StreamEvent("", "Grüße"), named("usage"), StreamEvent("", "\r\n")]
    assert encode(batches_of(events, DONE), PlainTextEncoder()) == "Grüße\r\n".encode()


@settings(max_examples=25)
@given(EVENTS, ENDS)
def test_encoders_are_values(events: list[StreamEvent], end: StreamEnd) -> None:
    for encoder in ENCODERS:
        (batch,) = batches_of(events, end)
        first, after = encoder(batch)
        again, after_again = encoder(batch)
        assert (first, after) == (again, after_again)
        assert hash(after) == hash(after_again)


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: type(encoder).__name__)
@pytest.mark.anyio
async def test_a_response_is_that_of_a_followed_stream(encoder: Encoder) -> None:
    async def source() -> AsyncGenerator[str]:
        yield "Hello"

    store = MemoryStreamStore()
    stream = await DurableStream.create(store, source(), stream_id="s1")
    await stream.wait_closed()
    response = respond(await follow(store, "s1"), encoder)
    assert response.headers["Content-Type"]
    body = b"".join([data async for data in response.body])
    assert body == encode(batches_of([StreamEvent("", "Hello")], DONE), encoder)


@pytest.mark.anyio
async def test_sse_is_that_of_a_durable_stream() -> None:
    async def source() -> AsyncGenerator[str | StreamEvent]:
        yield "Hello"
        yield StreamEvent("usage", "{}")

    store = MemoryStreamStore()
    stream = await DurableStream.create(store, source(), stream_id="s1")
    expected = b"".join([data async for data in stream.response().body])
    batches = await follow(store, "s1")
    assert b"".join([data async for data in encoded(batches, SseEncoder("s1"))]) == expected
    rest = b"".join([data async for data in encoded(await follow(store, "s1", 1), SseEncoder())])
    assert rest == b"".join([data async for data in (await DurableStream.resume(store, "s1", 1)).body])


@pytest.mark.anyio
async def test_followers_at_one_position_share_the_work() -> None:
    """Each batch is encoded once, also for a follower that came later, in another state object."""
    calls = 0

    async def batches(shared: list[EventBatch]) -> AsyncGenerator[EventBatch]:
        for batch in shared:
            yield batch

    class Counting(UiMessageEncoder):
        def __call__(self, batch: EventBatch, /) -> tuple[bytes, UiMessageEncoder]:
            nonlocal calls
            calls += 1
            data, after = super().__call__(batch)
            return data, replace(self, _place=after._place)

    live = batches_of([StreamEvent("", "a"), StreamEvent("", "b"), StreamEvent("", "c")], DONE, [1, 2])
    one = [data async for data in encoded(batches(live), Counting("m1"))]
    other = [data async for data in encoded(batches(live), Counting("m1"))]
    assert one == other
    assert calls == 3
    stored = batches_of([StreamEvent("", "a")], None)
    late = [data async for data in encoded(batches([*stored, *live[1:]]), Counting("m1"))]
    assert b"".join(late) == b"".join(one)
    assert calls == 4


@pytest.mark.anyio
async def test_a_live_token_is_encoded_once_for_all_followers() -> None:
    calls = 0
    go = asyncio.Event()

    class Counting(UiMessageEncoder):
        def __call__(self, batch: EventBatch, /) -> tuple[bytes, UiMessageEncoder]:
            nonlocal calls
            calls += 1
            data, after = super().__call__(batch)
            return data, replace(self, _place=after._place)

    async def source() -> AsyncGenerator[str]:
        await go.wait()
        for number in range(50):
            yield f"{number} "
            await asyncio.sleep(0.001)

    async def read() -> bytes:
        return b"".join([data async for data in respond(stream.follow(), Counting("m1")).body])

    stream = await DurableStream.create(MemoryStreamStore(), source())
    reading = [asyncio.ensure_future(read()) for _ in range(100)]
    await asyncio.sleep(0)
    go.set()
    answers = await asyncio.gather(*reading)
    assert len({b"".join(chunk for chunk in answer.split(b"\n\n")) for answer in answers}) == 1
    assert calls <= 55


def test_a_heartbeat_leaves_the_encoder_as_it_is() -> None:
    idle = EventBatch.silent(0)
    for encoder in ENCODERS:
        data, after = encoder(idle)
        assert after == encoder
        assert data in (b"", b": ping\n\n")
