"""Reading and following a stream (contract, section 3)."""

from __future__ import annotations

import asyncio
import contextlib

from .._time import sleep, timeout
from ..errors import StreamNotFoundError
from ..streams.store import StreamPage, StreamStore
from .checks import PATIENCE_S, CheckList, gather_items, raises, wait_until
from .stream_harness import StreamStoreHarness

__all__ = ["check"]

check: CheckList[StreamStoreHarness] = CheckList()


@check
async def reading_resumes_after_any_seq(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    await store.create("s")
    await store.append_many("s", list("abcde"))
    await store.complete("s")
    for after in range(8):
        chunks = await gather_items(store.read_from("s", after))
        assert [(chunk.seq, chunk.data) for chunk in chunks] == list(enumerate("abcde", 1))[after:]
    for operation in (gather_items(store.read_from("s", -1)), store.read_page("s", -1)):
        with raises(ValueError):
            await operation


@check
async def a_long_stream_comes_in_pages(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    await store.create("s")
    count = 2_345
    await store.append_many("s", [str(number) for number in range(count)])
    first = await store.read_page("s")
    assert 0 < len(first.chunks) < count
    assert first.has_more
    assert not first.is_last
    await store.complete("s")
    pages = await gather_items(store.read_pages("s"))
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert max(len(page.chunks) for page in pages) <= 1000
    assert [chunk.data for page in pages for chunk in page.chunks] == [str(number) for number in range(count)]


@check
async def a_page_that_ends_with_the_stream_is_followed_by_its_end(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    for count in (499, 500, 501, 999, 1000, 1001):
        stream_id = str(count)
        await store.create(stream_id)
        await store.append_many(stream_id, ["x"] * count)
        await store.fail(stream_id, "e")
        pages = await gather_items(store.read_pages(stream_id))
        assert pages[-1].is_last
        assert pages[-1].status.error == "e"
        assert sum(len(page.chunks) for page in pages) == count


@check
async def followers_see_what_arrives(harness: StreamStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    await store.create("s")
    await store.append("s", "0")
    followers = [_Follower(reader, "s", after) for reader in (store, other) for after in (0, 0, 3, 7)]
    for number in range(1, 6):
        await store.append("s", str(number))
        for follower in followers:
            await follower.has_seen(number + 1)
    for number in range(6, 10):  # these may arrive together
        await store.append("s", str(number))
    await store.complete("s")
    for follower in followers:
        await follower.ends()
        assert follower.seen == [str(number) for number in range(follower.after, 10)]


@check
async def followers_end_with_the_stream(harness: StreamStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    for state, end in (("done", store.complete), ("stopped", other.stop)):
        followers = await _follow_a_chunk(state, store, (store, other, other))
        await end(state)
        assert await store.renew(state) is False  # a producer's own readers learn of the end when it does
        for follower in followers:
            page = await follower.ends()
            assert page.is_last
            assert page.status.state == state


@check
async def followers_end_when_the_stream_is_removed(harness: StreamStoreHarness) -> None:
    # The lease runs out at once for cleanup, but not for the followers, which would otherwise end by themselves.
    store, other = await harness.open(lease_ms=600_000), await harness.open(lease_ms=600_000)
    brief = await harness.open(lease_ms=1)
    followers = await _follow_a_chunk("s", brief, (store, other, other))

    async def is_removed() -> bool:
        return await brief.cleanup() == 1

    await wait_until(is_removed)
    for follower in followers:
        with raises(StreamNotFoundError):
            await follower.ends()


@check
async def a_follower_may_leave(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    await store.create("s")
    await store.append_many("s", ["a", "b"])
    for delay_s in (0.0, 0.002, 0.02):  # before, while and after it looks again
        pages = store.read_pages("s")
        assert len((await anext(pages)).chunks) == 2
        waiting = asyncio.ensure_future(anext(pages))
        await sleep(delay_s)
        assert not waiting.done()
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
    assert await store.append("s", "c") == 3


async def _follow_a_chunk(stream_id: str, producer: StreamStore, readers: tuple[StreamStore, ...]) -> list[_Follower]:
    """Create a stream with one chunk, and return followers of it that have seen the chunk and wait for more."""
    await producer.create(stream_id)
    await producer.append(stream_id, "x")
    followers = [_Follower(reader, stream_id) for reader in readers]
    for follower in followers:
        await follower.has_seen(1)
    return followers


class _Follower:
    """A task that reads the pages of a stream to its end."""

    def __init__(self, store: StreamStore, stream_id: str, after: int = 0) -> None:
        self.after = after
        self.seen: list[str] = []
        self._arrived = asyncio.Event()
        self._task = asyncio.ensure_future(self._follow(store, stream_id))

    async def has_seen(self, seq: int) -> None:
        """Wait until it has seen all chunks up to ``seq``, or raise what ended it before."""
        async with timeout(PATIENCE_S):
            while self.after + len(self.seen) < seq:
                self._arrived.clear()
                await self._arrived.wait()
                if self._task.done():
                    await self._task

    async def ends(self) -> StreamPage:
        """Wait for its end, and return the last page or raise what ended it."""
        async with timeout(PATIENCE_S):
            return await self._task

    async def _follow(self, store: StreamStore, stream_id: str) -> StreamPage:
        last: StreamPage | None = None
        try:
            async for last in store.read_pages(stream_id, self.after):
                self.seen += [chunk.data for chunk in last.chunks]
                self._arrived.set()
        finally:
            self._arrived.set()
        assert last is not None, "the last page was not yielded"
        return last
