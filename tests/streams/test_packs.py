"""Packs: many small events in few rows, resumed at every event and character, and decoded by the documented rule."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibind.server.recovery import read_reply
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream, MemoryStreamStore, SseMessage, StreamChunk, StreamEvent, follow
from aibind.streams.buffer import CROWD, StreamBuffer
from aibind.streams.packs import events_after
from aibind.streams.position import Position
from testbed.counting import CountingClient
from testbed.virtual_time import in_virtual_time
from tests.support.sources import Source, read_all

PACK = "aibind-events"

Items: TypeAlias = list[StreamEvent | str | Exception]


def deltas(count: int) -> Items:
    """Make the pieces of a tool's arguments, as a model streams them."""
    pieces = (json.dumps({"id": "c1", "name": "f", "delta": f'{{"n{n}'}, separators=(",", ":")) for n in range(count))
    return [StreamEvent("tool_call_delta", piece) for piece in pieces]


def joined(events: Iterable[StreamEvent]) -> list[StreamEvent]:
    """Join adjacent pieces of text, and of reasoning."""
    found: list[StreamEvent] = []
    for event in events:
        if found and event.grows and found[-1].event == event.event:
            found[-1] = StreamEvent(event.event, found[-1].data + event.data)
        elif event.data or not event.grows:
            found.append(event)
    return found


def events_of(messages: Iterable[SseMessage]) -> list[StreamEvent]:
    return [StreamEvent(m.event, m.data) for m in messages if m.event not in ("stream-id", "done")]


async def resume_everywhere(store: SqliteStreamStore, stream_id: str, live: list[SseMessage]) -> None:
    """Resume after each id that a live reader was given."""
    numbered = [message for message in live if message.id and message.event not in ("stream-id", "done")]
    events = events_of(numbered)

    for seen, message in enumerate(numbered):
        batches = [batch async for batch in await follow(store, stream_id, int(message.id))]
        rest = [event for batch in batches for _, event in batch.events]
        assert rest == events[seen + 1 :] or joined(rest) == joined(events[seen + 1 :])
        if seen % 50 == 0:
            response = await DurableStream.resume(store, stream_id, int(message.id))
            assert joined(events_of(await read_all(response.body))) == joined(events[seen + 1 :])


@in_virtual_time
async def test_1000_pieces_of_arguments_in_10_s_cost_50_rows(tmp_path: Path) -> None:
    items = deltas(1000)
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as local:
        await migrate(local)
        client = CountingClient(local)
        store = SqliteStreamStore(client)
        stream = await DurableStream.create(store, Source(items, rate=100).stream())
        live = await read_all(stream.response().body)
        await stream.wait_closed()
        print(f"statements {client.statements}, rows written {client.rows_written}")
        assert client.statements <= 50
        assert client.rows_written <= 50
        assert events_of(live) == items
        assert len({message.id for message in live if message.id}) == 1002  # with those of the stream and of its end
        await resume_everywhere(store, stream.id, live)
        assert list((await read_reply(store, stream.id)).events) == items


@in_virtual_time
async def test_events_among_text_are_packed_with_it(tmp_path: Path) -> None:
    """A word, then its citation: neither text nor events may cost a row each."""
    items: Items = []
    for number in range(150):
        items += [
            f"word{number} \n",
            StreamEvent("citation", json.dumps({"page": number})),
            StreamEvent("reasoning", "é👋"),
        ]
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as local:
        await migrate(local)
        client = CountingClient(local)
        store = SqliteStreamStore(client)
        stream = await DurableStream.create(store, Source(items, rate=45).stream())
        live = await read_all(stream.response().body)
        await stream.wait_closed()
        assert client.rows_written <= 60
        assert events_of(live) == [StreamEvent("", item) if isinstance(item, str) else item for item in items]
        await resume_everywhere(store, stream.id, live)


