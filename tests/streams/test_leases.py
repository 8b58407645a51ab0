"""Leases: a producer that lives is never given up, one that is gone always is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aibind._time import now_ms
from aibind.errors import ProducerLostError
from aibind.sqlite import SqliteClient, SqliteResult, SqliteStreamStore, SqliteValue, migrate, wrap_sqlite3
from aibind.streams import DurableStream, MemoryStreamStore, StreamStore
from aibind.testing.checks import gather_items
from testbed.counting import CountingClient
from testbed.virtual_time import in_virtual_time, suspend


@asynccontextmanager
async def two_stores(backend: str, folder: Path) -> AsyncIterator[tuple[StreamStore, StreamStore]]:
    """Give a producer's store and a reader's, as if each were in a process of its own."""
    if backend == "memory":
        store = MemoryStreamStore()
        yield store, store
        return
    path = folder / "streams.db"
    async with wrap_sqlite3(path, threads=False) as one, wrap_sqlite3(path, threads=False) as two:
        await migrate(one)
        clients: list[SqliteClient] = [one, two]
        if backend == "remote":
            clients = [CountingClient(client) for client in clients]
        first, second = (SqliteStreamStore(client, lease_ms=30_000) for client in clients)
        yield first, second


async def slow_words() -> AsyncIterator[str]:
    for _ in range(20):
        await asyncio.sleep(2)
        yield "word "


backends = pytest.mark.parametrize("backend", ["memory", "file", "remote"])


@backends
@pytest.mark.parametrize("seconds", [31, 3600])
@in_virtual_time
async def test_a_suspended_machine_loses_no_producer(backend: str, seconds: float, tmp_path: Path) -> None:
    """The producer on it can only renew once the machine goes on: whoever follows on the same machine must let it."""
    async with two_stores(backend, tmp_path) as (store, other):
        stream = await DurableStream.create(store, slow_words())
        follower = asyncio.ensure_future(gather_items(other.read_pages(stream.id)))
        for _ in range(3):
            await asyncio.sleep(8)
            suspend(seconds)
        pages = await follower
        assert pages[-1].is_last
        assert "".join(chunk.event.data for page in pages for chunk in page.chunks) == "word " * 20


@backends
@in_virtual_time
async def test_a_producer_that_a_suspended_machine_did_lose_is_given_up(backend: str, tmp_path: Path) -> None:
    async with two_stores(backend, tmp_path) as (store, other):
        await other.create("s")
        follower = asyncio.ensure_future(gather_items(store.read_pages("s")))
        await asyncio.sleep(1)
        suspend(3600)
        before = asyncio.get_running_loop().time()
        with pytest.raises(ProducerLostError):
            await follower
        assert asyncio.get_running_loop().time() - before < 4


class SlowOnce(CountingClient):
    """Answers at once, but for one question, whose answer is long on its way."""

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        result = await super().execute(sql, args)
        if self.statements == 10:
            await asyncio.sleep(3.5)
        return result


@in_virtual_time
async def test_an_answer_that_takes_its_time_loses_no_producer() -> None:
    """What was written while it was on its way is in the next one."""
    async with wrap_sqlite3(":memory:", threads=False) as client:
        await migrate(client)
        await SqliteStreamStore(client, lease_ms=1).create("s")  # as a producer that never renews
        store, other = SqliteStreamStore(client), SqliteStreamStore(SlowOnce(client))
        follower = asyncio.ensure_future(gather_items(other.read_from("s")))
        for _ in range(10):
            await store.append("s", "x")
            await asyncio.sleep(2)
        await store.complete("s")
        assert len(await follower) == 10


@backends
@in_virtual_time
async def test_a_producer_that_is_gone_is_given_up_with_its_lease(backend: str, tmp_path: Path) -> None:
    async with two_stores(backend, tmp_path) as (store, other):
        await store.create("s")
        await store.append("s", "x")
        with pytest.raises(ProducerLostError):
            await gather_items(other.read_pages("s"))
        assert 29.9 < asyncio.get_running_loop().time() < 31


@pytest.mark.parametrize("ahead_s", [60, 7200, -60, -7200])
@pytest.mark.parametrize("backend", ["file", "remote"])
@in_virtual_time
async def test_a_lease_by_another_clock_is_judged_by_its_renewals(backend: str, ahead_s: int, tmp_path: Path) -> None:
    """A producer whose clock is off is not given up, by a follower or by a sweep, while it renews; afterwards it is."""
    async with two_stores(backend, tmp_path) as (store, other):
        await other.create("s")
        follower = asyncio.ensure_future(gather_items(store.read_pages("s")))
        loop = asyncio.get_running_loop()
        sweeps: list[asyncio.Task[int]] = []
        for _ in range(8):
            sweeps.append(asyncio.create_task(store.cleanup()))
            await asyncio.sleep(7)
            await set_lease(other, "s", ahead_s)
            await asyncio.sleep(8)
        await set_lease(other, "s", ahead_s)
        assert not any(sweep.done() and sweep.result() for sweep in sweeps)
        await asyncio.sleep(15)
        assert await asyncio.gather(*sweeps) == [0] * len(sweeps)
        assert not follower.done()
        began = loop.time()
        with pytest.raises(ProducerLostError):
            await follower
        wait_s = 33 - 15 if ahead_s > 3600 else 15 + max(0, ahead_s)
        assert wait_s - 1 < loop.time() - began < wait_s + 2


async def set_lease(store: StreamStore, stream_id: str, ahead_s: int) -> None:
    """Renew a lease as a process does whose clock is ahead."""
    assert isinstance(store, SqliteStreamStore)
    expires_at = now_ms() + ahead_s * 1000 + store.lease_ms
    await store._client.execute("UPDATE aibind_stream_status SET expires_at = ? WHERE id = ?", (expires_at, stream_id))


@in_virtual_time
async def test_the_time_to_live_of_a_javascript_stream_may_be_long(tmp_path: Path) -> None:
    """It is no lease that a wrong clock wrote, however far ahead it lies: a slow model is not given up before it."""
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as client:
        await migrate(client)
        store = SqliteStreamStore(client)
        insert = "INSERT INTO aibind_stream_status (id, state, total_chunks, expires_at) VALUES (?, 'active', 0, ?)"
        await client.execute(insert, ("s", now_ms() + 86_400_000))
        follower = asyncio.ensure_future(gather_items(store.read_pages("s")))
        for _ in range(10):
            assert await store.cleanup() == 0
            await asyncio.sleep(60)
        assert not follower.done()
        await store.complete("s")
        assert (await follower)[-1].is_last
