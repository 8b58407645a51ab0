"""Streams of lost producers: given up for good, kept until their answers are stored, and then let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aibind.errors import StreamNotActiveError, StreamNotFoundError
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream, MemoryStreamStore, StreamEnd, StreamStore
from tests.support.harnesses import share_streams

LOST = StreamEnd("error", "producer lost")


@asynccontextmanager
async def open_stores(backend: str, folder: Path) -> AsyncIterator[tuple[StreamStore, StreamStore]]:
    """Give a store, and one on the same streams whose leases and times to live last a millisecond."""
    if backend == "memory":
        brief = MemoryStreamStore(lease_ms=1, ttl_ms=1)
        store = share_streams(brief)
        yield store, brief
        return
    async with wrap_sqlite3(folder / "streams.db") as client:
        await migrate(client)
        yield SqliteStreamStore(client), SqliteStreamStore(client, lease_ms=1, ttl_ms=1)


backends = pytest.mark.parametrize("backend", ["memory", "file"])


async def leave(brief: StreamStore, stream_id: str, session_id: str | None = "s") -> None:
    await brief.create(stream_id, session_id=session_id, question_id=f"question of {stream_id}")
    await brief.append(stream_id, "\x01as far")
    await asyncio.sleep(0.01)


@backends
async def test_a_stream_is_given_up_when_its_lease_has_run_out(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (store, brief):
        await store.create("alive")
        await leave(brief, "lost", None)
        assert await store.give_up("alive") is None
        assert await store.give_up("lost") == LOST
        assert await brief.give_up("lost") == LOST
        with pytest.raises(StreamNotActiveError):
            await brief.append("lost", "\x01late")
        assert await brief.renew("lost") is False
        assert await brief.finish("lost", StreamEnd("done"), chunks=["\x01late"], first_seq=2) == LOST
        await store.complete("alive")
        assert await store.give_up("alive") == StreamEnd("done")
        with pytest.raises(StreamNotFoundError):
            await store.give_up("none")


@backends
async def test_a_lost_stream_is_kept_until_it_is_settled(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (_, brief):
        await leave(brief, "first")
        await leave(brief, "second")
        await leave(brief, "other session", "other")
        await leave(brief, "no session", None)
        for _ in range(2):
            found = await brief.lost_streams("s")
            assert [(one.stream_id, one.status.question_id) for one in found] == [
                ("first", "question of first"),
                ("second", "question of second"),
            ]
            assert [one.status.total_chunks for one in found] == [1, 1]
            assert len(await brief.lost_streams()) == 3
            await brief.cleanup()
            await asyncio.sleep(0.01)
            assert await brief.cleanup() == 0
        assert await brief.get_status("no session") is None
        status = await brief.get_status("first")
        assert status is not None
        assert (status.end, status.total_chunks) == (LOST, 1)
        await brief.settle("first")
        await brief.settle("unknown")
        await asyncio.sleep(0.01)
        assert await brief.cleanup() == 1
        assert [one.stream_id for one in await brief.lost_streams("s")] == ["second"]
        assert (await brief.read_page("second")).chunks[0].data == "\x01as far"


@backends
async def test_what_has_ended_or_is_live_is_not_lost(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (store, _):
        await store.create("live", session_id="s")
        await store.create("done", session_id="s")
        await store.complete("done")
        await store.settle("done")
        assert list(await store.lost_streams("s")) == []
        assert list(await store.lost_streams()) == []


@backends
async def test_a_stop_is_asked_for_once_and_stored_by_the_producer(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (store, brief):
        await store.create("s")
        await store.append("s", "\x01a")
        for _ in range(2):
            assert await store.request_stop("s") is None
        status = await store.get_status("s")
        assert status is not None
        assert (status.is_active, status.stop_requested, status.total_chunks) == (True, True, 1)
        assert (await store.read_page("s")).status.stop_requested
        with pytest.raises(StreamNotActiveError, match="stopping"):
            await store.append("s", "\x01b")
        assert await store.renew("s")
        stopped = StreamEnd("stopped")
        assert await store.finish("s", stopped, chunks=["\x01b", "\x01c"], first_seq=2) == stopped
        page = await store.read_page("s")
        assert [chunk.data for chunk in page.chunks] == ["\x01a", "\x01b", "\x01c"]
        assert (page.end, page.status.total_chunks, page.status.stop_requested) == (stopped, 3, False)
        assert await store.request_stop("s") == stopped
        await leave(brief, "lost")
        assert await store.request_stop("lost") == stopped
        with pytest.raises(StreamNotFoundError):
            await store.request_stop("none")


@backends
async def test_a_producer_that_does_not_answer_is_not_waited_for(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibind.streams.stopping.LOCAL_PATIENCE_S", 0.2)
    async with open_stores(backend, tmp_path) as (store, _):
        await store.create("s")
        assert await DurableStream.stop_by_id(store, "s") == StreamEnd("stopped")
        status = await store.get_status("s")
        assert status is not None
        assert status.end == StreamEnd("stopped")
