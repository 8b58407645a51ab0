"""Streams that a JavaScript service writes: it sets ``expires_at`` when it creates one, and never moves it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from aibind.errors import StreamNotFoundError
from aibind.sqlite import SqliteClient, SqliteStreamStore, Statement, wrap_sqlite3
from aibind.streams import DurableStream
from testbed.counting import CountingClient
from testbed.javascript import JAVASCRIPT_SQL
from testbed.virtual_time import in_virtual_time
from tests.support.sources import read_all, text_of

TTL_S = 20


class JavaScriptProducer:
    """Writes the rows that the JavaScript store writes, one chunk every second."""

    def __init__(self, client: SqliteClient) -> None:
        self._client = client

    async def run(self, chunks: int) -> None:
        expires_at = int((time.time() + TTL_S) * 1000)
        await self._client.execute(
            "INSERT INTO aibind_stream_status (id, state, total_chunks, expires_at) VALUES ('js', 'active', 0, ?)",
            (expires_at,),
        )
        for seq in range(1, chunks + 1):
            await asyncio.sleep(1)
            await self._client.batch(
                [
                    Statement("INSERT INTO aibind_stream_chunks VALUES ('js', ?, ?)", (seq, f"\x01{seq} ")),
                    Statement("UPDATE aibind_stream_status SET total_chunks = ? WHERE id = 'js'", (seq,)),
                ]
            )
        await self._client.execute("UPDATE aibind_stream_status SET state = 'done' WHERE id = 'js'")


@pytest.mark.parametrize("remote", [True, False])
@in_virtual_time
async def test_a_reply_that_takes_longer_than_its_time_to_live_is_followed_to_its_end(
    remote: bool, tmp_path: Path
) -> None:
    path = tmp_path / "streams.db"
    async with wrap_sqlite3(path, threads=False) as one, wrap_sqlite3(path, threads=False) as two:
        for sql in JAVASCRIPT_SQL:
            await one.execute(sql)
        store = SqliteStreamStore(CountingClient(two) if remote else two)
        producer = asyncio.ensure_future(JavaScriptProducer(one).run(TTL_S + 20))
        await asyncio.sleep(0.5)
        early = asyncio.ensure_future(read_all((await DurableStream.resume(store, "js")).body))
        await asyncio.sleep(TTL_S + 5)
        late = asyncio.ensure_future(read_all((await DurableStream.resume(store, "js")).body))
        await producer
        for messages in (await early, await late):
            assert text_of(messages) == "".join(f"{seq} " for seq in range(1, TTL_S + 21))
            assert messages[-1].event == "done"
            assert "error" not in [message.event for message in messages]
        with pytest.raises(StreamNotFoundError):
            await DurableStream.resume(store, "js")
