"""A durable stream in one process: delivery, resuming at every place, stopping, failing, closing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibind.errors import (
    AibindError,
    ModelError,
    SourceError,
    SqliteError,
    SqliteTransientError,
    StreamExistsError,
    StreamNotFoundError,
    TransientError,
)
from aibind.sqlite import SqliteDatabase, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import (
    DurableStream,
    MemoryStreamStore,
    SseMessage,
    SseParser,
    StreamEnd,
    StreamEvent,
    StreamStore,
    writer,
)
from aibind.testing import Faults, FaultySqliteClient
from tests.support.harnesses import share_streams
from tests.support.models import until
from tests.support.sources import Source, read_all, text_of, tokens


@asynccontextmanager
async def open_store(backend: str, folder: Path, **options: Any) -> AsyncIterator[StreamStore]:
    if backend == "memory":
        yield MemoryStreamStore(**options)
        return
    async with wrap_sqlite3(folder / "streams.db") as client:
        await migrate(client)
        yield SqliteStreamStore(client if backend == "file" else FaultySqliteClient(client, Faults()), **options)


backends = pytest.mark.parametrize("backend", ["memory", "file", "remote"])


async def cut_and_resume(stream: DurableStream, store: StreamStore, messages: int) -> str:
    """Follow until so many messages have come, leave, come back, and return all text that was seen."""
    parser = SseParser()
    body = stream.response(after=0).body
    seen: list[SseMessage] = []
    while len(seen) < messages:
        try:
            seen += parser.feed(await anext(body))
        except StopAsyncIteration:
            break
    await body.aclose()
    assert len({message.id for message in seen if message.id}) == len([message for message in seen if message.id])
    if any(message.event == "done" for message in seen):
        return text_of(seen)
    resumed = await DurableStream.resume(store, stream.id, int(parser.last_event_id or 0))
    return text_of(seen) + text_of(await read_all(resumed.body))


@backends
@pytest.mark.parametrize("flush_interval_ms", [None, 0, 30])
async def test_every_cut_is_resumed_exactly(backend: str, flush_interval_ms: float | None, tmp_path: Path) -> None:
    items = tokens(60)
    async with open_store(backend, tmp_path) as store:
        source = Source(items, rate=200)
        stream = await DurableStream.create(store, source.stream(), flush_interval_ms=flush_interval_ms)
        followers = [cut_and_resume(stream, store, cut) for cut in range(62)]
        reading = asyncio.ensure_future(read_all(stream.response().body))
        texts = await asyncio.gather(*followers)
        whole = await reading
        assert text_of(whole) == "".join(items)
        assert set(texts) == {"".join(items)}
        # … and from the store alone, as another process would
        assert DurableStream.find(store, stream.id) is None
        stored = [chunk.event.data async for chunk in store.read_from(stream.id)]
        assert "".join(stored) == "".join(items)
        for after in range(len(stored) + 2):
            rest = text_of(await read_all((await DurableStream.resume(store, stream.id, after)).body))
            assert rest == "".join(stored[after:])


async def test_every_id_that_was_sent_can_be_resumed_from(tmp_path: Path) -> None:
    """Ids inside a chunk that was still growing are exact to the character, also when only the store is left."""
    items = tokens(80)
    async with open_store("remote", tmp_path) as store:
        stream = await DurableStream.create(store, Source(items, rate=400).stream(), flush_interval_ms=40)
        seen: list[tuple[int, str]] = [(0, "")]
        parser = SseParser()
        async for data in stream.response().body:
            for message in parser.feed(data):
                if not message.event:
                    seen.append((int(message.id), seen[-1][1] + message.data))
        assert any(last_id > 10**9 for last_id, _ in seen)
        for last_id, text in seen:
            rest = text_of(await read_all((await DurableStream.resume(store, stream.id, last_id)).body))
            assert text + rest == "".join(items)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=12),
            st.builds(StreamEvent, st.sampled_from(["usage", "tool_call", "x"]), st.text(max_size=9)),
        ),
        max_size=25,
    ),
    st.sampled_from([0.0, 1.0, 5.0]),
    st.data(),
)
def test_any_source_arrives_whole(items: list[StreamEvent | str], interval_ms: float, data: st.DataObject) -> None:
    async def run() -> None:
        store = MemoryStreamStore()
        stream = await DurableStream.create(store, Source(items).stream(), flush_interval_ms=interval_ms)
        live = await read_all(stream.response().body)
        stored = await read_all((await DurableStream.resume(store, stream.id)).body)
        named = [item.event for item in items if isinstance(item, StreamEvent)]
        for messages in (live, stored):
            assert [message.event for message in messages if message.event not in {"", "stream-id", "done"}] == named
        assert text_of(live) == text_of(stored)
        ids = [int(message.id) for message in live if message.id and message.event != "stream-id"]
        assert len(ids) == len(set(ids))
        if ids:
            cut = data.draw(st.integers(0, len(ids) - 1))
            rest = await read_all((await DurableStream.resume(store, stream.id, ids[cut])).body)
            before = [message for message in live if message.event not in {"stream-id", "done"}][: cut + 1]
            assert text_of(before) + text_of(rest) == text_of(live)

    asyncio.run(run())


@backends
async def test_followers_join_at_any_time(backend: str, tmp_path: Path) -> None:
    items = tokens(50)
    async with open_store(backend, tmp_path) as store:
        stream = await DurableStream.create(store, Source(items, rate=250).stream(), flush_interval_ms=30)

        async def join(delay: float) -> str:
            await asyncio.sleep(delay)
            return text_of(await read_all((await DurableStream.resume(store, stream.id)).body))

        assert set(await asyncio.gather(*(join(number / 40) for number in range(10)))) == {"".join(items)}


@backends
async def test_a_follower_that_leaves_does_not_end_the_producer(backend: str, tmp_path: Path) -> None:
    items = tokens(30)
    async with open_store(backend, tmp_path) as store:
        source = Source(items, rate=300)
        stream = await DurableStream.create(store, source.stream())
        body = stream.response().body
        await anext(body)
        await anext(body)
        await body.aclose()
        await stream.wait_closed()
        assert source.given == 30
        status = await store.get_status(stream.id)
        assert status is not None
        assert status.state == "done"


@backends
async def test_stop_closes_the_source_and_keeps_the_text(backend: str, tmp_path: Path) -> None:
    async with open_store(backend, tmp_path) as store:
        source = Source(tokens(10_000), rate=200)
        stream = await DurableStream.create(store, source.stream())
        follower = asyncio.ensure_future(read_all(stream.response().body))
        await until(lambda: source.given >= 5)
        await asyncio.gather(stream.stop(), stream.stop())
        assert source.closed.is_set()
        assert stream.end == StreamEnd("stopped")
        live = await follower
        assert [message.event for message in live[-2:]] == ["stopped", "done"]
        stored = await read_all((await DurableStream.resume(store, stream.id)).body)
        assert text_of(stored) == text_of(live) == "".join(tokens(source.given))
        await stream.stop()


@backends
@pytest.mark.parametrize("rate", [200, 0.001])
async def test_a_stop_in_the_store_reaches_the_source(backend: str, rate: float, tmp_path: Path) -> None:
    async with open_store(backend, tmp_path) as store:
        source = Source(tokens(10_000), rate=rate)
        stream = await DurableStream.create(store, source.stream(), flush_interval_ms=20)
        follower = asyncio.ensure_future(read_all(stream.response().body))
        await until(lambda: source.given)
        await store.request_stop(stream.id)
        await source.closed.wait()
        live = await follower
        assert [message.event for message in live[-2:]] == ["stopped", "done"]
        assert DurableStream.find(store, stream.id) is None
        stored = await read_all((await DurableStream.resume(store, stream.id)).body)
        assert text_of(stored) == text_of(live) == "".join(tokens(source.given))


@backends
async def test_a_reader_is_told_what_a_stop_at_once_has_lost(backend: str, tmp_path: Path) -> None:
    async with open_store(backend, tmp_path) as store:
        ended: list[tuple[StreamEnd, bool]] = []

        async def on_end(end: StreamEnd, is_whole: bool) -> None:
            ended.append((end, is_whole))

        source = Source(tokens(10_000), rate=200)
        stream = await DurableStream.create(store, source.stream(), flush_interval_ms=200, on_end=on_end)
        follower = asyncio.ensure_future(read_all(stream.response().body))
        await until(lambda: source.given > 5)
        await store.stop(stream.id)
        live = await follower
        assert live[-2].data == "The reply was ended elsewhere, and its last words are not kept"
        stored = await read_all((await DurableStream.resume(store, stream.id)).body)
        assert [message.event for message in stored[-2:]] == ["stopped", "done"]
        assert text_of(live).startswith(text_of(stored))
        assert ended == [(StreamEnd("stopped"), False)]


@backends
async def test_a_lost_producer_writes_nothing_more(backend: str, tmp_path: Path) -> None:
    async with open_store(backend, tmp_path, lease_ms=300) as store:
        source = Source(tokens(10_000), rate=200)
        stream = await DurableStream.create(store, source.stream(), flush_interval_ms=20)
        await until(lambda: source.given > 5)
        assert await store.give_up(stream.id) is None  # its lease lasts
        await store.fail(stream.id, "producer lost")
        before = (await store.read_page(stream.id)).chunks
        live = await read_all(stream.response(after=0).body)
        assert [(message.event, message.data) for message in live[-2:]] == [("error", "producer lost"), ("done", "")]
        assert (await store.read_page(stream.id)).chunks == before
        assert await store.give_up(stream.id) == StreamEnd("error", "producer lost")


@backends
async def test_a_hook_is_called_again_after_a_transient_error(backend: str, tmp_path: Path) -> None:
    async with open_store(backend, tmp_path) as store:
        calls: list[StreamEnd] = []

        async def on_end(end: StreamEnd, _: bool) -> None:
            calls.append(end)
            if len(calls) < 3:
                raise TransientError("busy")

        stream = await DurableStream.create(store, Source(["x"]).stream(), on_end=on_end)
        await stream.wait_closed()
        assert calls == [StreamEnd("done")] * 3


async def test_a_hook_that_fails_for_longer_than_the_lease_is_called_on_after_the_end_was_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStreamStore(lease_ms=100)
    answers = asyncio.Event()
    calls: list[StreamEnd] = []

    async def on_end(end: StreamEnd, _: bool) -> None:
        calls.append(end)
        if not answers.is_set():
            raise TransientError("busy")

    stream = await DurableStream.create(store, Source(["x"]).stream(), on_end=on_end)
    live = await read_all(stream.response().body)
    assert live[-1].event == "done"
    await stream.stop()  # does not wait for the hook
    assert calls
    assert DurableStream.find(store, stream.id) is None  # so that others may recover what it was to save
    assert "The end hook of stream" in caplog.text
    answers.set()
    async with asyncio.timeout(30):
        await stream.wait_closed()
    assert set(calls) == {StreamEnd("done")}


async def test_a_hook_that_fails_holds_no_shutdown_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "FAREWELL_S", 0.1)

    async def on_end(_: StreamEnd, __: bool) -> None:
        raise TransientError("busy")

    stream = await DurableStream.create(MemoryStreamStore(lease_ms=100), Source(["x"]).stream(), on_end=on_end)
    await read_all(stream.response().body)
    async with asyncio.timeout(30):
        await stream.abort("The server was shut down")
    assert stream.end == StreamEnd("done")


async def test_a_stream_outlives_a_store_that_does_not_answer_for_longer_than_the_lease(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        faults = Faults()
        network = FaultySqliteClient(client, faults)
        source = Source(tokens(200), rate=200)
        stream = await DurableStream.create(SqliteStreamStore(network, lease_ms=200), source.stream())
        follower = asyncio.ensure_future(read_all(stream.response().body))
        await until(lambda: source.given > 5)
        faults.down = True
        await asyncio.sleep(0.6)
        assert source.given > 50  # it goes on
        faults.down = False
        live = await follower
        assert [message.event for message in live[-1:]] == ["done"]
        stored = await read_all((await DurableStream.resume(SqliteStreamStore(client), stream.id)).body)
        assert text_of(stored) == text_of(live) == "".join(tokens(200))


async def test_a_store_that_does_not_answer_holds_no_shutdown_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "FAREWELL_S", 0.3)
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        faults = Faults()
        network = FaultySqliteClient(client, faults)
        source = Source(tokens(10_000), rate=200)
        stream = await DurableStream.create(SqliteStreamStore(network), source.stream())
        await until(lambda: source.given > 5)
        faults.down = True
        async with asyncio.timeout(10):
            await stream.abort("The server was shut down")
        assert stream.end == StreamEnd("error", "The reply could not be stored")


@backends
async def test_a_source_that_fails_ends_as_error(backend: str, tmp_path: Path) -> None:
    class ModelBrokeError(AibindError):
        pass

    async with open_store(backend, tmp_path) as store:
        source = Source(["some ", "text", ModelBrokeError("it broke\nin two lines")])
        stream = await DurableStream.create(store, source.stream())
        live = await read_all(stream.response().body)
        assert [(message.event, message.data) for message in live[-2:]] == [
            ("error", "it broke\nin two lines"),
            ("done", ""),
        ]
        assert text_of(live) == "some text"
        assert source.closed.is_set()
        assert text_of(await read_all((await DurableStream.resume(store, stream.id)).body)) == "some text"


async def test_a_failure_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "aibind"):
        stream = await DurableStream.create(
            MemoryStreamStore(), Source([ZeroDivisionError("the key is k-123")]).stream()
        )
        await stream.wait_closed()
    assert stream.end == StreamEnd("error", "The reply failed")
    assert "Traceback" in caplog.text
    assert "the key is k-123" in caplog.text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SourceError("The library is closed today"), "The library is closed today"),
        (ModelError("The model's endpoint answered 500"), "The model's endpoint answered 500"),
        (SqliteError("no such column: secret", "SELECT secret"), "The reply failed"),
        (SqliteTransientError("database is locked"), "The reply failed"),
        (RuntimeError("/home/me/key.pem not found"), "The reply failed"),
    ],
)
async def test_readers_see_only_messages_meant_for_them(error: Exception, told: str) -> None:
    stream = await DurableStream.create(MemoryStreamStore(), Source(["text ", error]).stream())
    live = await read_all(stream.response().body)
    assert [(message.event, message.data) for message in live[-2:]] == [("error", told), ("done", "")]


class SdkChunk:
    """What a client library yields."""


@pytest.mark.parametrize(
    ("item", "kind"), [(SdkChunk(), "SdkChunk"), (b"bytes", "bytes"), (None, "NoneType"), ({"text": "x"}, "dict")]
)
async def test_an_item_that_is_no_event_is_named_in_the_log(
    item: object, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def source() -> AsyncIterator[Any]:
        yield "before "
        yield item

    with caplog.at_level(logging.WARNING, "aibind"):
        stream = await DurableStream.create(MemoryStreamStore(), source())
        assert text_of(await read_all(stream.response().body)) == "before "
    assert stream.end == StreamEnd("error", "The reply failed")
    assert f"{kind}, but must yield str or StreamEvent" in caplog.text


async def test_a_source_that_cannot_be_iterated_is_named() -> None:
    async def answer() -> str:
        return "text"

    async def events() -> AsyncIterator[str]:
        yield "text"

    for source, told in (
        (answer(), "await it first"),
        (events, "call it first"),
        (["text"], "make it an async generator"),
        (7, "source is of type int, but must be an async iterable of str or StreamEvent"),
    ):
        store = MemoryStreamStore()
        with pytest.raises(TypeError, match=told):
            await DurableStream.create(store, source, stream_id="s")  # type: ignore[arg-type]
        assert await store.get_status("s") is None


@pytest.mark.parametrize("name", ["done", "stopped", "stream-id", "a\nb"])
async def test_an_event_that_would_confuse_readers_is_an_error(name: str, caplog: pytest.LogCaptureFixture) -> None:
    stream = await DurableStream.create(MemoryStreamStore(), Source([StreamEvent(name, "x")]).stream())
    await stream.wait_closed()
    assert stream.end is not None
    assert stream.end.state == "error"
    assert "Event name" in caplog.text


async def test_a_taken_id_closes_the_source() -> None:
    store = MemoryStreamStore()
    await store.create("s")
    source = Source(tokens(5))
    with pytest.raises(StreamExistsError):
        await DurableStream.create(store, source.stream(), stream_id="s")
    never_begun = source.stream()
    with pytest.raises(StreamExistsError):
        await DurableStream.create(store, never_begun, stream_id="s")
    with pytest.raises(StopAsyncIteration):
        await anext(never_begun)
    assert DurableStream.find(store, "s") is None


async def test_the_model_is_asked_while_the_row_is_made(tmp_path: Path) -> None:
    async with open_store("remote", tmp_path) as store:
        network: Faults = store._client._faults  # type: ignore[attr-defined]
        network.pause()
        source = Source(["x"])
        creating = asyncio.ensure_future(DurableStream.create(store, source.stream()))
        while not source.given:
            await asyncio.sleep(0)
        assert not creating.done()
        network.resume()
        await (await creating).wait_closed()


async def test_the_end_is_delivered_after_the_hook() -> None:
    order: list[object] = []

    async def on_end(end: StreamEnd, _: bool) -> None:
        await asyncio.sleep(0.05)
        order.append(end)

    stream = await DurableStream.create(MemoryStreamStore(), Source(["x"]).stream(), on_end=on_end)
    messages = await read_all(stream.response().body)
    order.append(messages[-1].event)
    assert order == [StreamEnd("done"), "done"]


async def test_a_hook_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def on_end(end: StreamEnd, _: bool) -> None:
        raise RuntimeError("the hook broke")

    stream = await DurableStream.create(MemoryStreamStore(), Source(["x"]).stream(), on_end=on_end)
    messages = await read_all(stream.response().body)
    assert [message.event for message in messages] == ["stream-id", "", "done"]
    assert "the hook broke" in caplog.text


async def test_keep_alive_is_given_the_producer() -> None:
    given: list[asyncio.Future[None]] = []
    stream = await DurableStream.create(
        MemoryStreamStore(),
        Source(tokens(5), rate=100).stream(),
        keep_alive=lambda task: given.append(task),  # type: ignore[arg-type]
    )
    await given[0]
    assert stream.end == StreamEnd("done")


@backends
@pytest.mark.parametrize("near", [True, False])
async def test_a_silent_follower_gets_pings(backend: str, near: bool, tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        yield "a"
        await go_on.wait()
        yield "b"

    async with open_store(backend, tmp_path) as store, open_store(backend, tmp_path) as other:
        if isinstance(store, MemoryStreamStore):
            other = share_streams(store)
        stream = await DurableStream.create(store, source(), heartbeat_ms=20)
        response = stream.response()
        if not near:
            assert DurableStream.find(other, stream.id) is None
            response = await DurableStream.resume(other, stream.id, heartbeat_ms=20)
        data = b""
        async for piece in response.body:
            data += piece
            if data.count(b": ping\n\n") == 3:
                go_on.set()
        assert text_of(SseParser().feed(data)) == "ab"


@backends
async def test_resume_of_an_unknown_stream_is_an_error(backend: str, tmp_path: Path) -> None:
    async with open_store(backend, tmp_path) as store:
        with pytest.raises(StreamNotFoundError):
            await DurableStream.resume(store, "none")
        with pytest.raises(ValueError, match="out of range"):
            await DurableStream.resume(store, "none", -1)


@pytest.mark.parametrize("seed", range(3))
async def test_a_bad_network_loses_no_reader(seed: int, tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        store = SqliteStreamStore(client)
        reader = SqliteStreamStore(
            FaultySqliteClient(client, Faults(seed, rate=0.4, timeout_s=0.05)), poll_interval_ms=5
        )
        stream = await DurableStream.create(store, Source(tokens(50), rate=200).stream())
        pages = [page async for page in reader.read_pages(stream.id)]
        assert pages[-1].is_last
        assert "".join(chunk.event.data for page in pages for chunk in page.chunks) == "".join(tokens(50))


@backends
async def test_one_can_wait_until_the_events_so_far_are_stored(backend: str, tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        yield "stored "
        yield "soon"
        await go_on.wait()
        yield " and more"

    async with open_store(backend, tmp_path) as store:
        stream = await DurableStream.create(store, source(), flush_interval_ms=50)
        batches = stream.follow()
        seen = ""
        while seen != "stored soon":
            seen += "".join(event.data for _, event in (await anext(batches)).events)
        assert await stream.wait_stored()
        assert "".join(chunk.event.data for chunk in (await store.read_page(stream.id)).chunks) == "stored soon"
        await store.fail(stream.id, "given up")
        go_on.set()
        async for _ in batches:
            pass
        assert not await stream.wait_stored()


@backends
async def test_a_lost_producer_is_an_error_event(backend: str, tmp_path: Path) -> None:
    async with open_store(backend, tmp_path, lease_ms=300) as store:
        await store.create("s")
        await store.append("s", "\x01as far as it came")
        messages = await read_all((await DurableStream.resume(store, "s")).body)
        assert [(message.event, message.data) for message in messages] == [
            ("", "as far as it came"),
            ("error", "producer lost"),
            ("done", ""),
        ]


async def test_a_follower_far_behind_reads_from_the_store(tmp_path: Path) -> None:
    async with open_store("file", tmp_path) as store:
        items = [f"{number:06} " + "x" * 500 for number in range(4000)]
        stream = await DurableStream.create(store, Source(items).stream(), flush_interval_ms=1)
        body = stream.response().body
        parser = SseParser()
        messages = parser.feed(await anext(body)) + parser.feed(await anext(body))
        await stream.wait_closed()
        log = stream._writer.buffer
        assert sum(len(event.data) for event in log._chunks) < 1_700_000
        async for data in body:
            messages += parser.feed(data)
        assert text_of(messages) == "".join(items)


def test_a_shutdown_of_the_loop_ends_the_stream_in_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "FAREWELL_S", 60)  # a slow machine must not be taken for a store that does not answer
    path = tmp_path / "streams.db"

    async def serve() -> str:
        client = wrap_sqlite3(path)
        await migrate(client)
        source = Source(tokens(10_000), rate=200)
        stream = await DurableStream.create(SqliteStreamStore(client), source.stream())
        await until(lambda: source.given >= 5)
        clients.append(client)
        return stream.id

    async def look(stream_id: str) -> None:
        await clients[0].aclose()
        async with wrap_sqlite3(path) as client:
            page = await SqliteStreamStore(client).read_page(stream_id)
            assert (page.status.state, page.status.error) == ("error", "The server was shut down")
            assert page.chunks

    clients: list[SqliteDatabase] = []
    stream_id = asyncio.run(serve())
    asyncio.run(look(stream_id))


async def test_reasoning_grows_like_text(tmp_path: Path) -> None:
    """A thousand pieces of reasoning must not become a thousand rows; ids inside them are exact as well."""
    pieces = [f"{number} " for number in range(300)]
    items: list[StreamEvent | str | Exception] = [StreamEvent("reasoning", piece) for piece in pieces]
    items += ["the ", "answer", StreamEvent("reasoning", "more")]
    async with open_store("remote", tmp_path) as store:
        stream = await DurableStream.create(store, Source(items, rate=600).stream(), flush_interval_ms=40)
        live = await read_all(stream.response().body)
        status = await store.get_status(stream.id)
        assert status is not None
        assert status.total_chunks < 100

        def joined(messages: list[SseMessage], name: str) -> str:
            return "".join(message.data for message in messages if message.event == name)

        assert joined(live, "reasoning") == "".join(pieces) + "more"
        assert text_of(live) == "the answer"
        seen: list[SseMessage] = []
        for message in live[1:-1]:
            seen.append(message)
            rest = await read_all((await DurableStream.resume(store, stream.id, int(message.id))).body)
            assert joined(seen + rest, "reasoning") == joined(live, "reasoning")
            assert text_of(seen + rest) == "the answer"
