"""What BaseStreamStore supplies, and the polling loop and the wake-up signals for stores that do without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from aibind.errors import ProducerLostError, TransientError
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import (
    BaseStreamStore,
    DurableStream,
    MemoryStreamStore,
    Pace,
    PagePoller,
    StreamChunk,
    StreamEnd,
    StreamPage,
    StreamStatus,
    WakeupSignals,
    poll_pages,
)
from testbed.counting import CountingClient
from testbed.virtual_time import in_virtual_time


class Minimal(BaseStreamStore):
    """The six methods, delegated to a store in memory; counts how often it is read."""

    def __init__(self, **options: object) -> None:
        super().__init__(flush_pace=Pace(0), **options)  # type: ignore[arg-type]
        self.memory = MemoryStreamStore(lease_ms=600_000)
        self.reads = 0

    async def create(
        self,
        stream_id: str,
        *,
        session_id: str | None = None,
        owner: str | None = None,
        request: str | None = None,
        question_id: str | None = None,
    ) -> None:
        await self.memory.create(
            stream_id, session_id=session_id, owner=owner, request=request, question_id=question_id
        )

    async def append_many(
        self, stream_id: str, chunks: Sequence[str], *, first_seq: int | None = None, renew: bool = False
    ) -> list[int]:
        seqs = await self.memory.append_many(stream_id, chunks, first_seq=first_seq, renew=renew)
        self.wake_readers(stream_id)
        return seqs

    async def read_page(self, stream_id: str, after_seq: int = 0) -> StreamPage:
        self.reads += 1
        return await self.memory.read_page(stream_id, after_seq)

    async def finish(
        self, stream_id: str, end: StreamEnd, *, chunks: Sequence[str] = (), first_seq: int | None = None
    ) -> StreamEnd:
        end = await self.memory.finish(stream_id, end, chunks=chunks, first_seq=first_seq)
        self.wake_readers(stream_id)
        return end

    async def live_streams(self, session_id: str) -> Sequence[str]:
        return await self.memory.live_streams(session_id)

    async def cleanup(self) -> int:
        return await self.memory.cleanup()


async def follow(store: BaseStreamStore) -> list[tuple[str, float]]:
    """Read a stream to its end; return each chunk with the time at which it was seen."""
    now = asyncio.get_running_loop().time
    return [(chunk.data, round(now(), 3)) async for chunk in store.read_from("s")]


async def produce(store: BaseStreamStore) -> None:
    for number in range(3):
        await asyncio.sleep(10)
        await store.append("s", str(number))
    await store.complete("s")


@in_virtual_time
async def test_readers_are_woken() -> None:
    store = Minimal(poll_interval_ms=None)
    await store.create("s")
    began = asyncio.get_running_loop().time()
    follower = asyncio.ensure_future(follow(store))
    await produce(store)
    assert [(data, time - began) for data, time in await follower] == [("0", 10), ("1", 20), ("2", 30)]
    assert store.reads == 4  # the first, and one for each wake-up; the end came with the last


@in_virtual_time
async def test_readers_that_are_not_woken_poll_and_back_off() -> None:
    store = Minimal(shares_wakeups=False)
    await store.create("s")
    began = asyncio.get_running_loop().time()
    follower = asyncio.ensure_future(follow(store))
    await produce(store)
    seen = await follower
    assert [data for data, _ in seen] == ["0", "1", "2"]
    assert all(0 <= time - began - due <= 1 for (_, time), due in zip(seen, (10, 20, 30), strict=True))
    assert 30 <= store.reads <= 80  # every 50 ms it would have been 600


@in_virtual_time
async def test_the_first_poll_comes_after_the_interval() -> None:
    store = Minimal(poll_interval_ms=5000, shares_wakeups=False)
    await store.create("s")
    began = asyncio.get_running_loop().time()
    follower = asyncio.ensure_future(follow(store))
    await asyncio.sleep(1)
    await store.append("s", "x")
    await store.complete("s")
    assert [(data, time - began) for data, time in await follower] == [("x", 5)]


async def test_status_and_renewal_follow_from_reading_and_appending() -> None:
    store = Minimal(lease_ms=60_000)
    assert await store.get_status("s") is None
    await store.create("s")
    await store.append_many("s", ["x"] * 1500)
    status = await store.get_status("s")
    assert status is not None
    assert (status.total_chunks, status.is_active) == (1500, True)
    assert await store.renew("s") is True
    await store.stop("s")
    assert await store.renew("s") is False
    assert (await store.read_page("s", 1500)).end == StreamEnd("stopped")


async def test_its_settings() -> None:
    store = Minimal(lease_ms=60_000, shares_wakeups=False)
    assert (store.lease_ms, store.grace_s, store.flush_pace, store.shares_wakeups) == (60_000, 6.0, Pace(0), False)
    assert Minimal().shares_wakeups
    for name in ("lease_ms", "poll_interval_ms"):
        with pytest.raises(ValueError, match=f"{name} is 0: use a number of milliseconds above 0"):
            Minimal(**{name: 0})
    with pytest.raises(ValueError, match="ttl_ms is -1: use"):
        MemoryStreamStore(ttl_ms=-1)


def test_a_store_without_a_method_cannot_be_made() -> None:
    class Incomplete(Minimal):
        finish = BaseStreamStore.finish

    with pytest.raises(TypeError, match="finish"):
        Incomplete()


async def test_a_poller_of_the_store_is_used() -> None:
    class Watched(Minimal):
        def make_poller(self, stream_id: str, wakeup: asyncio.Event) -> PagePoller:
            assert stream_id == "s"
            return Script([page("active", "a"), page("done", "b")])

    assert [chunk.data async for chunk in Watched().read_from("s")] == ["a", "b"]


class Script:
    """A poller that returns one page after the other, or raises one."""

    def __init__(self, pages: list[StreamPage | Exception]) -> None:
        self.pages = pages
        self.waits: list[bool] = []

    async def read_page(self, after_seq: int) -> StreamPage:
        found = self.pages.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def wait(self, timeout_s: float, *, progressed: bool) -> None:
        self.waits.append(progressed)
        await asyncio.sleep(min(timeout_s, 0.5))


def page(state: str, *chunks: str, expires_at: int = 2**52) -> StreamPage:
    status = StreamStatus(state, None, len(chunks), expires_at)  # type: ignore[arg-type]
    return StreamPage(status, tuple(StreamChunk(seq, data) for seq, data in enumerate(chunks, 1)))


@in_virtual_time
async def test_pages_are_polled_until_the_end() -> None:
    script = Script([page("active", "a"), page("active"), TransientError("busy"), page("active", "b"), page("done")])
    pages = [page async for page in poll_pages("s", script, lease_ms=30_000, give_up=not_lost)]
    assert [[chunk.data for chunk in page.chunks] for page in pages] == [["a"], ["b"], []]
    assert pages[-1].is_last
    assert script.waits == [True, False, True]


async def not_lost(_: int) -> StreamEnd | None:
    return None


async def lost(_: int) -> StreamEnd | None:
    return StreamEnd("error", "producer lost")


@in_virtual_time
async def test_polling_ends_with_the_lease() -> None:
    script = Script([page("active", expires_at=0)] * 20)
    began = asyncio.get_running_loop().time()
    with pytest.raises(ProducerLostError):
        async for _ in poll_pages("s", script, lease_ms=30_000, give_up=lost):
            pass
    assert 3 <= asyncio.get_running_loop().time() - began < 4  # a tenth of a lease


@in_virtual_time
async def test_what_was_stored_before_a_stream_was_given_up_is_read() -> None:
    ended = StreamPage(StreamStatus("error", "producer lost", 2, 2**52), page("active", "a", "b").chunks[1:])
    script = Script([page("active", "a"), *[page("active", expires_at=0)] * 20])

    async def give_up(lease: int) -> StreamEnd | None:
        assert lease == 0
        script.pages[:] = [ended]
        return await lost(lease)

    pages: list[StreamPage] = []

    async def read() -> None:
        async for found in poll_pages("s", script, lease_ms=30_000, give_up=give_up):
            pages[:] = [*pages, found]

    with pytest.raises(ProducerLostError):
        await read()
    assert [chunk.data for found in pages for chunk in found.chunks] == ["a", "b"]
    assert not any(found.is_last for found in pages)


@in_virtual_time
async def test_a_stream_is_not_lost_while_nobody_can_write() -> None:
    answers = iter([TransientError("locked"), None])

    async def give_up(_: int) -> StreamEnd | None:
        answer = next(answers)
        if answer is not None:
            raise answer
        return None

    script = Script([*[page("active", expires_at=0)] * 16, page("done", "late")])
    pages = [found async for found in poll_pages("s", script, lease_ms=30_000, give_up=give_up)]
    assert [chunk.data for chunk in pages[-1].chunks] == ["late"]
    assert next(answers, "asked") == "asked"


async def test_signals_reach_those_who_watch_a_stream() -> None:
    signals = WakeupSignals()
    signals.notify("a")
    with signals.watch("a") as one, signals.watch("a") as two, signals.watch("b") as other:
        assert signals.watching == 3
        signals.notify("a")
        assert (one.is_set(), two.is_set(), other.is_set()) == (True, True, False)
        one.clear()
        signals.notify("a")
        assert one.is_set()
    assert signals.watching == 0
    signals.notify("a")


class InAWorker(CountingClient):
    """A client whose users must not wake each other."""

    shares_wakeups = False


@in_virtual_time
async def test_a_store_over_a_client_that_shares_no_wakeups_shares_none() -> None:
    async with wrap_sqlite3(":memory:", threads=False) as client:
        await migrate(client)
        assert SqliteStreamStore(client).shares_wakeups
        assert SqliteStreamStore(CountingClient(client)).shares_wakeups
        worker = InAWorker(client)
        store = SqliteStreamStore(worker)
        assert not store.shares_wakeups

        async def words() -> AsyncIterator[str]:
            for _ in range(3):
                await asyncio.sleep(2)
                yield "word "

        stream = await DurableStream.create(store, words())
        assert DurableStream.find(store, stream.id) is None
        texts = [chunk.event.data async for chunk in store.read_from(stream.id)]
        assert "".join(texts) == "word " * 3
        assert sum(sql.startswith("SELECT s.state, s.error, s.total_chunks") for sql in worker.log) >= 6
