"""The tables and the algorithm of the JavaScript packages' stores, after what this project's contract says of them.

The algorithm is written in Python, over the same :class:`~aibind.sqlite.SqliteClient` that our store runs on, so that
a comparison shows the difference between the algorithms alone:

* ``create`` looks whether the id is taken, then inserts;
* ``append`` reads the status row, then inserts the chunk and updates the count in one batch: two calls, three
  statements;
* a follower polls: two queries every 50 ms, one for the state, one for all chunks past what it has;
* the pipe stores each token before it hands it on, and takes the next one only then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator

from aibind.sqlite.client import SqliteClient, Statement
from aibind.streams.events import StreamEvent, decode_chunk, encode_chunk
from aibind.streams.sse import encode_message

__all__ = [
    "JAVASCRIPT_SQL",
    "JAVASCRIPT_TABLES",
    "JavaScriptStreamStore",
    "javascript_follow",
    "javascript_pipe",
    "javascript_sql",
]


def javascript_sql(chunks_table: str, status_table: str, conversations_table: str) -> tuple[str, ...]:
    """Return the statements that make the tables, as the JavaScript packages' documentation gives them."""
    return (
        f"""CREATE TABLE {chunks_table} (id TEXT NOT NULL, seq INTEGER NOT NULL, data TEXT NOT NULL,
        PRIMARY KEY (id, seq))""",
        f"""CREATE TABLE {status_table} (id TEXT PRIMARY KEY, state TEXT NOT NULL DEFAULT 'active', error TEXT,
        total_chunks INTEGER NOT NULL DEFAULT 0, expires_at INTEGER NOT NULL)""",
        f"""CREATE TABLE {conversations_table} (session_id TEXT PRIMARY KEY, data TEXT NOT NULL,
        expires_at INTEGER NOT NULL)""",
    )


JAVASCRIPT_SQL = javascript_sql("aibind_stream_chunks", "aibind_stream_status", "aibind_conversations")
"""The statements that make the tables under the names which the JavaScript packages give them."""

JAVASCRIPT_TABLES = ("javascript_chunks", "javascript_status", "javascript_conversations")
"""The tables under names that leave room for ours in the same database."""


class JavaScriptStreamStore:
    """A stream store that does what the JavaScript one does, on ``tables``: of chunks, states and conversations."""

    def __init__(
        self,
        client: SqliteClient,
        *,
        tables: tuple[str, str, str] = JAVASCRIPT_TABLES,
        poll_interval_ms: float = 50,
        ttl_ms: int = 300_000,
    ) -> None:
        self._client = client
        self._tables = tables
        self._chunks, self._status, _ = tables
        self._poll_interval_s = poll_interval_ms / 1000
        self._ttl_ms = ttl_ms

    async def make_tables(self) -> None:
        """Make the tables."""
        await self._client.batch([Statement(sql) for sql in javascript_sql(*self._tables)])

    async def create(self, stream_id: str) -> None:
        """Begin a stream: look, then insert."""
        if (await self._client.execute(f"SELECT id FROM {self._status} WHERE id = ?", (stream_id,))).rows:
            raise ValueError(f"Stream {stream_id} exists")
        expires_at = int(time.time() * 1000) + self._ttl_ms
        await self._client.execute(
            f"INSERT INTO {self._status} (id, state, total_chunks, expires_at) VALUES (?, 'active', 0, ?)",
            (stream_id, expires_at),
        )

    async def append(self, stream_id: str, chunk: str) -> int:
        """Store a chunk: read, then write two rows."""
        rows = (
            await self._client.execute(f"SELECT state, total_chunks FROM {self._status} WHERE id = ?", (stream_id,))
        ).rows
        if not rows or rows[0]["state"] != "active":
            raise ValueError(f"Stream {stream_id} is not active")
        total = rows[0]["total_chunks"]
        assert isinstance(total, int)
        insert = f"INSERT INTO {self._chunks} (id, seq, data) VALUES (?, ?, ?)"
        await self._client.batch(
            [
                Statement(insert, (stream_id, total + 1, chunk)),
                Statement(f"UPDATE {self._status} SET total_chunks = ? WHERE id = ?", (total + 1, stream_id)),
            ]
        )
        return total + 1

    async def complete(self, stream_id: str) -> None:
        """End a stream."""
        await self._client.execute(
            f"UPDATE {self._status} SET state = 'done' WHERE id = ? AND state = 'active'", (stream_id,)
        )

    async def read_from(self, stream_id: str, after_seq: int = 0) -> AsyncIterator[tuple[int, str]]:
        """Yield what is stored, then what comes: two queries a poll."""
        look = f"SELECT state, error FROM {self._status} WHERE id = ?"
        read = f"SELECT seq, data FROM {self._chunks} WHERE id = ? AND seq > ? ORDER BY seq"
        while True:
            status = (await self._client.execute(look, (stream_id,))).rows
            rows = (await self._client.execute(read, (stream_id, after_seq))).rows
            for row in rows:
                after_seq = int(row["seq"])  # type: ignore[arg-type]  # the column is an integer
                yield after_seq, str(row["data"])
            if not status or status[0]["state"] != "active":
                return
            await asyncio.sleep(self._poll_interval_s)


async def javascript_pipe(
    store: JavaScriptStreamStore, stream_id: str, source: AsyncIterator[str]
) -> AsyncGenerator[bytes]:
    """Pipe a model into a new stream and to its first reader: each token is stored before it is sent."""
    await store.create(stream_id)
    yield encode_message(stream_id, id=stream_id, event="stream-id")
    async for text in source:
        seq = await store.append(stream_id, encode_chunk(StreamEvent("", text)))
        yield encode_message(text, id=seq)
    await store.complete(stream_id)
    yield encode_message("", event="done")


async def javascript_follow(store: JavaScriptStreamStore, stream_id: str, after_seq: int = 0) -> AsyncGenerator[bytes]:
    """Follow a stream as every other reader does."""
    async for seq, chunk in store.read_from(stream_id, after_seq):
        event = decode_chunk(chunk)
        yield encode_message(event.data, id=None if event.event else seq, event=event.event)
    yield encode_message("", event="done")
