"""Rows shared with the JavaScript packages, in tables made by their own SQL.

Their queries are those that the contract describes: an append reads, then writes a batch of two; a look at a stream is
two queries. They run on the binding itself, with numbers as JavaScript has them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from aibind.cloudflare import wrap_d1
from aibind.errors import StreamNotActiveError
from aibind.history import ChatHistory
from aibind.sqlite import SqliteConversationStore, SqliteStreamStore
from aibind.streams import DurableStream, StreamEvent, decode_chunk
from aibind.testing.checks import gather_items, raises
from testbed.javascript import JAVASCRIPT_TABLES
from tests.support.differences import with_ids_on_named_events

from .bench import Bench, checks_of_each_kind
from .fixtures import _recorded

check = checks_of_each_kind

CHUNKS, STATUS, CONVERSATIONS = JAVASCRIPT_TABLES


class JavaScript:
    """Does what a JavaScript service does to the shared rows."""

    def __init__(self, bench: Bench) -> None:
        self._db = bench.raw.NATIVE_DB

    async def rows(self, sql: str, *args: Any) -> list[Any]:
        return list((await self._db.prepare(sql).bind(*args).all()).to_py()["results"])

    async def run(self, *statements: tuple[Any, ...]) -> None:
        from pyodide.ffi import to_js

        await self._db.batch(to_js([self._db.prepare(sql).bind(*args) for sql, *args in statements]))

    async def create(self, stream_id: str, ttl_ms: int = 300_000) -> None:
        assert not await self.rows(f"SELECT id FROM {STATUS} WHERE id = ?", stream_id)
        sql = f"INSERT INTO {STATUS} (id, state, total_chunks, expires_at) VALUES (?, 'active', 0, ?)"
        await self.run((sql, stream_id, time.time() * 1000 // 1 + ttl_ms))

    async def append(self, stream_id: str, chunk: str) -> int:
        total = (await self.rows(f"SELECT total_chunks FROM {STATUS} WHERE id = ?", stream_id))[0]["total_chunks"]
        await self.run(
            (f"INSERT INTO {CHUNKS} (id, seq, data) VALUES (?, ?, ?)", stream_id, total + 1, chunk),
            (f"UPDATE {STATUS} SET total_chunks = ? WHERE id = ?", total + 1, stream_id),
        )
        return int(total + 1)

    async def end(self, stream_id: str, state: str) -> None:
        await self.run((f"UPDATE {STATUS} SET state = ? WHERE id = ?", state, stream_id))

    async def look(self, stream_id: str, after: int = 0) -> tuple[list[Any], Any]:
        sql = f"SELECT seq, data FROM {CHUNKS} WHERE id = ? AND seq > ? ORDER BY seq"
        chunks = await self.rows(sql, stream_id, after)
        status = await self.rows(f"SELECT state, error, total_chunks FROM {STATUS} WHERE id = ?", stream_id)
        return chunks, status[0]


def _store(bench: Bench, **options: Any) -> SqliteStreamStore:
    return SqliteStreamStore(wrap_d1(bench.db), chunks_table=CHUNKS, status_table=STATUS, **options)


async def _words(count: int) -> AsyncIterator[StreamEvent | str]:
    for number in range(count):
        yield f"word {number}\n"
        if number % 5 == 4:
            yield StreamEvent("progress", f'{{"number":{number}}}')
        await asyncio.sleep(0.02)


@check
async def what_javascript_writes_is_followed(bench: Bench) -> None:
    javascript, chunks = (
        JavaScript(bench),
        ["\x01plain", "usage\x01{}", "no separator at all", "\x01two\nlines 👋", "\x01"],
    )
    await javascript.create("s")
    assert await javascript.append("s", chunks[0]) == 1
    follower = asyncio.ensure_future(gather_items(_store(bench).read_from("s")))
    for chunk in chunks[1:]:
        await asyncio.sleep(0.05)
        await javascript.append("s", chunk)
    await javascript.end("s", "done")
    assert [(chunk.seq, chunk.data) for chunk in await follower] == list(enumerate(chunks, 1))
    events = [chunk.event for chunk in await gather_items(_store(bench).read_from("s"))]
    assert events == [
        StreamEvent("", "plain"),
        StreamEvent("usage", "{}"),
        StreamEvent("", "no separator at all"),
        StreamEvent("", "two\nlines 👋"),
        StreamEvent("", ""),
    ]
    status = await _store(bench).get_status("s")
    assert status is not None
    assert (status.state, status.total_chunks) == ("done", 5)
    assert type(status.expires_at) is int


@check
async def what_we_write_is_what_javascript_reads(bench: Bench) -> None:
    stream = await DurableStream.create(_store(bench), _words(20), stream_id="s", pack_events=False)
    text = b"".join([data async for data in stream.response().body]).decode()
    await stream.wait_closed()
    chunks, status = await JavaScript(bench).look("s")
    assert [chunk["seq"] for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert (status["state"], status["total_chunks"]) == ("done", len(chunks))
    events = [decode_chunk(chunk["data"]) for chunk in chunks]
    assert "".join(event.data for event in events if not event.event) == "".join(f"word {n}\n" for n in range(20))
    assert [event.data for event in events if event.event == "progress"] == [
        f'{{"number":{n}}}' for n in (4, 9, 14, 19)
    ]
    assert all(chunk["data"].partition("\x01")[0] in {"", "progress"} for chunk in chunks)
    assert text.count("event: progress") == 4
    after = len(chunks) // 2
    assert (await JavaScript(bench).look("s", after))[0][0]["seq"] == after + 1


@check
async def javascript_goes_on_after_our_chunks(bench: Bench) -> None:
    """The count that a JavaScript producer goes by is kept up to date when a stream of ours ends."""
    store, javascript = _store(bench), JavaScript(bench)
    await javascript.create("s")
    assert [await javascript.append("s", "\x01a"), await javascript.append("s", "\x01b")] == [1, 2]
    assert await store.append("s", "\x01c") == 3
    await store.complete("s")
    chunks, status = await javascript.look("s")
    assert [chunk["data"] for chunk in chunks] == ["\x01a", "\x01b", "\x01c"]
    assert status["total_chunks"] == 3


@check
async def javascript_stops_our_stream(bench: Bench) -> None:
    stream = await DurableStream.create(_store(bench), _words(1000), stream_id="s")
    await asyncio.sleep(0.1)
    await JavaScript(bench).end("s", "stopped")
    async with asyncio.timeout(60):
        await stream.wait_closed()
    status = await _store(bench).get_status("s")
    assert status is not None
    assert status.state == "stopped"


@check
async def we_stop_a_stream_of_javascripts(bench: Bench) -> None:
    javascript, store = JavaScript(bench), _store(bench)
    await javascript.create("s")
    await javascript.append("s", "\x01a")
    await store.stop("s")
    assert (await javascript.look("s"))[1]["state"] == "stopped"
    with raises(StreamNotActiveError):
        await store.append("s", "\x01b")


@check
async def recorded_rows_resume_as_recorded(bench: Bench) -> None:
    javascript = JavaScript(bench)
    for case in _recorded("durable_stream.json"):
        stream_id, status = case["name"], case["status"]
        await javascript.run(
            (
                f"INSERT INTO {STATUS} (id, state, error, total_chunks, expires_at) VALUES (?, ?, nullif(?, ''), ?, ?)",
                stream_id,
                status["state"],
                status.get("error", ""),
                status["totalChunks"],
                time.time() * 1000 // 1 + 60_000,
            ),
            *(
                (f"INSERT INTO {CHUNKS} (id, seq, data) VALUES (?, ?, ?)", stream_id, row["seq"], row["data"])
                for row in case["rows"]
            ),
        )
        for after, text in case["resume"].items():
            resumed = await DurableStream.resume(_store(bench), stream_id, int(after))
            sent = b"".join([data async for data in resumed.body]).decode()
            assert sent == with_ids_on_named_events(text, int(after) + 1)


@check
async def expired_streams_of_javascript_are_removed(bench: Bench) -> None:
    javascript, store = JavaScript(bench), _store(bench, lease_ms=200)
    for stream_id, ttl_ms in (("old", -1000), ("new", 60_000)):
        await javascript.create(stream_id, ttl_ms)
        await javascript.append(stream_id, "\x01a")
        await javascript.end(stream_id, "done")
    await javascript.create("abandoned", -2 * 3_600_000)
    await javascript.append("abandoned", "\x01a")
    assert await store.cleanup() == 2
    left = await javascript.rows(f"SELECT DISTINCT id FROM {CHUNKS} UNION SELECT id FROM {STATUS}")
    assert left == [{"id": "new"}]


@check
async def conversations_are_shared(bench: Bench) -> None:
    javascript = JavaScript(bench)
    store = SqliteConversationStore(wrap_d1(bench.db), table=CONVERSATIONS)
    upsert = f"INSERT OR REPLACE INTO {CONVERSATIONS} (session_id, data, expires_at) VALUES (?, ?, ?)"
    for case in _recorded("chat_history.json"):
        await javascript.run((upsert, case["name"], case["json"], time.time() * 1000 // 1 + 60_000))
        chat = await store.load(case["name"])
        assert chat.messages == case["messages"]
        await store.save(case["name"], chat)
        sql = f"SELECT data, expires_at FROM {CONVERSATIONS} WHERE session_id = ? AND expires_at > ?"
        row = (await javascript.rows(sql, case["name"], time.time() * 1000))[0]
        assert row["data"] == case["json"]
        assert row["expires_at"] > (time.time() + 1700) * 1000
    mine = ChatHistory()
    mine.append({"role": "user", "content": "wörld 👋"})
    await store.save("mine", mine)
    row = (await javascript.rows(f"SELECT data FROM {CONVERSATIONS} WHERE session_id = ?", "mine"))[0]
    assert row["data"] == mine.to_json()
