"""Long chunks reach readers in parts, and any of them can be the last that a reader has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibind.streams import DurableStream, MemoryStreamStore, SseParser, StreamEvent, encode_chunk, follow
from aibind.streams.buffer import MAX_SHARED, StreamBuffer
from aibind.streams.parts import PART_BYTES, PART_CHARS, split_event
from aibind.streams.position import MAX_ID, Position
from aibind.streams.short_messages import SHORT_BYTES, in_short_messages
from aibind.streams.sse_body import encode_batch
from tests.support.sources import read_all, text_of

MAX_MESSAGE_BYTES = 850
PIECES = ["a", " ", "word ", "\n", "\r\n", "\r", "é", "字", "👋🏽", "👨‍👩‍👧", "\x01", ":", "\u2028"]
TEXTS = st.lists(st.tuples(st.sampled_from(PIECES), st.integers(1, 700)), max_size=5).map(
    lambda runs: "".join(piece * count for piece, count in runs)
)


def normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


async def whole(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([data async for data in body])


async def source_of(*items: StreamEvent | str) -> AsyncIterator[StreamEvent | str]:
    for item in items:
        yield item


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.sampled_from(["", "reasoning"]), st.sampled_from(["live", "stored", "foreign"]), st.data())
def test_any_cut_of_any_text_is_resumed_exactly(text: str, name: str, place: str, data: st.DataObject) -> None:
    async def check() -> None:
        store = MemoryStreamStore()
        if place == "foreign":  # rows of another producer, which are not normalised
            await store.create("s")
            await store.append("s", encode_chunk(StreamEvent(name, text)))
            await store.complete("s")
        else:
            events = source_of(StreamEvent(name, text), StreamEvent("usage", "{}"))
            stream = await DurableStream.create(store, events, stream_id="s", flush_interval_ms=1000)
            await asyncio.sleep(0)
            if place == "stored":
                await stream.wait_closed()
        got, last_id = "", "0"
        while True:
            body = await whole((await DurableStream.resume(store, "s", int(last_id))).body)
            cut = data.draw(st.integers(0, len(body)))
            messages = SseParser().feed(body[:cut])
            for message in messages:
                got += message.data if message.event == name else ""
                last_id = message.id or last_id
            if messages and messages[-1].event == "done":
                break
            if cut == len(body) or not messages:
                rest = SseParser().feed(body)
                got += "".join(message.data for message in rest if message.event == name)
                break
        assert got == normal(text)

    asyncio.run(check())


@pytest.mark.parametrize("piece", PIECES)
def test_no_part_is_longer_than_a_short_connection(piece: str) -> None:
    text = piece * 3000
    for offset in (0, 7):
        parts = split_event(StreamEvent("reasoning", text), 9_000_000, Position(9_000_000, offset))
        assert "".join(event.data for _, event in parts) == text
        assert parts[-1][0] == 9_000_000
        reached = offset
        for id_, event in parts[:-1]:
            reached += len(event.data)
            assert Position.after(id_) == (9_000_000, reached)
            assert len(event.data) <= PART_CHARS
        for id_, event in parts:
            sent = encode_batch_of(id_, event)
            assert len(sent) <= MAX_MESSAGE_BYTES
    assert PART_BYTES < MAX_MESSAGE_BYTES


def encode_batch_of(id_: int, event: StreamEvent) -> bytes:
    from aibind.streams import EventBatch

    return encode_batch(EventBatch(((id_, event),), id_ - 1, id_))


def test_a_part_does_not_end_between_the_halves_of_a_line_end() -> None:
    for shift in range(4):
        text = "x" * (PART_CHARS - 2 + shift) + "\r\n" * 400
        parts = split_event(StreamEvent("", text), 1, Position())
        assert "".join(normal(event.data) for _, event in parts) == normal(text)


def test_what_readers_need_whole_is_not_cut() -> None:
    result = StreamEvent("tool_result", "x" * 100_000)
    assert split_event(result, 5, Position(5)) == [(5, result)]
    text = StreamEvent("", "x" * 100_000)
    last = MAX_ID // 10**9 + 1
    assert split_event(text, last, Position(last)) == [(last, text)], "its ids would be too large for JavaScript"


@pytest.mark.parametrize("flush_interval_ms", [0, 1000])
async def test_a_long_result_of_a_tool_is_one_message(flush_interval_ms: int) -> None:
    result = StreamEvent("tool_result", "x" * 5000)
    events = source_of("y" * 5000, result, "short")
    stream = await DurableStream.create(MemoryStreamStore(), events, flush_interval_ms=flush_interval_ms)
    messages = await read_all(stream.response(after=0).body)
    assert [len(message.data) for message in messages if message.event == "tool_result"] == [5000]
    assert [len(message.data) for message in messages if not message.event] == [*[512] * 9, 392, 5]
    assert messages[9].id == "1"


async def test_a_long_chunk_that_still_grows_is_read_in_parts() -> None:
    gate = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        yield "one "
        await gate.wait()
        yield "x" * 2000
        await gate.wait()

    stream = await DurableStream.create(MemoryStreamStore(), source(), flush_interval_ms=100_000)
    batches = stream.follow()
    first = (await anext(batches)).events
    gate.set()
    rest = [numbered async for batch in batches for numbered in batch.events]
    assert "".join(event.data for _, event in (*first, *rest)) == "one " + "x" * 2000
    assert len(rest) == 4
    for id_, _ in rest:
        again = [event.data async for batch in await follow(stream._store, stream.id, id_) for _, event in batch.events]
        seen = rest[: [number for number, _ in rest].index(id_) + 1]
        assert "".join([event.data for _, event in (*first, *seen)] + again) == "one " + "x" * 2000


async def test_readers_at_many_positions_of_a_silent_stream_do_not_fill_the_memory() -> None:
    buffer = StreamBuffer()
    buffer.push(StreamEvent("", "x" * 5000))
    for offset in range(1000):
        buffer.read(Position(1, offset))
    assert len(buffer._batches) <= MAX_SHARED


async def test_a_future_is_given_back() -> None:
    buffer = StreamBuffer()
    waiters = [buffer.waiter() for _ in range(3)]
    buffer.discard(waiters[1])
    buffer.discard(waiters[1])
    buffer.push(StreamEvent("", "x"))
    assert [waiter.done() for waiter in waiters] == [True, False, True]
    waiters[1].cancel()


async def test_text_is_the_same_for_every_reader() -> None:
    text = "字 and 👋\n" * 3000
    stream = await DurableStream.create(MemoryStreamStore(), source_of(text), flush_interval_ms=1000)
    bodies: list[Callable[[], AsyncIterator[bytes]]] = [lambda: stream.response().body] * 3
    assert {text_of(await read_all(body())) for body in bodies} == {text}


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.sampled_from(["", "reasoning"]), st.sampled_from(["live", "packed", "stored", "foreign"]), st.data())
def test_short_messages_fit_and_resume_exactly_at_any_of_them(
    text: str, name: str, place: str, data: st.DataObject
) -> None:
    async def check() -> None:
        store = MemoryStreamStore()
        items = [StreamEvent(name, text), StreamEvent("usage", "{}"), StreamEvent("", "end")]
        if place == "foreign":
            await store.create("s")
            await store.append_many("s", [encode_chunk(item) for item in items])
            await store.complete("s")
        else:
            crowd = [StreamEvent("mark", "{}")] * 8 if place == "packed" else []
            stream = await DurableStream.create(
                store, source_of(*crowd, *items), stream_id="s", flush_interval_ms=1000, pack_events=place == "packed"
            )
            await asyncio.sleep(0)
            if place != "live":
                await stream.wait_closed()
        got, last_id, ended = "", 0, False
        while not ended:
            batches = await follow(store, "s", last_id)
            messages = SseParser().feed(await whole(in_short_messages(batches, encode_batch)))
            for message in messages[: data.draw(st.integers(1, len(messages)))]:
                assert len(message.data.encode()) + 6 * message.data.count("\n") <= SHORT_BYTES
                got += message.data if message.event in ("", name) else ""
                ended = message.event == "done"
                last_id = int(message.id)
        assert got == normal(text) + "end"

    asyncio.run(check())
