"""Whose a stream is: its session, its owner and when it was created (contract, section 3)."""

from __future__ import annotations

import asyncio

from .._time import now_ms
from ..streams.store import StreamStatus, StreamStore
from .checks import CheckList, CheckSkipped, wait_until_past
from .stream_harness import StreamStoreHarness

__all__ = ["check"]

check: CheckList[StreamStoreHarness] = CheckList()


@check
async def a_stream_knows_whose_it_is(harness: StreamStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    before = now_ms()
    await store.create("s", session_id="chat of 👋", owner="o'wner")
    await store.append("s", "x")
    expected = ("chat of 👋", "o'wner") if harness.records_sessions else (None, None)
    for reader in (store, other):
        for status in (await _status(reader, "s"), (await reader.read_page("s")).status):
            assert (status.session_id, status.owner) == expected
            _check_time(harness, status, before)
    await store.complete("s")
    ended = await _status(other, "s")
    assert (ended.state, ended.total_chunks, ended.session_id, ended.owner) == ("done", 1, *expected)
    _check_time(harness, ended, before)


@check
async def session_and_owner_may_be_missing(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    before = now_ms()
    await store.create("neither")
    await store.create("session", session_id="c")
    await store.create("owner", owner="o")
    recorded = harness.records_sessions
    for stream_id, session_id, owner in (("neither", None, None), ("session", "c", None), ("owner", None, "o")):
        status = await _status(store, stream_id)
        assert (status.session_id, status.owner) == ((session_id, owner) if recorded else (None, None))
        _check_time(harness, status, before)


@check
async def a_status_keeps_its_session_when_the_lease_moves(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    await store.create("s", session_id="c", owner="o")
    first = await _status(store, "s")
    await wait_until_past(now_ms() + 1)
    assert await store.renew("s")
    await store.append_many("s", ["x"], first_seq=1, renew=True)
    second = await _status(store, "s")
    assert second.expires_at > first.expires_at
    assert (second.session_id, second.owner) == (first.session_id, first.owner)
    assert second.created_at == first.created_at


@check
async def any_process_finds_the_live_streams_of_a_session(harness: StreamStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    for number, session_id in enumerate(("c", "C", "c", None, "c")):
        await wait_until_past(now_ms())
        await store.create(f"{9 - number}", session_id=session_id, owner="o")
    for reader in (store, other):
        assert list(await reader.live_streams("c")) == (["9", "7", "5"] if harness.records_sessions else [])
        assert list(await reader.live_streams("C")) == (["8"] if harness.records_sessions else [])
        for unknown in ("", "None", "o", "c "):
            assert list(await reader.live_streams(unknown)) == []


@check
async def an_ended_stream_is_not_live(harness: StreamStoreHarness) -> None:
    _skip_unless_recorded(harness)
    store, other = await harness.open(), await harness.open()
    for stream_id in ("done", "error", "live", "stopped"):
        await store.create(stream_id, session_id="c")
    assert sorted(await other.live_streams("c")) == ["done", "error", "live", "stopped"]
    await store.complete("done")
    await store.fail("error", "it broke")
    await store.stop("stopped")
    assert list(await other.live_streams("c")) == ["live"]


@check
async def a_stream_whose_lease_has_run_out_is_not_live(harness: StreamStoreHarness) -> None:
    _skip_unless_recorded(harness)
    store, brief = await harness.open(lease_ms=60_000), await harness.open(lease_ms=1)
    await store.create("held", session_id="c")
    await brief.create("lost", session_id="c")
    await wait_until_past((await _status(store, "lost")).expires_at)
    assert list(await store.live_streams("c")) == ["held"]
    assert await store.renew("lost")
    assert sorted(await store.live_streams("c")) == ["held", "lost"]


@check
async def a_removed_stream_is_forgotten(harness: StreamStoreHarness) -> None:
    _skip_unless_recorded(harness)
    store, brief = await harness.open(), await harness.open(ttl_ms=1)
    await brief.create("s", session_id="before", owner="before")
    await brief.complete("s")
    await wait_until_past(now_ms() + 1)
    assert await brief.cleanup() == 1
    await store.create("s", session_id="after")
    assert list(await store.live_streams("before")) == []
    assert list(await store.live_streams("after")) == ["s"]
    assert (await _status(store, "s")).owner is None


@check
async def sessions_are_created_at_once(harness: StreamStoreHarness) -> None:
    stores = [await harness.open() for _ in range(3)]
    ids = [f"{number}" for number in range(12)]
    await asyncio.gather(*(stores[int(stream_id) % 3].create(stream_id, session_id="c") for stream_id in ids))
    for store in stores:
        assert sorted(await store.live_streams("c")) == (sorted(ids) if harness.records_sessions else [])
        assert (await _status(store, "7")).is_active


def _skip_unless_recorded(harness: StreamStoreHarness) -> None:
    if not harness.records_sessions:
        raise CheckSkipped("this store does not record sessions")


async def _status(store: StreamStore, stream_id: str) -> StreamStatus:
    status = await store.get_status(stream_id)
    assert status is not None
    return status


def _check_time(harness: StreamStoreHarness, status: StreamStatus, before: int) -> None:
    """Check that a stream was created since ``before``, as far as the store records that."""
    if not harness.records_sessions:
        assert status.created_at is None
    else:
        assert status.created_at is not None
        assert before - 2000 <= status.created_at <= now_ms() + 2000
