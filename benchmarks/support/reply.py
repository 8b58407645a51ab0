"""One reply of a model, written and followed: what both the benchmarks in workerd and the test of counts run.

Imports nothing but aibind and the standard library, so that it runs inside a Worker as well.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aibind.errors import StreamNotFoundError
from aibind.sqlite.client import SqliteClient, Statement
from aibind.sqlite.stream_store import SqliteStreamStore
from aibind.streams import DurableStream
from testbed.javascript import JavaScriptStreamStore, javascript_follow, javascript_pipe

from .clocked import ClockedText, stamp

__all__ = ["PacedModel", "follow_reply", "run_reply", "sweep_reply"]


@dataclass
class PacedModel:
    """A model of ``tokens`` tokens, ``rate`` a second by the clock, each with the time of day at which it was made.

    A reader that is late gets those that are due at once, as from a socket's buffer. ``ended_at`` is when the model
    would have ended without any reader; ``held_s`` how long its reader took from one token to asking for the
    next, in all.
    """

    tokens: int
    rate: float
    ended_at: float = 0.0
    held_s: float = field(default=0.0)

    async def stream(self) -> AsyncIterator[str]:
        """Give the tokens."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.ended_at = began + (self.tokens - 1) / self.rate
        for number in range(self.tokens):
            wait_s = began + number / self.rate - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            given = loop.time()
            yield stamp(round(time.time() * 1_000_000))
            self.held_s += loop.time() - given


async def run_reply(
    kind: str,
    client: SqliteClient,
    *,
    tokens: int,
    rate: float,
    followers: int,
    stream_id: str,
    reader_client: SqliteClient | None = None,
) -> dict[str, Any]:
    """Pipe a reply into a new stream with followers, and tell how long after its model it ended.

    The first follower of ``ours`` is the response to the request for the reply; the others resume the stream, as
    other requests do, over ``reader_client`` with a store of their own where it is given. All followers of
    ``javascript`` poll; its producer has nobody to wait for.

    ``behind_ms`` is from the model's last token to the end of the stream at the first follower (without any: in the
    store), ``added_ms`` how much longer a token took on average because the one before was still being dealt with.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    model = PacedModel(tokens, rate)
    if kind == "javascript":
        pipe = javascript_pipe(JavaScriptStreamStore(client), stream_id, model.stream())
        await anext(pipe)
        producing: asyncio.Future[Any] = asyncio.ensure_future(_count_tokens(pipe))
        bodies = [
            javascript_follow(JavaScriptStreamStore(reader_client or client), stream_id) for _ in range(followers)
        ]
    else:
        store = SqliteStreamStore(client)
        stream = await DurableStream.create(store, model.stream(), stream_id=stream_id)
        producing = asyncio.ensure_future(stream.wait_closed())
        reader_store = SqliteStreamStore(reader_client) if reader_client else store
        bodies = [stream.response().body] if followers else []
        bodies += [(await DurableStream.resume(reader_store, stream_id)).body for _ in range(followers - 1)]
    following = [asyncio.ensure_future(_count_tokens(body)) for body in bodies]
    await (following[0] if following else producing)
    ended = loop.time()
    counts = await asyncio.gather(*following)
    await producing
    if counts != [tokens] * followers:
        raise AssertionError(f"{kind}: of {tokens} tokens, {counts} arrived")
    return {
        "seconds": ended - began,
        "behind_ms": (ended - model.ended_at) * 1000,
        "added_ms": model.held_s / tokens * 1000,
    }


async def follow_reply(kind: str, client: SqliteClient, stream_id: str, patience_s: float = 10) -> list[float]:
    """Follow a stream from elsewhere, as soon as it exists; return each token's delay in milliseconds."""
    deadline = time.time() + patience_s
    while True:
        try:
            if kind == "javascript":
                if not (await client.execute("SELECT 1 FROM javascript_status WHERE id = ?", (stream_id,))).rows:
                    raise StreamNotFoundError(stream_id)
                body = javascript_follow(JavaScriptStreamStore(client), stream_id)
            else:
                body = (await DurableStream.resume(SqliteStreamStore(client), stream_id)).body
            break
        except StreamNotFoundError:
            if time.time() > deadline:
                raise
            await asyncio.sleep(0.05)
    text = ClockedText()
    async for data in body:
        text.take(data, round(time.time() * 1_000_000))
    return text.delays_ms


async def sweep_reply(client: SqliteClient, uncounted: SqliteClient, *, kind: str, stream_id: str) -> None:
    """Let a stream expire, and remove it and every other that has."""
    if kind == "javascript":
        await client.batch(
            [
                Statement("DELETE FROM javascript_chunks WHERE id = ?", (stream_id,)),
                Statement("DELETE FROM javascript_status WHERE id = ?", (stream_id,)),
            ]
        )
        return
    await uncounted.execute("DELETE FROM aibind_stream_chunks WHERE id <> ?", (stream_id,))  # those of other replies
    await uncounted.execute("DELETE FROM aibind_stream_status WHERE id <> ?", (stream_id,))
    await uncounted.execute("UPDATE aibind_stream_status SET expires_at = 1 WHERE id = ?", (stream_id,))
    if await SqliteStreamStore(client).cleanup() != 1:
        raise AssertionError(f"{stream_id} was not removed")


async def _count_tokens(body: AsyncIterator[bytes]) -> int:
    count = 0
    async for data in body:
        count += data.count(b"@")
    return count
