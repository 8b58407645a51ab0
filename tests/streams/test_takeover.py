"""A stream that another process goes on with: one text, once, for every reader."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream, EventBatch, StreamEnd, StreamEvent, follow
from aibind.streams.packs import length_of

TEXT = "".join(chr(ord("a") + number % 26) for number in range(3000))


class FreezingStore(SqliteStreamStore):
    """A store whose producer is suspended: its writes wait until it is woken, as those of a stopped process do."""

    frozen: asyncio.Event | None = None

    async def append_many(self, *args, **options):  # type: ignore[no-untyped-def]
        await self._thaw()
        return await super().append_many(*args, **options)

    async def renew(self, *args, **options):  # type: ignore[no-untyped-def]
        await self._thaw()
        return await super().renew(*args, **options)

    async def get_status(self, *args, **options):  # type: ignore[no-untyped-def]
        await self._thaw()
        return await super().get_status(*args, **options)

    async def finish(self, *args, **options):  # type: ignore[no-untyped-def]
        await self._thaw()
        return await super().finish(*args, **options)

    async def _thaw(self) -> None:
        if self.frozen is not None:
            await self.frozen.wait()


def plan_of(rng: random.Random) -> list[StreamEvent]:
    """Text and reasoning in pieces, with named events between them, some crowded."""
    events: list[StreamEvent] = []
    at = 0
    while at < len(TEXT):
        size = rng.choice((1, 1, 2, 3, 7, 40, 700))
        name = rng.choice(("", "", "", "", "reasoning"))
        events.append(StreamEvent(name, TEXT[at : at + size]))
        at += size
        if rng.random() < 0.2:
            events += [StreamEvent("tool_call_delta", f'{{"n": {at + n}}}') for n in range(rng.choice((1, 1, 9)))]
    return events


def joined(events: Sequence[StreamEvent]) -> list[StreamEvent]:
    """Adjacent pieces of text are one."""
    found: list[StreamEvent] = []
    for event in events:
        if found and event.grows and found[-1].event == event.event:
            found[-1] = StreamEvent(event.event, found[-1].data + event.data)
        else:
            found.append(event)
    return found


def after(events: Sequence[StreamEvent], units: int) -> list[StreamEvent]:
    """What comes after a position in the events, which counts as positions in chunks do."""
    rest: list[StreamEvent] = []
    for event in events:
        length = length_of(event)
        if units >= length:
            units -= length
        elif units:
            rest.append(StreamEvent(event.event, event.data[units:]))
            units = 0
        else:
            rest.append(event)
    return rest


async def collect(batches: AsyncIterator[EventBatch], into: list[tuple[int, StreamEvent]]) -> StreamEnd:
    async for batch in batches:
        into += batch.events
        if batch.end is not None:
            return batch.end
    raise AssertionError("the stream had no end")


async def pieces_of(events: Sequence[StreamEvent], rng: random.Random, gate: asyncio.Event | None = None):  # type: ignore[no-untyped-def]
    for number, event in enumerate(events):
        if gate is not None and number == len(events) // 2:
            await gate.wait()
        if rng.random() < 0.3:
            await asyncio.sleep(rng.choice((0, 0.001, 0.006)))
        yield event


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("seed", range(8))
async def test_readers_see_one_text_once_across_a_takeover(seed: int, packs: bool, tmp_path: Path) -> None:
    rng = random.Random(seed)
    plan = plan_of(rng)
    async with wrap_sqlite3(tmp_path / "a.db") as first, wrap_sqlite3(tmp_path / "a.db") as second:
        await migrate(first)
        old, new = FreezingStore(first, lease_ms=60_000), SqliteStreamStore(second, lease_ms=60_000)
        gate = asyncio.Event()
        moved = asyncio.Event()
        ended: list[StreamEnd] = []

        async def note_end(end: StreamEnd, is_whole: bool) -> None:
            ended.append(end)

        stream = await DurableStream.create(
            old,
            pieces_of(plan, rng, gate),
            stream_id="s",
            continuation="{}",
            pack_events=packs,
            flush_interval_ms=rng.choice((1, 5, 30)),
            on_moved=moved.set,
            on_end=note_end,
        )
        seen: list[tuple[int, StreamEvent]] = []
        reading = asyncio.create_task(collect(stream.follow(), seen))
        await asyncio.sleep(rng.choice((0, 0.004, 0.02, 0.05)))
        old.frozen = asyncio.Event()  # what is delivered from now on is not stored
        gate.set()
        await asyncio.sleep(0.03)
        count = len(seen)
        assert count

        status = await new.get_status("s")
        assert status is not None
        claim = await new.claim("s", lease=status.expires_at, max_takeovers=1)
        assert claim is not None
        page = await new.read_page("s")
        stored = [event for chunk in page.chunks for event in chunk.events]
        rest = after(joined(plan), sum(map(length_of, stored)))
        taken = await DurableStream.go_on(
            new,
            pieces_of(rest, rng),
            stream_id="s",
            claim=claim,
            saved_seq=len(page.chunks),
            pack_events=not packs if rng.random() < 0.5 else packs,
        )
        # Readers of the old process come to the new one from wherever they were cut off, and others from the start.
        starts = [0, *(rng.randrange(count) for _ in range(6)), count - 1]
        logs: list[list[tuple[int, StreamEvent]]] = [list(seen[: start + 1]) if start else [] for start in starts]
        readers = [asyncio.create_task(collect(await follow(new, "s", log[-1][0] if log else 0), log)) for log in logs]
        await asyncio.sleep(rng.choice((0, 0.02)))
        old.frozen.set()
        await asyncio.wait_for(stream.wait_closed(), 10)
        await taken.wait_closed()
        for end in await asyncio.gather(reading, *readers):
            assert end == StreamEnd("done")
        for log in (seen, *logs):
            assert joined([event for _, event in log]) == joined(plan)
        # The end is the other process's, unless the old one finds that it has just what that one stored.
        assert (moved.is_set(), ended) in ((True, []), (False, [StreamEnd("done")]))
        whole: list[tuple[int, StreamEvent]] = []
        assert await collect(await follow(old, "s"), whole) == StreamEnd("done")
        assert joined([event for _, event in whole]) == joined(plan)
        # Every id that was given before and after leads to the rest, also once the stream has ended.
        ids = [id_ for id_, _ in seen]
        for number in rng.sample(range(len(ids)), min(20, len(ids))):
            late = list(seen[: number + 1])
            assert await collect(await follow(new, "s", ids[number]), late) == StreamEnd("done")
            assert joined([event for _, event in late]) == joined(plan)


async def test_what_is_sampled_anew_is_shown_once_it_is_stored(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "a.db") as client:
        await migrate(client)
        store = FreezingStore(client)
        gate = asyncio.Event()
        plan = [StreamEvent("", "stored "), StreamEvent("", "not stored")]
        stream = await DurableStream.create(
            store, pieces_of(plan, random.Random(1), gate), continuation="{}", shows_stored=True
        )
        seen: list[tuple[int, StreamEvent]] = []
        reading = asyncio.create_task(collect(stream.follow(), seen))
        while not seen:
            await asyncio.sleep(0.005)
        store.frozen = asyncio.Event()
        gate.set()
        await asyncio.sleep(0.05)
        assert [event.data for _, event in seen] == ["stored "]
        store.frozen.set()
        assert await reading == StreamEnd("done")
        assert "".join(event.data for _, event in seen) == "stored not stored"


async def test_the_reference_is_stored_before_more_of_the_answer(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "a.db") as client:
        await migrate(client)
        store = SqliteStreamStore(client)
        referred = asyncio.Event()
        holder: list[DurableStream] = []

        async def source() -> AsyncIterator[str]:
            await referred.wait()
            await holder[0].set_reference("resp_1")
            yield "text"

        holder.append(await DurableStream.create(store, source(), stream_id="s", continuation="{}"))
        referred.set()
        await holder[0].wait_closed()
        status = await store.get_status("s")
        assert status is not None
        assert (status.reference, status.state) == ("resp_1", "done")


async def test_a_reader_who_has_more_than_is_left_is_told(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "a.db") as client:
        await migrate(client)
        store = SqliteStreamStore(client)
        await store.create("s", continuation="{}")
        await store.append_many("s", ["\x01abc"], first_seq=1, epoch=0)
        await store.finish("s", StreamEnd("done"), chunks=["\x01de"], first_seq=2, epoch=0)
        for offset, text, state in ((1, "bcde", "done"), (3, "de", "done"), (4, "e", "done"), (5, "", "done")):
            seen: list[tuple[int, StreamEvent]] = []
            end = await collect(await follow(store, "s", 10**9 + offset), seen)
            assert ("".join(event.data for _, event in seen), end.state) == (text, state)
        seen = []
        end = await collect(await follow(store, "s", 10**9 + 6), seen)
        assert (end.state, seen) == ("error", [])


async def test_ids_stay_those_of_whole_chunks_when_another_process_has_gone_on(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "a.db") as first, wrap_sqlite3(tmp_path / "a.db") as second:
        await migrate(first)
        old, new = FreezingStore(first), SqliteStreamStore(second)
        gate = asyncio.Event()
        plan = [StreamEvent("", "stored "), StreamEvent("", TEXT)]
        stream = await DurableStream.create(
            old, pieces_of(plan, random.Random(1), gate), stream_id="s", continuation="{}", whole_chunks=True
        )
        seen: list[tuple[int, StreamEvent]] = []
        reading = asyncio.create_task(collect(stream.follow(), seen))
        while not seen:
            await asyncio.sleep(0.005)
        old.frozen = asyncio.Event()
        gate.set()
        status = await new.get_status("s")
        assert status is not None
        claim = await new.claim("s", lease=status.expires_at, max_takeovers=1)
        assert claim is not None
        rest = [StreamEvent("", TEXT[:1000]), StreamEvent("", TEXT[1000:])]
        taken = await DurableStream.go_on(
            new,
            pieces_of(rest, random.Random(1)),
            stream_id="s",
            claim=claim,
            saved_seq=1,
            flush_interval_ms=0,
            whole_chunks=True,
        )
        await taken.wait_closed()
        old.frozen.set()
        assert await reading == StreamEnd("done")
        assert "".join(event.data for _, event in seen) == "stored " + TEXT
        assert [id_ for id_, _ in seen] == [1, 2, 3]
