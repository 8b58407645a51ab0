"""Claiming the streams of lost producers, in stores that have claims."""

from __future__ import annotations

import asyncio

from .._time import now_ms
from ..errors import StreamConflictError, StreamNotActiveError
from ..streams.claims import ClaimableStreamStore, StreamClaim
from ..streams.store import StreamEnd
from .checks import CheckList, CheckSkipped, gather_items, raises, wait_until_past
from .stream_harness import StreamStoreHarness

__all__ = ["check"]

check: CheckList[StreamStoreHarness] = CheckList()

LEASE_MS = 200


@check
async def a_claim_has_what_it_takes_to_go_on(harness: StreamStoreHarness) -> None:
    store, other = await _open(harness), await _open(harness)
    await store.create(
        "s", session_id="c", owner="ada", request="r", question_id="q", continuation='{"model": "né \\n 👋"}'
    )
    await store.append_many("s", ["one", "two"], first_seq=1, epoch=0)
    before = await other.get_status("s")
    assert before is not None
    assert (before.takeovers, before.reference) == (0, None)
    await store.set_reference("s", "resp_1", epoch=0)
    claim = await other.claim("s", lease=before.expires_at, max_takeovers=3)
    assert claim is not None
    assert claim == StreamClaim(1, claim.lease, '{"model": "né \\n 👋"}', "resp_1", "c", "ada", "q")
    assert claim.lease > before.expires_at - 1
    after = await store.get_status("s")
    assert after is not None
    assert (after.state, after.takeovers, after.reference) == ("active", 1, "resp_1")
    assert (after.expires_at, after.total_chunks) == (claim.lease, 2)
    assert await other.append_many("s", ["three"], first_seq=3, epoch=1) == [3]
    assert await other.finish("s", StreamEnd("done"), chunks=["four"], first_seq=4, epoch=1) == StreamEnd("done")
    assert [chunk.data for chunk in await gather_items(store.read_from("s"))] == ["one", "two", "three", "four"]


@check
async def one_of_many_claims_succeeds(harness: StreamStoreHarness) -> None:
    stores = [await _open(harness) for _ in range(4)]
    for number in range(5):
        stream_id = f"s{number}"
        await stores[0].create(stream_id, continuation="{}")
        status = await stores[0].get_status(stream_id)
        assert status is not None
        lease = status.expires_at
        claims = await asyncio.gather(
            *(store.claim(stream_id, lease=lease, max_takeovers=9) for store in stores for _ in range(3))
        )
        assert [claim.epoch for claim in claims if claim is not None] == [1]


@check
async def an_earlier_producer_is_fenced_out(harness: StreamStoreHarness) -> None:
    store, other = await _open(harness), await _open(harness)
    await store.create("s", continuation="{}")
    await store.append_many("s", ["a"], first_seq=1, renew=True, epoch=0)
    await _claim(other, "s")
    with raises(StreamConflictError):
        await store.append_many("s", ["late"], first_seq=2, epoch=0)
    with raises(StreamConflictError):
        await store.append_many("s", ["late", "later"], first_seq=2, renew=True, epoch=0)
    with raises(StreamConflictError):
        await store.renew("s", epoch=0)
    with raises(StreamConflictError):
        await store.set_reference("s", "late", epoch=0)
    with raises(StreamConflictError):
        await store.finish("s", StreamEnd("done"), chunks=["late"], first_seq=2, epoch=0)
    with raises(StreamConflictError):
        await store.finish("s", StreamEnd("done"), epoch=0)
    status = await store.get_status("s")
    assert status is not None
    assert (status.state, status.total_chunks, status.reference) == ("active", 1, None)
    assert await other.renew("s", epoch=1)
    await _claim(store, "s")  # and back again
    with raises(StreamConflictError):
        await other.append_many("s", ["late"], first_seq=2, epoch=1)
    assert await store.append_many("s", ["b"], first_seq=2, epoch=2) == [2]
    assert await store.finish("s", StreamEnd("done"), epoch=2) == StreamEnd("done")
    with raises(StreamNotActiveError):
        await other.append_many("s", ["late"], first_seq=3, epoch=1)
    assert await other.finish("s", StreamEnd("stopped"), chunks=["x"], first_seq=3, epoch=1) == StreamEnd("done")
    assert [chunk.data for chunk in await gather_items(other.read_from("s"))] == ["a", "b"]


@check
async def what_cannot_be_claimed_is_left_alone(harness: StreamStoreHarness) -> None:
    store = await _open(harness)
    for stream_id in ("plain", "ended", "stopping", "renewed", "bounded"):
        await store.create(stream_id, continuation=None if stream_id == "plain" else "{}")
    await store.finish("ended", StreamEnd("done"))
    assert await store.claim("unknown", lease=now_ms(), max_takeovers=3) is None
    for stream_id, max_takeovers in (("plain", 3), ("ended", 3), ("bounded", 0)):
        status = await store.get_status(stream_id)
        assert status is not None
        assert await store.claim(stream_id, lease=status.expires_at, max_takeovers=max_takeovers) is None
        assert await store.get_status(stream_id) == status
    status = await store.get_status("stopping")
    assert status is not None
    if await store.request_stop("stopping") is None:
        assert await store.claim("stopping", lease=status.expires_at, max_takeovers=3) is None
    seen = await store.get_status("renewed")
    assert seen is not None
    await wait_until_past(now_ms() + 1)
    await store.renew("renewed", epoch=0)
    assert await store.claim("renewed", lease=seen.expires_at, max_takeovers=3) is None


@check
async def orphans_are_listed(harness: StreamStoreHarness) -> None:
    store = await _open(harness, LEASE_MS)
    await store.create("plain")
    await store.create("first", session_id="c", continuation="{}")
    await store.create("second", continuation="{}")
    await store.create("ended", continuation="{}")
    await store.finish("ended", StreamEnd("done"))
    later = now_ms() + 60_000
    assert [one.stream_id for one in await store.orphans(before=later)] == ["first", "second"]
    assert not await store.orphans(before=now_ms() - 60_000)
    status = await store.get_status("second")
    assert status is not None
    await wait_until_past(status.expires_at)
    found = await store.orphans()
    assert [(one.stream_id, one.status.session_id) for one in found] == [("first", "c"), ("second", None)]
    assert await store.claim("first", lease=found[0].status.expires_at, max_takeovers=3) is not None
    assert "first" not in [one.stream_id for one in await store.orphans(before=now_ms())]


async def _open(harness: StreamStoreHarness, lease_ms: int = 30_000) -> ClaimableStreamStore:
    store = await harness.open(lease_ms=lease_ms)
    if not isinstance(store, ClaimableStreamStore) or not harness.records_sessions:
        raise CheckSkipped("The streams of this store cannot be claimed")
    return store


async def _claim(store: ClaimableStreamStore, stream_id: str) -> StreamClaim:
    status = await store.get_status(stream_id)
    assert status is not None
    claim = await store.claim(stream_id, lease=status.expires_at, max_takeovers=9)
    assert claim is not None
    return claim
