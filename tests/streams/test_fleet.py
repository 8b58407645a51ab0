"""A fleet in which servers of both languages answer for one database: a reader is handed from one to another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from aibind.server import StreamHandler
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream, SseMessage, SseParser, StreamEvent, encode_chunk
from testbed.javascript import JavaScriptStreamStore, javascript_follow
from tests.support.models import ScriptedModel
from tests.support.sources import text_of

TABLES = ("aibind_stream_chunks", "aibind_stream_status", "aibind_conversations")


class JavaScriptReader:
    """What the JavaScript client keeps of a reply: the ids of texts, and not those of other events."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.ids: list[int] = []
        self.done = False

    @property
    def last_id(self) -> int:
        return self.ids[-1] if self.ids else 0

    async def read(self, body: AsyncGenerator[bytes], cut: int) -> None:
        """Read until the connection breaks, after ``cut`` bytes."""
        parser = SseParser()
        async with aclosing(body):
            async for data in body:
                for message in parser.feed(data[:cut]):
                    self._take(message)
                cut -= len(data)
                if self.done or cut <= 0:
                    return

    def _take(self, message: SseMessage) -> None:
        if message.event == "done":
            assert message.id == ""
            self.done = True
        elif not message.event:
            self.ids.append(int(message.id))
            self.pieces.append(message.data)


def random_events(rng: random.Random) -> list[StreamEvent]:
    """Return a reply with text of very different lengths, and other events between."""
    events: list[StreamEvent] = []
    for _ in range(60):
        size = rng.choice([1, 4, 4, 4, 300, 3000])
        events.append(StreamEvent("", "".join(rng.choices("abcdé\n😀", k=size))))
        if rng.random() < 0.1:
            events.append(StreamEvent(rng.choice(["reasoning", "tool_result"]), "{}"))
    return [*events, StreamEvent("", "x" * 20_000), StreamEvent("usage", "{}")]


@pytest.mark.parametrize("producer", ["python", "javascript"])
@pytest.mark.parametrize("flush_interval_ms", [0, 5, 40])
async def test_a_reader_who_goes_back_and_forth_has_the_exact_text(
    flush_interval_ms: float, producer: str, tmp_path: Path
) -> None:
    rng = random.Random(f"{producer} {flush_interval_ms}")
    events = random_events(rng)

    async def source() -> AsyncIterator[StreamEvent]:
        for event in events:
            await asyncio.sleep(rng.choice([0, 0, 0.002, 0.01]))
            yield event

    path = tmp_path / "streams.db"
    async with wrap_sqlite3(path) as one, wrap_sqlite3(path) as two, wrap_sqlite3(path) as three:
        await migrate(one)
        here, elsewhere = SqliteStreamStore(one), SqliteStreamStore(two, poll_interval_ms=5)
        javascript = JavaScriptStreamStore(three, tables=TABLES, poll_interval_ms=5)
        if producer == "python":
            stream = await DurableStream.create(
                here, source(), stream_id="s", flush_interval_ms=flush_interval_ms, whole_chunks=True
            )
            producing: Any = asyncio.ensure_future(stream.wait_closed())
        else:
            await javascript.create("s")
            producing = asyncio.ensure_future(_produce(javascript, source()))

        async def connect(reader: JavaScriptReader, server: str) -> AsyncGenerator[bytes]:
            if server == "javascript":
                return javascript_follow(javascript, "s", reader.last_id)
            store = here if server == "here" else elsewhere
            return (await DurableStream.resume(store, "s", reader.last_id, whole_chunks=True)).body

        async def follow(seed: int) -> JavaScriptReader:
            choose, reader = random.Random(seed), JavaScriptReader()
            async with asyncio.timeout(60):
                while not reader.done:
                    server = choose.choice(["here", "elsewhere", "javascript"])
                    await reader.read(await connect(reader, server), choose.choice([40, 400, 4_000, 25_000, 100_000]))
                    await asyncio.sleep(0)
            return reader

        readers = await asyncio.gather(*map(follow, range(8)))
        await producing
        status = await here.get_status("s")
    assert status is not None
    assert status.state == "done"
    text = "".join(event.data for event in events if not event.event)
    for reader in readers:
        assert "".join(reader.pieces) == text
        assert max(reader.ids) <= status.total_chunks
        assert reader.ids == sorted(set(reader.ids)), "each chunk once"


async def _produce(store: JavaScriptStreamStore, source: AsyncIterator[StreamEvent]) -> None:
    async for event in source:
        await store.append("s", encode_chunk(event))
    await store.complete("s")


async def test_without_it_a_javascript_server_does_not_know_the_id_of_a_part(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        javascript = JavaScriptStreamStore(client, tables=TABLES, poll_interval_ms=5)
        for whole_chunks, expected in ((False, "x" * 512), (True, "x" * 2000)):
            stream = await DurableStream.create(
                SqliteStreamStore(client), _texts("x" * 2000), stream_id=f"{whole_chunks}", whole_chunks=whole_chunks
            )
            await stream.wait_closed()
            reader = JavaScriptReader()
            async for data in stream.response().body:
                first = SseParser().feed(data)
                if text_of(first):
                    message = next(message for message in first if not message.event)
                    reader.pieces, reader.ids = [message.data], [int(message.id)]
                    break
            await reader.read(javascript_follow(javascript, stream.id, reader.last_id), 10_000)
            assert "".join(reader.pieces) == expected


async def _texts(*texts: str) -> AsyncIterator[str]:
    for text in texts:
        yield text


async def test_a_reply_is_sent_in_chunks_of_four_thousand_characters_once_they_are_stored(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        store = SqliteStreamStore(client)
        handler = StreamHandler(
            model=ScriptedModel("é" * 10_000, "end"), resumable=True, store=store, whole_chunks=True
        )
        reply = await handler.stream({"prompt": "hi"})
        stream_id = reply.headers["X-Stream-Id"]
        parser, messages = SseParser(), list[SseMessage]()
        assert not isinstance(reply.body, bytes)
        async for data in reply.body:
            for message in parser.feed(data):
                messages.append(message)
                if not message.event:
                    status = await store.get_status(stream_id)
                    assert status is not None
                    assert status.total_chunks >= int(message.id)
        texts = [message for message in messages if not message.event]
        assert [len(message.data) for message in texts][:2] == [4096, 4096]
        assert [message.id for message in texts] == [str(seq) for seq in range(1, len(texts) + 1)]
        assert (messages[-1].event, messages[-1].id) == ("done", "")
        again = await handler.resume(stream_id, "1")
        assert not isinstance(again.body, bytes)
        assert text_of(SseParser().feed(b"".join([data async for data in again.body]))) == "é" * 5904 + "end"


async def test_a_pack_of_another_server_has_the_ids_of_chunks(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        store = SqliteStreamStore(client)
        await store.create("s")
        await store.append_many("s", ["\x01a", 'aibind-events\x01[["","b"],["usage","{}"],["","c"]]'])
        await store.complete("s")
        body = (await DurableStream.resume(store, "s", whole_chunks=True)).body
        messages = SseParser().feed(b"".join([data async for data in body]))
        assert [(message.id, message.data) for message in messages] == [
            ("1", "a"),
            ("1", "b"),
            ("1", "{}"),
            ("2", "c"),
            ("", ""),
        ]


async def test_packs_and_whole_chunks_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        StreamHandler(model=ScriptedModel(), resumable=True, pack_events=True, whole_chunks=True)
