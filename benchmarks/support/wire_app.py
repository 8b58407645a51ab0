"""Our streams behind the wire format of the Durable Streams server, so that both serve the same clients.

``python -m benchmarks.support.wire_app FILE|memory --synchronous FULL --flush-interval-ms 0`` serves on a free port,
on one uvicorn worker: ``PUT /ID`` begins a stream, ``POST /ID`` appends the body to it, ``GET /ID`` follows it as
server-sent events. A POST is answered when its chunk is stored.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream, HttpResponse, MemoryStreamStore, StreamStore

from .serving import run_server, serve_app

Item = tuple[str, asyncio.Future[None]]


class WireApp:
    """The ASGI app."""

    def __init__(self, store: StreamStore, flush_interval_ms: float) -> None:
        self._store = store
        self._flush_interval_ms = flush_interval_ms
        self._inlets: dict[str, asyncio.Queue[Item]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        stream_id = scope["path"].strip("/")
        if scope["method"] == "GET":
            await _send_events(await DurableStream.resume(self._store, stream_id), send)
            return
        body = (await receive())["body"]
        if scope["method"] == "PUT":
            inlet: asyncio.Queue[Item] = asyncio.Queue()
            self._inlets[stream_id] = inlet
            await DurableStream.create(
                self._store, _take(inlet), stream_id=stream_id, flush_interval_ms=self._flush_interval_ms
            )
        else:
            stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._inlets[stream_id].put_nowait((body.decode(), stored))
            await stored
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def _take(inlet: asyncio.Queue[Item]) -> AsyncIterator[str]:
    """Be the source of a stream: with a flush interval of 0, each item is stored when the next is asked for."""
    while True:
        text, stored = await inlet.get()
        yield text
        stored.set_result(None)


async def _send_events(response: HttpResponse[Any], send: Any) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for data in response.body:
        await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("--synchronous", default="NORMAL")
    parser.add_argument("--flush-interval-ms", type=float, default=0)
    options = parser.parse_args()
    if options.database == "memory":
        await serve_app(WireApp(MemoryStreamStore(), options.flush_interval_ms))
        return
    async with wrap_sqlite3(options.database, synchronous=options.synchronous) as client:
        await migrate(client)
        await serve_app(WireApp(SqliteStreamStore(client), options.flush_interval_ms))


if __name__ == "__main__":
    run_server(main())
