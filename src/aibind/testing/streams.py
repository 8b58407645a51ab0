"""The contract of stream stores, as checks (contract, section 3): beginning, appending and ending."""

from __future__ import annotations

import asyncio
import contextlib

from .._time import now_ms, sleep
from ..errors import (
    StreamConflictError,
    StreamExistsError,
    StreamNotActiveError,
    StreamNotFoundError,
)
from ..streams.store import StreamEnd
from . import stream_claims, stream_lives, stream_reading, stream_sessions
from .checks import Check, CheckList, gather_items, raises
from .stream_harness import StreamStoreHarness

__all__ = ["StreamStoreHarness", "stream_store_checks"]


def stream_store_checks() -> tuple[Check[StreamStoreHarness], ...]:
    """Return the checks that every stream store must pass."""
    modules = (stream_reading, stream_lives, stream_sessions, stream_claims)
    return (*check.checks(), *(found for module in modules for found in module.check.checks()))


check: CheckList[StreamStoreHarness] = CheckList()

TEXTS = (
    "",
    " ",
    "plain",
    "\x01with a name missing",
    "name\x01data",
    "a\x01b\x01c",
    "two\nlines\n",
    "\r\n\r",
    "tab\t and NUL \0 in the middle",
    "\0",
    "quotes \" and \\ and ' and `",
    '{"json": [1, null]}',
    "null",
    "123",
    "1.0",
    "héllo 👋🏽 日本語 \u2028 \u2029 \ufeff \x7f",
    "'); DROP TABLE aibind_stream_chunks; --",
    "x" * 70_000,
    "é" * 40_000,
)


# --- beginning ---


