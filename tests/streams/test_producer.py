"""What can go wrong around a producer: it ends all the same, in the store as well, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aibind.errors import ProducerLostError
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream, MemoryStreamStore, StreamEnd, StreamEvent
from aibind.testing import Faults, FaultySqliteClient
from testbed.virtual_time import in_virtual_time
from tests.support.sources import Source, read_all, text_of, tokens


async def not_a_source() -> str:
    return "text"


@pytest.mark.parametrize("source", [["text"], "text", None])
async def test_what_is_no_source_is_refused_before_anything_begins(source: Any) -> None:
    store = MemoryStreamStore()
    with pytest.raises(TypeError, match="async"):
        await DurableStream.create(store, source, stream_id="s")
    assert await store.get_status("s") is None


async def test_a_coroutine_is_refused_as_well() -> None:
    coroutine: Any = not_a_source()
    with pytest.raises(TypeError, match="async"):
        await DurableStream.create(MemoryStreamStore(), coroutine)
    coroutine.close()


@pytest.mark.parametrize("cancels", [1, 2, 3])
@in_virtual_time
async def test_a_cancelled_producer_ends_its_stream(cancels: int) -> None:
    """However often, and whatever it is doing: or its lease would be renewed for ever."""

    class SlowToClose:
        def __aiter__(self) -> AsyncIterator[str]:
            return self

        async def __anext__(self) -> str:
            await asyncio.sleep(0.5)
            return "text"

        async def aclose(self) -> None:
            await asyncio.sleep(1)

    store = MemoryStreamStore()
    producers: list[asyncio.Task[None]] = []
    stream = await DurableStream.create(store, SlowToClose(), keep_alive=producers.append)  # type: ignore[arg-type]
    await asyncio.sleep(1)
    for _ in range(cancels):
        producers[0].cancel()
        await asyncio.sleep(0.1)
    await asyncio.sleep(10)
    status = await store.get_status(stream.id)
    assert status is not None
    assert (status.state, status.error) == ("error", "The server was shut down")
    assert stream.end is not None
    assert DurableStream.find(store, stream.id) is None


@in_virtual_time
async def test_a_source_that_ignores_its_cancellation_is_stopped() -> None:
    closed = False

    async def stubborn() -> AsyncIterator[str]:
        nonlocal closed
        try:
            for number in range(1000):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(1)
                yield f"{number} "
        finally:
            closed = True

    store = MemoryStreamStore()
    stream = await DurableStream.create(store, stubborn())
    await asyncio.sleep(3.5)
    await stream.stop()
    assert closed
    assert stream.end == StreamEnd("stopped")
    assert text_of(await read_all(stream.response(after=0).body)) == "0 1 2 "


async def test_what_cannot_be_stored_ends_the_stream_in_its_store(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Readers elsewhere need not wait for the end of the lease."""
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        await client.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON aibind_stream_chunks WHEN length(NEW.data) > 100000"
            " BEGIN SELECT json('{'); END"
        )
        source = Source(["kept ", StreamEvent("image", "x" * 1_000_000), *tokens(10_000)], rate=50)
        stream = await DurableStream.create(SqliteStreamStore(FaultySqliteClient(client, Faults())), source.stream())
        live = await read_all(stream.response().body)
        assert [(message.event, message.data) for message in live[-2:]] == [
            ("error", "The reply could not be stored"),
            ("done", ""),
        ]
        assert source.closed.is_set()
        assert "malformed JSON" in caplog.text
        page = await SqliteStreamStore(client).read_page(stream.id)
        assert (page.status.state, page.status.error) == ("error", "The reply could not be stored")
        assert [chunk.event.data for chunk in page.chunks] == ["kept "]


async def test_a_reader_that_leaves_as_its_producer_is_lost_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStreamStore(lease_ms=30)
    await store.create("s")
    body = (await DurableStream.resume(store, "s", heartbeat_ms=1)).body
    assert await anext(body) == b": ping\n\n"
    await asyncio.sleep(0.1)  # longer than the lease: what it looked for is an error by now
    with caplog.at_level(logging.ERROR):
        await body.aclose()
        del body
        gc.collect()
        await asyncio.sleep(0)
    assert ProducerLostError.__name__ not in caplog.text
