"""Resuming in the format of the AI SDK: what follows any id is the rest, to the character."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibind.protocols import UiMessageEncoder, respond
from aibind.streams import DurableStream, EventBatch, MemoryStreamStore, SseParser, StreamEnd, StreamEvent, follow
from tests.protocols.events import ENDS, EVENTS, joined, named

pytestmark = pytest.mark.anyio

END_ID = 2**53 - 1
PART = 10**9


def messages_of(data: bytes) -> list[tuple[int | None, Any]]:
    """Return the messages of a body: the id of each, if it has one, and its chunk (None for ``[DONE]``)."""
    return [
        (int(message.id) if message.id else None, None if message.data == "[DONE]" else json.loads(message.data))
        for message in SseParser().feed(data)
    ]


async def body_of(store: MemoryStreamStore, encoder: UiMessageEncoder, after: int | None) -> bytes:
    """Return the body that a client with an id is sent."""
    return b"".join([data async for data in respond(await follow(store, "s1"), encoder, after=after).body])


async def ended(store: MemoryStreamStore, events: Sequence[StreamEvent], end: StreamEnd, *, packs: bool) -> None:
    """Make a stream with an end, and wait until it is stored."""

    async def source() -> AsyncGenerator[StreamEvent]:
        for place, event in enumerate(events):
            yield event
            if place % 4 == 3:  # what there is so far is stored
                await asyncio.sleep(0)
        if end.state == "error":
            raise ValueError
        if end.state == "stopped":
            await asyncio.Event().wait()

    stream = await DurableStream.create(store, source(), stream_id="s1", pack_events=packs, flush_interval_ms=0)
    if end.state == "stopped":
        await asyncio.sleep(0.001)
        await stream.stop()
    await stream.wait_closed()


@settings(max_examples=60)
@given(EVENTS, ENDS, st.booleans(), st.lists(st.builds(StreamEvent, st.just(""), st.text(min_size=1)), max_size=2))
async def test_the_rest_follows_every_id(
    events: list[StreamEvent], end: StreamEnd, packs: bool, before: list[StreamEvent]
) -> None:
    usable = [event for event in events if event.event not in ("stopped", "done")]
    store = MemoryStreamStore()
    await ended(store, usable, end, packs=packs)
    encoder = UiMessageEncoder("m1", frozenset({"weather"}), tuple(before))
    whole = messages_of(await body_of(store, encoder, None))
    assert whole[0][1]["type"] == "start"
    assert whole[-1] == (END_ID, None)
    ids = [id_ for id_, _ in whole if id_ is not None]
    assert ids == sorted(set(ids))
    for place, (id_, _) in enumerate(whole[:-1]):
        if id_ is not None:
            rest = messages_of(await body_of(store, encoder, id_))
            assert rest == whole[place + 1 :]


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["wörds ", "🦊", "\n", "x" * 700]), min_size=1, max_size=6), st.booleans())
async def test_a_text_is_resumed_at_every_character(texts: list[str], has_call: bool) -> None:
    calls = [named("tool_call", id="c", name="clock", args={})] * has_call
    store = MemoryStreamStore()
    events = [*calls, StreamEvent("reasoning", "Hm"), StreamEvent("", "".join(texts))]
    await ended(store, events, StreamEnd("done"), packs=False)
    encoder = UiMessageEncoder("m1")
    whole = [chunk for _, chunk in messages_of(await body_of(store, encoder, None))]
    text, seq = "".join(texts), len(calls) + 2
    number = next(chunk["id"] for chunk in whole if chunk and chunk["type"] == "text-delta")
    for chars in {1, 2, len(text) // 2, len(text) - 1} & set(range(1, len(text))):
        rest = [chunk for _, chunk in messages_of(await body_of(store, encoder, seq * PART + chars))]
        first, *others = joined(rest)
        assert first == {"type": "text-delta", "id": number, "delta": text[chars:]}
        assert others == list(joined(whole))[-len(others) :]


async def test_a_live_text_is_resumed_inside() -> None:
    """At an id that was sent while its chunk grew, from the buffer and later from the store."""
    go = asyncio.Event()

    async def source() -> AsyncGenerator[StreamEvent]:
        yield named("tool_call", id="c", name="clock", args={})
        yield StreamEvent("", "Half")
        await go.wait()
        yield StreamEvent("", " and half")

    store = MemoryStreamStore()
    stream = await DurableStream.create(store, source(), stream_id="s1", flush_interval_ms=60_000)
    body = respond(stream.follow(), UiMessageEncoder("m1")).body
    seen = messages_of(await anext(body)) + messages_of(await anext(body))
    await body.aclose()
    assert seen[-1][1] == {"type": "text-delta", "id": "1", "delta": "Half"}
    after = seen[-1][0]
    assert after == 2 * PART + 4
    live = asyncio.ensure_future(body_of(store, UiMessageEncoder("m1"), after - 2))
    await asyncio.sleep(0.01)
    go.set()
    for chars, data in ((2, await live), (4, await body_of(store, UiMessageEncoder("m1"), after))):
        first = next(joined([chunk for _, chunk in messages_of(data)]))
        assert first == {"type": "text-delta", "id": "1", "delta": "Half and half"[chars:]}
    await stream.wait_closed()


async def test_ids_that_count_from_a_stored_chunk() -> None:
    """As those of a stream are that another process may go on with: they go beyond the chunk that they name."""
    go = asyncio.Event()

    async def source() -> AsyncGenerator[StreamEvent]:
        yield StreamEvent("", "One ")
        yield named("tool_call", id="c", name="clock", args={})
        yield StreamEvent("reasoning", "Hm")
        yield StreamEvent("", "two 🦊")
        await go.wait()

    store = MemoryStreamStore()
    options: dict[str, Any] = {"flush_interval_ms": 60_000, "continuation": "{}"}
    stream = await DurableStream.create(store, source(), stream_id="s1", **options)
    body = respond(stream.follow(), UiMessageEncoder("m1")).body
    live = messages_of(await anext(body)) + messages_of(await anext(body))
    await body.aclose()
    ids = [id_ for id_, _ in live if id_ is not None]
    assert any(id_ > PART and id_ // PART < 4 for id_ in ids)
    for is_live in (True, False):
        if not is_live:
            go.set()
            await stream.wait_closed()
        whole = list(joined([chunk for _, chunk in messages_of(await first_of(store, None, is_live=is_live))]))
        for id_ in [*ids, ids[-1] - 3]:
            rest = [chunk for _, chunk in messages_of(await first_of(store, id_, is_live=is_live))]
            last = next((place for place, (at, _) in enumerate(live) if at == id_), len(live) - 1)
            has = [chunk for _, chunk in live[: last + 1]]
            if id_ == ids[-1] - 3:
                has[-1] = {**has[-1], "delta": has[-1]["delta"][:-3]}
            assert list(joined([*has, *rest])) == whole


async def first_of(store: MemoryStreamStore, after: int | None, *, is_live: bool) -> bytes:
    """Return what a client is sent: at once of a live stream, or all of one that has ended."""
    if not is_live:
        return await body_of(store, UiMessageEncoder("m1"), after)
    body = respond(await follow(store, "s1", idle_s=0.05), UiMessageEncoder("m1"), after=after).body
    data = b""
    async for more in body:
        if more == b": ping\n\n":
            break
        data += more
    await body.aclose()
    return data


def batch(*events: tuple[int, str], position: int, end: StreamEnd | None = None) -> EventBatch:
    """Return a batch of texts."""
    return EventBatch(tuple((id_, StreamEvent("", text)) for id_, text in events), 0, position, end)


async def resumed(batches: Sequence[EventBatch], after: int) -> list[bytes]:
    """Return the pieces that a reader with an id is sent."""

    async def read() -> AsyncGenerator[EventBatch]:
        for one in batches:
            yield one

    return [data async for data in respond(read(), UiMessageEncoder("m1"), after=after).body]


async def test_a_reader_who_is_ahead_of_the_store_waits_for_it() -> None:
    """Another process has sent it what it has not stored yet."""
    batches = [
        batch((1, "One "), position=1),
        batch(position=1),
        batch((2, "two "), position=2),
        batch((3, "three "), position=3),
        batch(position=3, end=StreamEnd("done")),
    ]
    ping, rest, more, end = await resumed(batches, 2 * PART + 2)
    assert ping == b": ping\n\n"
    assert rest == b'id: 2\ndata: {"type":"text-delta","id":"1","delta":"o "}\n\n'
    assert more == b'id: 3\ndata: {"type":"text-delta","id":"1","delta":"three "}\n\n'
    assert messages_of(end)[-1] == (END_ID, None)
    assert [len(await resumed(batches, after)) for after in (0, 1, 2, 3)] == [5, 4, 3, 2]


@pytest.mark.parametrize(("state", "kind"), [("stopped", "error"), ("done", "error"), ("error", "error")])
async def test_a_stream_that_ends_before_what_its_reader_has(state: Any, kind: str) -> None:
    end = StreamEnd(state, "producer lost" if state == "error" else None)
    (data,) = await resumed([batch((1, "One"), position=1, end=end)], 2 * PART + 3)
    chunks = [chunk for _, chunk in messages_of(data)]
    assert kind in [chunk["type"] for chunk in chunks if chunk]
    assert ("not kept" in str(chunks)) == (state != "error")
    whole = await resumed([batch((1, "One"), position=1, end=end)], 7)  # of a client that made it up
    assert ("not kept" in str(whole)) == (state == "stopped")


async def test_an_id_out_of_range() -> None:
    for after in (-1, 2**53):
        with pytest.raises(ValueError, match="out of range"):
            await resumed([], after)


async def test_followers_who_resumed_share_the_work() -> None:
    calls = 0
    go = asyncio.Event()

    class Counting(UiMessageEncoder):
        def __call__(self, batch: EventBatch, /) -> tuple[bytes, UiMessageEncoder]:
            nonlocal calls
            calls += 1
            data, after = super().__call__(batch)
            return data, replace(self, _place=after._place)

    async def source() -> AsyncGenerator[str]:
        yield "Hello "
        await go.wait()
        for number in range(50):
            yield f"{number} "
            await asyncio.sleep(0.001)

    async def read(after: int | None) -> bytes:
        return b"".join([data async for data in respond(stream.follow(), Counting("m1"), after=after).body])

    stream = await DurableStream.create(MemoryStreamStore(), source())
    while not calls:
        opened = respond(stream.follow(), Counting("m1")).body
        await anext(opened)
        await anext(opened)
        await opened.aclose()
    places = [None, 0, PART + 1, PART + 3, PART + 6]
    reading = [asyncio.ensure_future(read(places[number % 5])) for number in range(100)]
    await asyncio.sleep(0.01)
    go.set()
    answers = await asyncio.gather(*reading)
    text = "Hello " + "".join(f"{number} " for number in range(50))
    for number, answer in enumerate(answers):
        said = "".join(chunk.get("delta", "") for _, chunk in messages_of(answer) if chunk)
        assert said == text[(places[number % 5] or 0) % PART :]
    assert calls <= 70  # 52 batches for all, and a few where each of the five began
