"""The writer: when it writes, and that it writes nothing twice and loses nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import Context
from pathlib import Path
from typing import TypeVarTuple

import pytest

from aibind.errors import StreamExistsError
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, Pace, StreamEnd, StreamEvent, StreamStore, StreamWriter, retrying
from aibind.testing import Fault, Faults, FaultySqliteClient
from testbed.virtual_time import in_virtual_time

_Ts = TypeVarTuple("_Ts")


async def stored(store: StreamStore, stream_id: str = "s") -> list[tuple[str, str]]:
    page = await store.read_page(stream_id)
    return [(chunk.event.event, chunk.event.data) for chunk in page.chunks]


async def open_writer(store: StreamStore, **options: float) -> StreamWriter:
    writer = StreamWriter(store, "s", **options)  # type: ignore[arg-type]
    await writer.open()
    return writer


@pytest.mark.parametrize(
    ("elapsed_s", "wait_s"), [(0, 0.25), (5, 0.25), (10, 0.25), (20, 0.5), (60, 1.5), (80, 2.0), (600, 2.0)]
)
def test_the_schedule_stretches(elapsed_s: float, wait_s: float) -> None:
    assert Pace(250, 2000).delay_s(elapsed_s) == wait_s
    assert Pace(5).delay_s(elapsed_s) == 0.005


def test_the_schedule_stays_within_a_workers_limits() -> None:
    for minutes, most in ((1 / 6, 45), (10, 450)):
        schedule = Pace(250, 2000)
        writes, now = 0, 0.0
        while now < minutes * 60:
            writes += 1
            now += schedule.delay_s(now)
        assert writes <= most


@in_virtual_time
async def test_neighbouring_text_becomes_one_chunk() -> None:
    store = MemoryStreamStore()
    writer = await open_writer(store, flush_interval_ms=60_000)
    await writer.write(StreamEvent("", "first"))
    await asyncio.sleep(0.02)
    assert await stored(store) == [("", "first")]
    for event in ("", "a"), ("", "b"), ("usage", "{}"), ("", "c"), ("x", ""), ("x", ""), ("", "d"):
        await writer.write(StreamEvent(*event))
    assert await writer.end(StreamEnd("done")) == StreamEnd("done")
    names = [("", "ab"), ("usage", "{}"), ("", "c"), ("x", ""), ("x", ""), ("", "d")]
    assert await stored(store) == [("", "first"), *names]


@in_virtual_time
async def test_a_named_event_is_stored_soon() -> None:
    store = MemoryStreamStore()
    writer = await open_writer(store, flush_interval_ms=60_000)
    await writer.write(StreamEvent("", "first"))
    await asyncio.sleep(0.01)
    await writer.write(StreamEvent("", "before"))
    await asyncio.sleep(0.1)
    assert await stored(store) == [("", "first")]
    await writer.write(StreamEvent("tool_call", "{}"))
    await asyncio.sleep(0.15)
    assert await stored(store) == [("", "first"), ("", "before"), ("tool_call", "{}")]
    await writer.end(StreamEnd("done"))


@in_virtual_time
async def test_much_text_is_stored_at_once_and_in_bounded_chunks() -> None:
    store = MemoryStreamStore()
    writer = await open_writer(store, flush_interval_ms=60_000)
    await writer.write(StreamEvent("", "first"))
    await asyncio.sleep(0.01)
    await writer.write(StreamEvent("", "x" * 200_000))
    await asyncio.sleep(0.05)
    sizes = [len(data) for _, data in await stored(store)]
    assert sizes == [5, 65_536, 65_536, 65_536, 200_000 - 3 * 65_536]
    await writer.end(StreamEnd("done"))


async def test_an_interval_of_nothing_stores_before_it_delivers() -> None:
    store = MemoryStreamStore()
    writer = await open_writer(store, flush_interval_ms=0)
    for number, event in enumerate([("", "a"), ("", "b"), ("e", "c")], 1):
        await writer.write(StreamEvent(*event))
        assert len(await stored(store)) == number
    await writer.end(StreamEnd("done"))
    assert await stored(store) == [("", "a"), ("", "b"), ("e", "c")]


def test_a_negative_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more milliseconds"):
        StreamWriter(MemoryStreamStore(), "s", flush_interval_ms=-1)


async def test_a_taken_id_is_refused() -> None:
    store = MemoryStreamStore()
    await store.create("s")
    with pytest.raises(StreamExistsError):
        await open_writer(store)


@in_virtual_time
async def test_the_lease_is_renewed_while_a_model_is_silent() -> None:
    store = MemoryStreamStore(lease_ms=300)
    writer = await open_writer(store, flush_interval_ms=10)
    for _ in range(8):
        await asyncio.sleep(0.1)
        status = await store.get_status("s")
        assert status is not None
        assert status.expires_at > time.time() * 1000
    await writer.end(StreamEnd("done"))


@in_virtual_time
async def test_the_lease_is_renewed_while_a_model_speaks() -> None:
    store = MemoryStreamStore(lease_ms=300)
    writer = await open_writer(store, flush_interval_ms=20)
    for _ in range(40):
        await writer.write(StreamEvent("", "x"))
        await asyncio.sleep(0.02)
        status = await store.get_status("s")
        assert status is not None
        assert status.expires_at > time.time() * 1000
    await writer.end(StreamEnd("done"))


@pytest.mark.parametrize("speaking", [True, False])
@in_virtual_time
async def test_a_stop_from_elsewhere_is_noticed(speaking: bool) -> None:
    store = MemoryStreamStore()
    writer = await open_writer(store, flush_interval_ms=20)
    halted = asyncio.Event()
    writer.on_halt = halted.set
    await writer.write(StreamEvent("", "kept"))
    await asyncio.sleep(0.05)
    await store.stop("s")
    if speaking:
        await writer.write(StreamEvent("", "late"))
    async with asyncio.timeout(1):
        await halted.wait()
    assert writer.halted == StreamEnd("stopped")
    await writer.write(StreamEvent("", "later"))
    assert await writer.end(StreamEnd("done")) == StreamEnd("stopped")
    assert await stored(store) == [("", "kept")]


@in_virtual_time
async def test_an_end_from_elsewhere_is_taken_over() -> None:
    store = MemoryStreamStore()
    writer = await open_writer(store, flush_interval_ms=20)
    await store.fail("s", "an operator ended it")
    await writer.write(StreamEvent("", "late"))
    assert await writer.end(StreamEnd("done")) == StreamEnd("error", "an operator ended it")


@in_virtual_time
async def test_a_second_producer_is_noticed() -> None:
    store = MemoryStreamStore()
    writer = await open_writer(store, flush_interval_ms=20)
    await store.append("s", "\x01from somebody else")
    await writer.write(StreamEvent("", "mine"))
    assert await writer.end(StreamEnd("done")) == StreamEnd("error", "Another producer writes to this stream")
    assert await stored(store) == [("", "from somebody else")]


SCRIPTS: list[list[Fault | None]] = [
    ["before"],
    ["after"],
    ["late"],
    ["duplicate"],
    [None, "before"],
    [None, "after"],
    [None, "late"],
    [None, "duplicate", "after"],
    [None, "after", "after", "before"],
    [None, None, "before", "after"],
    [None, None, "after"],
    [None, None, "late", "late", "after"],
    ["after", "after", "after", "after"],
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: " ".join(map(str, script)))
async def test_lost_calls_and_answers_store_nothing_twice(script: list[Fault | None], tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        faults = Faults(script=script)
        store = SqliteStreamStore(FaultySqliteClient(client, faults))
        writer = await open_writer(store, flush_interval_ms=5)
        expected = []
        for number in range(30):
            await writer.write(StreamEvent("", f"{number} "))
            expected.append(f"{number} ")
            await asyncio.sleep(0.005)
        assert await writer.end(StreamEnd("error", "broke")) == StreamEnd("error", "broke")
        await faults.wait_settled()
        page = await SqliteStreamStore(client).read_page("s")
        assert "".join(chunk.event.data for chunk in page.chunks) == "".join(expected)
        assert [chunk.seq for chunk in page.chunks] == list(range(1, len(page.chunks) + 1))
        assert (page.status.state, page.status.error) == ("error", "broke")


@pytest.mark.parametrize("seed", range(5))
async def test_a_bad_network_loses_nothing(seed: int, tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        faults = Faults(seed, rate=0.3, timeout_s=0.05, latency_s=0.002)
        store = SqliteStreamStore(FaultySqliteClient(client, faults))
        writer = await open_writer(store, flush_interval_ms=10)
        expected = ""
        for number in range(60):
            await writer.write(StreamEvent("", f"{number} "))
            expected += f"{number} "
            await asyncio.sleep(0.003)
        assert await writer.end(StreamEnd("done")) == StreamEnd("done")
        await faults.wait_settled()
        page = await SqliteStreamStore(client).read_page("s")
        assert "".join(chunk.event.data for chunk in page.chunks) == expected


async def test_a_store_that_stays_away_ends_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "OUTAGE_S", 0.4)
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        faults = Faults()
        network = FaultySqliteClient(client, faults)
        writer = await open_writer(SqliteStreamStore(network, lease_ms=400), flush_interval_ms=5)
        await writer.write(StreamEvent("", "kept"))
        while writer.buffer.has_unsaved:
            await asyncio.sleep(0.005)
        faults.down = True
        while writer.halted is None:
            await writer.write(StreamEvent("", "x" * 100))
            await asyncio.sleep(0.005)
        assert writer.halted == StreamEnd("error", "The reply could not be stored")
        assert await stored(SqliteStreamStore(client)) == [("", "kept")]


async def test_a_slow_store_holds_a_fast_source_back(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        network = FaultySqliteClient(client, Faults(latency_s=0.05))
        writer = await open_writer(SqliteStreamStore(network), flush_interval_ms=5, max_unsaved_chars=10_000)
        for _ in range(50):
            await writer.write(StreamEvent("", "x" * 1000))
            assert writer.buffer.unsaved_chars <= 11_000
        await writer.end(StreamEnd("done"))
        page = await SqliteStreamStore(client).read_page("s")
        assert sum(len(chunk.event.data) for chunk in page.chunks) == 50_000


def test_tokens_do_not_wake_a_writer_whose_time_has_not_come() -> None:
    """To wake the writer's task and set its timer again takes longer than all else that is done for a token."""

    class CountingLoop(asyncio.SelectorEventLoop):
        timers = 0

        def call_at(
            self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
        ) -> asyncio.TimerHandle:
            self.timers += 1
            return super().call_at(when, callback, *args, context=context)

    async def write() -> int:
        writer = StreamWriter(MemoryStreamStore(), "s1", flush_interval_ms=60_000)
        await writer.open()
        await writer.write(StreamEvent("", "the first is flushed at once"))
        assert await writer.wait_saved()
        before = loop.timers
        for number in range(200):
            await writer.write(StreamEvent("" if number % 2 else "usage", "{}"))
            await asyncio.sleep(0)
        timers = loop.timers - before
        await writer.end(StreamEnd("done"))
        return timers

    loop = CountingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(write()) < 10
