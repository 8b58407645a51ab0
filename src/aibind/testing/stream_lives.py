"""The life of a stream: leases, lost producers, expiry and cleanup (contract, section 3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from .._time import now_ms, sleep, timeout
from ..errors import PRODUCER_LOST, ProducerLostError, StreamNotFoundError
from ..streams.store import StreamStore
from .checks import PATIENCE_S, CheckList, gather_items, raises, wait_until, wait_until_past
from .stream_harness import StreamStoreHarness

__all__ = ["check"]

GRACES_S = (0.2, 0.2, 1.0, 4.0)
"""Seconds that a producer may be silent after its lease, one attempt each: an attempt in which the machine itself
paused for longer shows nothing."""

PAUSED = "This machine paused during every attempt: run the check again"

check: CheckList[StreamStoreHarness] = CheckList()


@check
async def a_silent_producer_is_lost(harness: StreamStoreHarness) -> None:
    store, other = await harness.open(lease_ms=400), await harness.open(lease_ms=400)
    await store.create("s")
    await store.append("s", "a")
    status = await store.get_status("s")
    assert status is not None

    async def follow(reader: StreamStore) -> list[str]:
        chunks = reader.read_from("s")
        seen = [(await anext(chunks)).data]
        with raises(ProducerLostError) as raised:
            await anext(chunks)
        assert now_ms() >= status.expires_at - 100  # not before its lease has run out
        assert raised.error is not None
        assert (str(raised.error), raised.error.stream_id) == (PRODUCER_LOST, "s")
        return seen

    async with timeout(PATIENCE_S):
        for seen in await asyncio.gather(follow(store), follow(other)):
            assert seen == ["a"]


@check
async def the_id_of_an_expired_stream_is_free(harness: StreamStoreHarness) -> None:
    store, brief = await harness.open(), await harness.open(ttl_ms=1)
    await brief.create("s", request="first")
    await brief.append("s", "of the first")
    await brief.complete("s")
    await wait_until(lambda: _is_gone(store, "s"))
    results = await asyncio.gather(store.create("s"), brief.create("s"), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "StreamExistsError"]
    status = await store.get_status("s")
    assert status is not None
    assert (status.is_active, status.total_chunks, status.request) == (True, 0, None)
    assert await store.append("s", "of the second") == 1


@check
async def a_discarded_stream_has_no_reader(harness: StreamStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    await store.create("s", session_id="c")
    await store.create("ended")
    await store.append("ended", "x")
    await store.complete("ended")
    await store.create("of another", request="another's")
    await store.discard("of another", request="ours")
    assert (await other.read_page("of another")).status.is_active
    for stream_id in ("s", "s", "ended", "unknown"):
        await store.discard(stream_id)
    status = await other.get_status("s")
    assert status is None or status.state == "error"  # where a single stream cannot be removed
    if status is None:
        await other.create("s")
    assert [chunk.data for chunk in await gather_items(other.read_from("ended"))] == ["x"]


async def _is_gone(store: StreamStore, stream_id: str) -> bool:
    return await store.get_status(stream_id) is None


@check
async def a_renewed_lease_holds(harness: StreamStoreHarness) -> None:
    # A lease of 1 ms, then one of a minute: a reader must honour the second.
    store, brief = await harness.open(lease_ms=60_000), await harness.open(lease_ms=1)
    impatient = await harness.open(lease_ms=100)  # its readers give up 10 ms after a lease has run out
    for stream_id in ("renewed", "renewed with a chunk", "not renewed"):
        await brief.create(stream_id)
    assert await store.renew("renewed") is True
    await store.append_many("renewed with a chunk", ["x"], renew=True)
    for stream_id in ("renewed", "renewed with a chunk"):
        follower = asyncio.ensure_future(gather_items(impatient.read_pages(stream_id)))
        for _ in range(2):  # time enough for the follower to give up as well: the second begins after it
            with raises(ProducerLostError):
                async with timeout(PATIENCE_S):
                    await gather_items(impatient.read_pages("not renewed"))
        assert not follower.done()
        await store.append(stream_id, "a chunk alone neither renews nor shortens the lease")
        status = await store.get_status(stream_id)
        assert status is not None
        assert status.expires_at > now_ms() + 20_000
        await store.complete(stream_id)
        async with timeout(PATIENCE_S):
            assert (await follower)[-1].is_last


@check
async def progress_counts_without_renewal(harness: StreamStoreHarness) -> None:
    # A JavaScript producer never renews: what it writes shows that it is alive.
    writer, brief = await harness.open(), await harness.open(lease_ms=1)
    for attempt, grace_s in enumerate(GRACES_S):
        stream_id = f"s{attempt}"
        reader = await harness.open(lease_ms=int(grace_s * 10_000))
        await brief.create(stream_id)
        producer = _Producer(writer, stream_id, grace_s / 10)
        follower = asyncio.ensure_future(gather_items(reader.read_from(stream_id)))
        await producer.produce(until=lambda: producer.wrote_for_s > 2 * grace_s or follower.done())  # noqa: B023
        await writer.complete(stream_id)
        try:
            async with timeout(PATIENCE_S):
                assert len(await follower) == producer.count
        except ProducerLostError:
            if producer.paused_for_s < grace_s / 3:
                raise
        else:
            return
    raise AssertionError(PAUSED)


@check
async def an_ended_stream_expires(harness: StreamStoreHarness) -> None:
    store, brief = await harness.open(), await harness.open(ttl_ms=1)
    for stream_id, ends in (("kept", store), ("gone", brief)):
        await store.create(stream_id)
        await store.append(stream_id, "a")
        await ends.complete(stream_id)

    async def is_gone() -> bool:
        return await store.get_status("gone") is None

    await wait_until(is_gone)
    for reader in (store, brief):
        assert await reader.get_status("gone") is None
        for operation in (reader.read_page("gone"), gather_items(reader.read_from("gone"))):
            with raises(StreamNotFoundError):
                await operation
        assert (
            len(await gather_items(reader.read_from("kept"))) == 1
        )  # the time to live is that of the store that ended it


@check
async def cleanup_removes_what_has_expired(harness: StreamStoreHarness) -> None:
    store, brief = await harness.open(), await harness.open(ttl_ms=1, lease_ms=200)
    for stream_id in ("live", "ended"):
        await store.create(stream_id)
        await store.append(stream_id, "kept")
    await store.complete("ended")
    for stream_id in ("expired", "abandoned", "empty"):  # the lease of the last one runs out last
        await brief.create(stream_id)
    for stream_id in ("expired", "abandoned"):
        await brief.append_many(stream_id, ["a", "b"])
    await brief.complete("expired")
    status = await brief.get_status("empty")
    assert status is not None
    await wait_until_past(status.expires_at)
    assert await brief.cleanup() == 3
    assert await brief.cleanup() == 0
    for stream_id in ("live", "ended"):
        assert [chunk.data for chunk in (await store.read_page(stream_id)).chunks] == ["kept"]
    for stream_id in ("expired", "abandoned", "empty"):
        assert await store.get_status(stream_id) is None
        await store.create(stream_id)
        assert (await store.read_page(stream_id)).chunks == ()


@check
async def cleanup_spares_a_producer_that_makes_progress(harness: StreamStoreHarness) -> None:
    writer, brief = await harness.open(), await harness.open(lease_ms=1)
    for attempt, grace_s in enumerate(GRACES_S):
        stream_id = f"s{attempt}"
        sweeper = await harness.open(lease_ms=int(grace_s * 10_000))
        await brief.create(stream_id)
        await wait_until_past(now_ms() + 1)
        sweeping = asyncio.ensure_future(sweeper.cleanup())
        producer = _Producer(writer, stream_id, grace_s / 10)
        await producer.produce(until=sweeping.done)
        if await sweeping == 0:
            assert len((await writer.read_page(stream_id)).chunks) == producer.count
            return
        assert producer.paused_for_s >= grace_s / 3, "it was removed although its producer made progress"
    raise AssertionError(PAUSED)


class _Producer:
    """A producer that writes a chunk at each interval, and measures how long it did and the longest pause it made."""

    def __init__(self, store: StreamStore, stream_id: str, interval_s: float) -> None:
        self._store = store
        self._id = stream_id
        self._interval_s = interval_s
        self.count = 0
        self.wrote_for_s = self.paused_for_s = 0.0

    async def produce(self, *, until: Callable[[], bool]) -> None:
        """Write until the condition holds or the stream is removed."""
        began = last = time.monotonic()
        while not until():
            try:
                await self._store.append(self._id, "x")
                self.count += 1
            except StreamNotFoundError:
                return
            finally:
                now = time.monotonic()
                self.paused_for_s = max(self.paused_for_s, now - last)
                self.wrote_for_s, last = now - began, now
            await sleep(self._interval_s)