@check
async def a_new_stream_is_active_and_empty(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    before = now_ms()
    await store.create("s")
    status = await store.get_status("s")
    assert status is not None
    assert (status.state, status.error, status.total_chunks, status.is_active) == ("active", None, 0, True)
    assert before - 2000 <= status.expires_at - store.lease_ms <= now_ms() + 2000


@check
async def an_id_is_taken_once(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    await store.create("s")
    await store.append("s", "kept")
    with raises(StreamExistsError) as raised:
        await store.create("s")
    assert raised.error is not None
    assert raised.error.stream_id == "s"
    with raises(StreamExistsError):
        await (await harness.open()).create("s")
    await store.complete("s")
    with raises(StreamExistsError):
        await store.create("s")
    assert [chunk.data for chunk in await gather_items(store.read_from("s"))] == ["kept"]


@check
async def one_of_many_creators_wins(harness: StreamStoreHarness) -> None:
    stores = [await harness.open() for _ in range(4)]
    results = await asyncio.gather(*(store.create("s") for store in stores), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoneType"] + ["StreamExistsError"] * 3


@check
async def ids_are_any_text(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    ids = ["a'b", 'a"b', "a;--", "ü 👋", "1", "1.0", "%", "a_b", "x" * 200]
    for stream_id in ids:
        await store.create(stream_id)
        await store.append(stream_id, "chunk of " + stream_id)
        await store.complete(stream_id)
    for stream_id in ids:
        assert [chunk.data for chunk in await gather_items(store.read_from(stream_id))] == ["chunk of " + stream_id]


# --- appending ---


@check
async def seqs_count_from_one(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    await store.create("s")
    assert [await store.append("s", text) for text in "abc"] == [1, 2, 3]
    assert await store.append_many("s", ["d", "e"]) == [4, 5]
    assert await store.append_many("s", []) == []
    assert await store.append_many("s", ["f"], first_seq=6) == [6]
    status = await store.get_status("s")
    assert status is not None
    assert status.total_chunks == 6


@check
async def streams_do_not_mix(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    for stream_id in ("a", "b"):
        await store.create(stream_id)
    for number in range(3):
        assert await store.append("a", f"a{number}") == number + 1
        assert await store.append("b", f"b{number}") == number + 1
    for stream_id in ("a", "b"):
        await store.complete(stream_id)
        chunks = await gather_items(store.read_from(stream_id))
        assert [chunk.data for chunk in chunks] == [f"{stream_id}{number}" for number in range(3)]


@check
async def every_text_comes_back_as_it_was(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    await store.create("s")
    for text in TEXTS:
        await store.append("s", text)
    await store.append_many("s", TEXTS)
    await store.complete("s")
    chunks = await gather_items(store.read_from("s"))
    assert [chunk.seq for chunk in chunks] == list(range(1, 2 * len(TEXTS) + 1))
    for chunk, text in zip(chunks, TEXTS * 2, strict=True):
        assert chunk.data == text, (chunk.data[:80], text[:80])


@check
async def a_taken_seq_is_refused(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    await store.create("s")
    await store.append_many("s", ["a", "b", "c"], first_seq=1)
    for first_seq in (1, 2, 3):
        with raises(StreamConflictError):
            await store.append_many("s", ["x", "y", "z"], first_seq=first_seq)
    await store.complete("s")
    assert [chunk.data for chunk in await gather_items(store.read_from("s"))] == ["a", "b", "c"]


@check
async def many_chunks_go_in_at_once(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    await store.create("s")
    chunks = [f"{number} " + "y" * 300 for number in range(2000)]
    assert await store.append_many("s", chunks, first_seq=1) == list(range(1, 2001))
    await store.complete("s")
    assert [chunk.data for chunk in await gather_items(store.read_from("s"))] == chunks


@check
async def concurrent_appends_all_arrive(harness: StreamStoreHarness) -> None:
    stores = [await harness.open() for _ in range(3)]
    await stores[0].create("s")

    async def append(writer: int) -> list[int]:
        return [await stores[writer].append("s", f"{writer}:{number}") for number in range(10)]

    seqs = await asyncio.gather(*(append(writer) for writer in range(3)))
    assert sorted(seq for some in seqs for seq in some) == list(range(1, 31))
    await stores[0].complete("s")
    chunks = await gather_items(stores[1].read_from("s"))
    for writer in range(3):
        own = [chunk.data for chunk in chunks if chunk.data.startswith(f"{writer}:")]
        assert own == [f"{writer}:{number}" for number in range(10)]


@check
async def an_unknown_stream_is_an_error(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    assert await store.get_status("none") is None
    for operation in (
        store.append("none", "x"),
        store.append_many("none", ["x"], first_seq=1),
        store.stop("none"),
        store.complete("none"),
        store.fail("none", "e"),
        store.finish("none", StreamEnd("done"), chunks=["x"], first_seq=1),
        store.renew("none"),
        store.read_page("none"),
        gather_items(store.read_from("none")),
        gather_items(store.read_pages("none")),
    ):
        with raises(StreamNotFoundError):
            await operation
    await store.create("none")
    assert [chunk.data for chunk in (await store.read_page("none")).chunks] == []


# --- ending ---


@check
async def each_end_is_reported(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    error = "it broke:\nline two – 👋"
    for stream_id in ("done", "stopped", "error"):
        await store.create(stream_id)
        await store.append(stream_id, "x")
    await store.complete("done")
    await store.stop("stopped")
    await store.fail("error", error)
    for stream_id in ("done", "stopped", "error"):
        status = await store.get_status(stream_id)
        assert status is not None
        assert (status.state, status.total_chunks, status.is_active) == (stream_id, 1, False)
        assert status.error == (error if stream_id == "error" else None)
        assert status.expires_at > now_ms() + 200_000
        page = await store.read_page(stream_id)
        assert page.is_last
        assert page.status.state == stream_id
        assert page.status.error == status.error


@check
async def nothing_is_appended_after_the_end(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    for state, end in (("done", store.complete), ("stopped", store.stop)):
        await store.create(state)
        await store.append(state, "kept")
        await end(state)
        for operation in (
            store.append(state, "late"),
            store.append_many(state, ["late"], first_seq=2),
            store.append_many(state, ["late", "\0later"], renew=True),
        ):
            with raises(StreamNotActiveError) as raised:
                await operation
            assert raised.error is not None
            assert raised.error.state == state
        assert await store.renew(state) is False
        assert [chunk.data for chunk in await gather_items(store.read_from(state))] == ["kept"]


@check
async def no_chunk_lands_after_a_stop_from_elsewhere(harness: StreamStoreHarness) -> None:
    producer, other = await harness.open(), await harness.open()
    for attempt in range(5):
        stream_id = f"s{attempt}"
        await producer.create(stream_id)
        written = 0

        async def produce(stream_id: str = stream_id) -> None:
            nonlocal written
            with contextlib.suppress(StreamNotActiveError):
                while True:
                    written = await producer.append(stream_id, "x")
                    await sleep(0)

        task = asyncio.ensure_future(produce())
        await sleep(0.002 * attempt)
        await other.stop(stream_id)
        status = await other.get_status(stream_id)
        assert status is not None
        await task
        assert len(await gather_items(other.read_from(stream_id))) == status.total_chunks
        assert written <= status.total_chunks


@check
async def the_first_end_wins(harness: StreamStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    ends = {"done": StreamEnd("done"), "stopped": StreamEnd("stopped"), "error": StreamEnd("error", "first")}
    for first, end in ends.items():
        await store.create(first)
        assert await store.finish(first, end) == end
        await other.complete(first)
        await other.stop(first)
        await other.fail(first, "second")
        assert await other.finish(first, StreamEnd("error", "third"), chunks=["late"], first_seq=1) == end
        status = await other.get_status(first)
        assert status is not None
        assert (status.state, status.error, status.total_chunks) == (end.state, end.error, 0)


@check
async def the_last_chunks_and_the_end_are_one(harness: StreamStoreHarness) -> None:
    store = await harness.open()
    await store.create("s")
    await store.append("s", "a")
    with raises(StreamConflictError):
        await store.finish("s", StreamEnd("done"), chunks=["x"], first_seq=1)
    status = await store.get_status("s")
    assert status is not None
    assert status.is_active
    end = StreamEnd("error", "broke")
    assert await store.finish("s", end, chunks=["b", "\0", "c"], first_seq=2) == end
    assert await store.finish("s", end, chunks=["b", "\0", "c"], first_seq=2) == end
    page = await store.read_page("s")
    assert page.is_last
    assert [chunk.data for chunk in page.chunks] == ["a", "b", "\0", "c"]
    assert page.status.total_chunks == 4
