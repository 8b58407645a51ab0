"""The yardstick: the algorithm of the JavaScript stores, after what this project's contract says of it.

Written here in Python, over the same :class:`~aibind.sqlite.SqliteClient` that our store runs on, so that only the
algorithm differs:

* ``create`` looks whether the id is taken, then inserts;
* ``append`` reads the status row, then inserts the chunk and updates the count in one batch: two calls, three
  statements;
* a follower polls: two queries every 50 ms, one for the state, one for all chunks past what it has;
* the pipe stores each token before it hands it on, and takes the next one only then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from aibind.sqlite.client import SqliteClient, Statement
from aibind.streams.events import StreamEvent, decode_chunk, encode_chunk
from aibind.streams.sse import encode_message

__all__ = ["SCHEMA", "SeedStore", "seed_follow", "seed_pipe"]

SCHEMA = (
    "CREATE TABLE seed_chunks (id TEXT NOT NULL, seq INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (id, seq))",
    """CREATE TABLE seed_status (id TEXT PRIMARY KEY, state TEXT NOT NULL DEFAULT 'active', error TEXT,
    total_chunks INTEGER NOT NULL DEFAULT 0, expires_at INTEGER NOT NULL)""",
)
"""Its tables, as its documentation gives them, under names of their own."""


class SeedStore:
    """Keeps streams as the JavaScript store does."""

    def __init__(self, client: SqliteClient, *, poll_interval_ms: float = 50, ttl_ms: int = 300_000) -> None:
        self._client = client
        self._poll_interval_s = poll_interval_ms / 1000
        self._ttl_ms = ttl_ms

    async def make_tables(self) -> None:
        """Make the tables."""
        await self._client.batch([Statement(sql) for sql in SCHEMA])

    async def create(self, stream_id: str) -> None:
        """Begin a stream: look, then insert."""
        if (await self._client.execute("SELECT id FROM seed_status WHERE id = ?", (stream_id,))).rows:
            raise ValueError(f"Stream {stream_id} exists")
        expires_at = int(time.time() * 1000) + self._ttl_ms
        await self._client.execute(
            "INSERT INTO seed_status (id, state, total_chunks, expires_at) VALUES (?, 'active', 0, ?)",
            (stream_id, expires_at),
        )

    async def append(self, stream_id: str, chunk: str) -> int:
        """Store a chunk: read, then write two rows."""
        rows = (
            await self._client.execute("SELECT state, total_chunks FROM seed_status WHERE id = ?", (stream_id,))
        ).rows
        if not rows or rows[0]["state"] != "active":
            raise ValueError(f"Stream {stream_id} is not active")
        total = rows[0]["total_chunks"]
        assert isinstance(total, int)
        await self._client.batch(
            [
                Statement("INSERT INTO seed_chunks (id, seq, data) VALUES (?, ?, ?)", (stream_id, total + 1, chunk)),
                Statement("UPDATE seed_status SET total_chunks = ? WHERE id = ?", (total + 1, stream_id)),
            ]
        )
        return total + 1

    async def complete(self, stream_id: str) -> None:
        """End a stream."""
        await self._client.execute(
            "UPDATE seed_status SET state = 'done' WHERE id = ? AND state = 'active'", (stream_id,)
        )

    async def read_from(self, stream_id: str, after_seq: int = 0) -> AsyncIterator[tuple[int, str]]:
        """Yield what is stored, then what comes: two queries a poll."""
        while True:
            status = (
                await self._client.execute("SELECT state, error FROM seed_status WHERE id = ?", (stream_id,))
            ).rows
            rows = (
                await self._client.execute(
                    "SELECT seq, data FROM seed_chunks WHERE id = ? AND seq > ? ORDER BY seq", (stream_id, after_seq)
                )
            ).rows
            for row in rows:
                after_seq = int(row["seq"])  # type: ignore[arg-type]  # the column is an integer
                yield after_seq, str(row["data"])
            if not status or status[0]["state"] != "active":
                return
            await asyncio.sleep(self._poll_interval_s)


async def seed_pipe(store: SeedStore, stream_id: str, source: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """Pipe a model into a new stream and to its first reader: each token is stored before it is sent."""
    await store.create(stream_id)
    yield encode_message(stream_id, id=stream_id, event="stream-id")
    async for text in source:
        seq = await store.append(stream_id, encode_chunk(StreamEvent("", text)))
        yield encode_message(text, id=seq)
    await store.complete(stream_id)
    yield encode_message("", event="done")


async def seed_follow(store: SeedStore, stream_id: str, after_seq: int = 0) -> AsyncIterator[bytes]:
    """Follow a stream as every other reader does."""
    async for seq, chunk in store.read_from(stream_id, after_seq):
        event = decode_chunk(chunk)
        yield encode_message(event.data, id=seq, event=event.event)
    yield encode_message("", event="done")