@in_virtual_time
async def test_a_chunk_an_event_where_readers_need_it(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as local:
        await migrate(local)
        remote = SqliteStreamStore(CountingClient(local))
        for store, pack_events, count in (
            (remote, False, 100),
            (SqliteStreamStore(local), None, 100),
            (remote, None, 15),
        ):
            source = Source(deltas(100), rate=100).stream()
            stream = await DurableStream.create(store, source, pack_events=pack_events)
            await stream.wait_closed()
            chunks = [chunk async for chunk in store.read_from(stream.id)]
            assert (len(chunks) == count) if count == 100 else (len(chunks) <= count)
            assert any(chunk.event.event == PACK for chunk in chunks) == (count < 100)


@in_virtual_time
async def test_a_usual_reply_has_no_packs() -> None:
    """Text, two calls and their results, text, and the end: as JavaScript readers know it, though they come at once."""
    store = MemoryStreamStore()
    call, result = StreamEvent("tool_call", "{}"), StreamEvent("tool_result", "{}")
    items: Items = ["Let me look", call, result, "Found it", StreamEvent("usage", "{}")]
    stream = await DurableStream.create(store, Source(items * 2).stream(), flush_interval_ms=250, pack_events=True)
    await stream.wait_closed()
    few = await DurableStream.create(store, Source(items).stream(), flush_interval_ms=250, pack_events=True)
    await few.wait_closed()
    assert [chunk.event.event async for chunk in store.read_from(few.id)] == [
        "",
        "tool_call",
        "tool_result",
        "",
        "usage",
    ]
    assert [chunk.event.event async for chunk in store.read_from(stream.id)][CROWD:] == [PACK]


async def test_large_events_are_not_packed() -> None:
    store = MemoryStreamStore()
    small, large = StreamEvent("n", "1"), StreamEvent("n", "x" * 5000)
    items: Items = [*[small] * 20, large, *[small] * 2, "y" * 70_000, small, small]
    stream = await DurableStream.create(store, Source(items).stream(), flush_interval_ms=250, pack_events=True)
    await stream.wait_closed()
    chunks = [chunk.event async for chunk in store.read_from(stream.id)]
    assert [(event.event, len(event.data)) for event in chunks if event.event != PACK] == [
        *[("n", 1)] * CROWD,
        ("n", 5000),
        ("", 65536),
        ("", 70_000 - 65536),
    ]
    batches = [batch async for batch in await follow(store, stream.id)]
    assert joined(event for batch in batches for _, event in batch.events) == joined(
        StreamEvent("", item) if isinstance(item, str) else item for item in items if not isinstance(item, Exception)
    )


@pytest.mark.parametrize(
    "data", ["", "{}", "[1]", '[["a"]]', '[["a",1]]', '[["a","b","c"]]', "[[" * 5000, '{"a":"b"}', "not JSON"]
)
def test_what_is_no_pack_is_one_event(data: str) -> None:
    chunk = StreamChunk(1, f"{PACK}\x01{data}")
    assert chunk.events == [chunk.event] == [StreamEvent(PACK, data)]


def test_a_pack_is_decoded_by_its_rule() -> None:
    chunk = StreamChunk(1, f'{PACK}\x01[["tool_call","{{\\"id\\":1}}"],["","text\\n"]]')
    assert chunk.events == [StreamEvent("tool_call", '{"id":1}'), StreamEvent("", "text\n")]
    assert events_after(3, StreamEvent(PACK, '[["","a"],["",""],["n",""]]'), 0) == [
        (3_000_000_001, StreamEvent("", "a")),
        (3, StreamEvent("n", "")),
    ]
    assert StreamChunk(1, "\x01text").events == [StreamEvent("", "text")]


async def test_the_name_of_packs_is_reserved() -> None:
    stream = await DurableStream.create(MemoryStreamStore(), Source([StreamEvent(PACK, "[]")]).stream())
    await stream.wait_closed()
    assert stream.end is not None
    assert stream.end.state == "error"


EVENTS = st.one_of(
    st.builds(StreamEvent, st.just(""), st.text(min_size=1, max_size=4)),
    st.builds(StreamEvent, st.just("reasoning"), st.text(min_size=1, max_size=3)),
    st.builds(StreamEvent, st.sampled_from(["a", "b"]), st.text(max_size=3)),
    st.just("flush"),
    st.just("read"),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, max_size=60))
async def test_every_position_is_exact(steps: list[StreamEvent | str]) -> None:
    """Whatever comes, and whenever it is stored and read: each id stands for the same place in buffer and store."""
    buffer, store = StreamBuffer(packs=True), MemoryStreamStore()
    await store.create("s")
    position = Position()
    pushed: list[StreamEvent] = []
    seen: list[tuple[int, StreamEvent]] = []

    def read() -> None:
        nonlocal position
        while True:
            batch, position = buffer.read(position)
            if batch is None:
                return
            seen.extend(batch.events)

    async def flush() -> None:
        chunks = buffer.unsaved_chunks()
        if chunks:
            await store.append_many("s", chunks)
            buffer.mark_saved(buffer.saved_seq + len(chunks))

    for step in steps:
        if isinstance(step, StreamEvent):
            pushed.append(step)
            buffer.push(step)
        elif step == "flush":
            await flush()
        else:
            read()
    read()
    await flush()
    assert buffer.unsaved_chars == 0
    await store.complete("s")
    whole = joined(pushed)
    assert joined(event for _, event in seen) == whole
    for number, (id_, _) in enumerate(seen, 1):
        stored = [event async for batch in await follow(store, "s", id_) for _, event in batch.events]
        batch, _ = buffer.read(Position.after(id_))
        kept = [event for _, event in batch.events] if batch is not None else []
        before = [event for _, event in seen[:number]]
        assert joined([*before, *stored]) == whole
        assert joined([*before, *kept]) == whole
