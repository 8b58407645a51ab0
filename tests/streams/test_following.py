"""Following a stream as events, from the buffer of its producer and from its store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibind.errors import PRODUCER_LOST, StreamNotFoundError
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import (
    DurableStream,
    EventBatch,
    MemoryStreamStore,
    SseParser,
    StreamEnd,
    StreamEvent,
    StreamStore,
    encode_chunk,
    follow,
)
from aibind.streams.position import Position
from aibind.streams.sse_body import encode_batch
from aibind.streams.store import NOT_KEPT
from aibind.testing import Faults, FaultySqliteClient
from tests.support.sources import Source, tokens

PLACES = pytest.mark.parametrize("place", ["buffer", "memory", "file"])
EVENTS = [
    StreamEvent("", "one "),
    StreamEvent("reasoning", "why "),
    StreamEvent("reasoning", "not"),
    StreamEvent("usage", '{"outputTokens":2}'),
    StreamEvent("", "two "),
    StreamEvent("", "three"),
]


@asynccontextmanager
async def open_stores(place: str, folder: Path) -> AsyncIterator[tuple[StreamStore, StreamStore]]:
    """Open the store that the producer writes to, and the one that a follower reads from."""
    if place != "file":
        store = MemoryStreamStore()
        yield store, store
        return
    async with wrap_sqlite3(folder / "streams.db") as client, wrap_sqlite3(folder / "streams.db") as other:
        await migrate(client)
        yield SqliteStreamStore(client), SqliteStreamStore(other)


async def source_of(events: list[StreamEvent], pause_s: float = 0) -> AsyncIterator[StreamEvent]:
    for event in events:
        yield event
        await asyncio.sleep(pause_s)


async def read(batches: AsyncIterator[EventBatch]) -> tuple[list[tuple[int, StreamEvent]], StreamEnd | None]:
    events: list[tuple[int, StreamEvent]] = []
    end = None
    async for batch in batches:
        assert end is None, "nothing follows the end"
        events += batch.events
        end = batch.end
        if batch.events:
            assert batch.position == batch.events[-1][0]
    return events, end


def joined(events: list[tuple[int, StreamEvent]]) -> list[tuple[str, str]]:
    """Join adjacent pieces, as a reader does."""
    out: list[tuple[str, str]] = []
    for _, event in events:
        if out and event.grows and out[-1][0] == event.event:
            out[-1] = (event.event, out[-1][1] + event.data)
        else:
            out.append((event.event, event.data))
    return out


WHOLE = joined([(0, event) for event in EVENTS])


async def produce(store: StreamStore, place: str, events: list[StreamEvent]) -> DurableStream:
    stream = await DurableStream.create(store, source_of(events), flush_interval_ms=None if place != "buffer" else 1000)
    if place != "buffer":
        await stream.wait_closed()
    return stream


@PLACES
async def test_events_come_with_ids_and_the_end(place: str, tmp_path: Path) -> None:
    async with open_stores(place, tmp_path) as (store, other):
        stream = await produce(store, place, EVENTS)
        events, end = await read(await follow(other, stream.id))
        assert joined(events) == WHOLE
        assert end == StreamEnd("done")
        ids = [id_ for id_, _ in events]
        assert len(set(ids)) == len(ids)


@PLACES
@pytest.mark.parametrize("cut", range(7))
async def test_a_follower_resumes_after_any_event(place: str, cut: int, tmp_path: Path) -> None:
    async with open_stores(place, tmp_path) as (store, other):
        stream = await DurableStream.create(store, source_of(EVENTS, 0.001), flush_interval_ms=2)
        if place != "buffer":
            await stream.wait_closed()
        seen: list[tuple[int, StreamEvent]] = []
        async with aclosing(await follow(other, stream.id)) as batches:
            async for batch in batches:
                for numbered in batch.events:
                    if len(seen) < cut:
                        seen.append(numbered)
                if len(seen) == cut:
                    break
        rest, end = await read(await follow(other, stream.id, seen[-1][0] if seen else 0))
        assert joined(seen + rest) == WHOLE
        assert end == StreamEnd("done")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "reasoning", "usage"]), st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
        ),
        max_size=12,
    ),
    st.data(),
)
def test_any_cut_of_any_events_is_resumed_exactly(items: list[tuple[str, str]], data: st.DataObject) -> None:
    sent = [StreamEvent(name, text.replace("\r", " ")) for name, text in items]

    async def check() -> None:
        store = MemoryStreamStore()
        stream = await DurableStream.create(store, source_of(sent), flush_interval_ms=1000)
        whole, _ = await read(stream.follow())
        assert joined(whole) == joined([(0, event) for event in sent])
        cut = data.draw(st.integers(0, len(whole)))
        after = whole[cut - 1][0] if cut else 0
        await stream.wait_closed()
        for batches in (stream.follow(after), await follow(store, stream.id, after)):
            rest, end = await read(batches)
            assert joined(whole[:cut] + rest) == joined(whole)
            assert end == StreamEnd("done")

    asyncio.run(check())


async def test_followers_at_one_position_share_what_an_encoder_makes() -> None:
    source = Source(tokens(20), rate=200)
    stream = await DurableStream.create(MemoryStreamStore(), source.stream(), flush_interval_ms=1000)
    encoded: list[EventBatch] = []

    def encode(batch: EventBatch) -> str:
        encoded.append(batch)
        return "".join(event.data for _, event in batch.events)

    async def read_text() -> str:
        return "".join([batch.share(encode) async for batch in stream.follow()])

    texts = await asyncio.gather(*(read_text() for _ in range(50)))
    assert len(set(texts)) == 1
    assert len(encoded) <= 25, "fifty followers at one position cost one encoding a batch"
    assert len({id(batch) for batch in encoded}) == len(encoded)


async def test_the_response_is_an_encoder_over_the_same_batches() -> None:
    stream = await DurableStream.create(MemoryStreamStore(), source_of(EVENTS), flush_interval_ms=1000)
    await stream.wait_closed()
    events = b"".join([encode_batch(batch) async for batch in stream.follow()])
    assert b"".join([data async for data in stream.response(after=0).body]) == events
    messages = SseParser().feed(events)
    assert [(message.event, message.data) for message in messages] == [*WHOLE, ("done", "")]


@PLACES
async def test_silence_is_an_idle_batch_only_when_asked_for(place: str, tmp_path: Path) -> None:
    async def silent() -> AsyncIterator[str]:
        yield "a word, "
        await asyncio.sleep(0.2)
        yield "and another"

    async with open_stores(place, tmp_path) as (store, other):
        stream = await DurableStream.create(store, silent())
        seen = [batch async for batch in await follow(other, stream.id, idle_s=0.02)]
        idle = [batch for batch in seen if batch.is_idle]
        assert idle
        assert all(batch.position >= 0 and not batch.events for batch in idle)
        assert "".join(event.data for batch in seen for _, event in batch.events) == "a word, and another"
        assert not [batch async for batch in await follow(other, stream.id) if batch.is_idle]


@PLACES
async def test_an_unknown_stream_and_a_bad_id_are_refused(place: str, tmp_path: Path) -> None:
    async with open_stores(place, tmp_path) as (store, other):
        with pytest.raises(StreamNotFoundError):
            await follow(other, "unknown")
        stream = await produce(store, place, EVENTS)
        for after in (-1, 2**53):
            with pytest.raises(ValueError, match="out of range"):
                await follow(other, stream.id, after)
        await stream.wait_closed()


async def test_a_lost_producer_is_how_the_stream_ends() -> None:
    store = MemoryStreamStore(lease_ms=50)
    await store.create("s")
    await store.append("s", encode_chunk(StreamEvent("", "half of it")))
    events, end = await read(await follow(store, "s"))
    assert joined(events) == [("", "half of it")]
    assert end == StreamEnd("error", PRODUCER_LOST)


async def test_a_store_that_cannot_be_read_is_how_the_stream_ends(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        store = SqliteStreamStore(FaultySqliteClient(client, Faults()), poll_interval_ms=5)
        await store.create("s")
        await store.append("s", encode_chunk(StreamEvent("", "half of it")))
        batches = await follow(store, "s")
        assert joined(list((await anext(batches)).events)) == [("", "half of it")]
        await client.execute("DROP TABLE aibind_stream_chunks")
        events, end = await read(batches)
        assert (events, end) == ([], StreamEnd("error", "Stream read failed"))


async def test_a_follower_that_leaves_frees_what_it_held() -> None:
    gate = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        yield "one"
        await gate.wait()

    stream = await DurableStream.create(MemoryStreamStore(), source())
    followers = [stream.follow(idle_s=60) for _ in range(100)]
    assert {(await anext(batches)).events[0][1].data for batches in followers} == {"one"}
    waiting = [asyncio.ensure_future(anext(batches)) for batches in followers]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    loop = asyncio.get_running_loop()
    timers = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    assert not [handle for handle in timers if handle.when() - loop.time() > 30], "the idle timers are cancelled"
    gate.set()
    await stream.wait_closed()


@pytest.mark.parametrize("stops", ["before", "meanwhile"])
@pytest.mark.parametrize(
    ("after", "is_kept"),
    [(0, True), (1, True), (2, True), (Position(1, 2).id, True), (3, False), (Position(3, 2).id, False), (9, False)],
)
async def test_a_reader_that_comes_with_more_than_a_stop_has_kept_is_told(
    after: int, is_kept: bool, stops: str, tmp_path: Path
) -> None:
    """Its producer cannot store what it delivers, and another process has stopped the reply meanwhile."""
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        store = SqliteStreamStore(client)
        await store.create("s")
        await store.append_many("s", ["\x01one ", "\x01two "])
        if stops == "before":
            await store.stop("s")
        following = asyncio.ensure_future(collect(store, after))
        if stops == "meanwhile":
            await asyncio.sleep(0.05)
            await store.stop("s")
        batches = await following
        assert batches[-1].end == (StreamEnd("stopped") if is_kept else StreamEnd("error", NOT_KEPT))


async def collect(store: StreamStore, after: int) -> list[EventBatch]:
    async with aclosing(await follow(store, "s", after)) as batches:
        return [batch async for batch in batches]
