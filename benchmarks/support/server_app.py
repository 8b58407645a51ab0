"""The server of the ``server`` benchmark: ``python -m benchmarks.support.server_app KIND FILE``.

``POST /__aibind__/stream`` with the prompt ``COUNT RATE OFFSET`` begins a stream of clocked tokens, which starts
``OFFSET`` seconds after ``POST /go``; ``GET /__aibind__/stream/resume?id=…`` follows one. ``ours`` is the handler and
app of :mod:`aibind.server` as they are, on SQLite (``memory``: in memory). ``queues`` is what one writes without a
library: a Starlette ``StreamingResponse`` and a queue for each follower, and nothing is stored. ``javascript``
stores and polls as the JavaScript stores do. ``format:NAME`` is one of :mod:`benchmarks.support.format_apps`.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from .serving import run_server, serve_app
from .starter import Starter


async def make_ours(starter: Starter, path: str | None, stack: AsyncExitStack) -> Any:
    """Make our app as it is."""
    from aibind.models import ModelEvent, ModelRequest, TextDelta
    from aibind.server import StreamHandler, create_app
    from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3

    class ClockedModel:
        async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
            async for token in starter.tokens(request.messages[-1]["content"]):
                yield TextDelta(token)

    store = None
    if path is not None:
        client = await stack.enter_async_context(wrap_sqlite3(path))
        await migrate(client)
        store = SqliteStreamStore(client)
    return create_app(StreamHandler(model=ClockedModel(), resumable=True, store=store))


class Queues:
    """Hands tokens on through a queue for each follower."""

    def __init__(self, starter: Starter) -> None:
        self._starter = starter
        self._followers: dict[str, list[asyncio.Queue[str | None]]] = {}
        self._producers: set[asyncio.Task[None]] = set()

    def start(self, stream_id: str, prompt: str) -> AsyncIterator[bytes]:
        """Begin a stream."""
        self._followers[stream_id] = []
        body = self.follow(stream_id)
        producer = asyncio.create_task(self._produce(stream_id, prompt))
        self._producers.add(producer)
        producer.add_done_callback(self._producers.discard)
        return body

    def follow(self, stream_id: str) -> AsyncIterator[bytes]:
        """Follow one."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._followers[stream_id].append(queue)
        return self._body(queue)

    async def _produce(self, stream_id: str, prompt: str) -> None:
        followers = self._followers[stream_id]
        async for token in self._starter.tokens(prompt):
            for queue in followers:
                queue.put_nowait(token)
        for queue in followers:
            queue.put_nowait(None)

    async def _body(self, queue: asyncio.Queue[str | None]) -> AsyncIterator[bytes]:
        while (token := await queue.get()) is not None:
            yield f"data: {token}\n\n".encode()
        yield b"event: done\ndata: \n\n"


class JavaScript:
    """Stores, and polls for its followers."""

    def __init__(self, starter: Starter, store: Any) -> None:
        self._starter = starter
        self._store = store

    def start(self, stream_id: str, prompt: str) -> AsyncIterator[bytes]:
        """Begin a stream."""
        from testbed.javascript import javascript_pipe

        return javascript_pipe(self._store, stream_id, self._starter.tokens(prompt))

    def follow(self, stream_id: str) -> AsyncIterator[bytes]:
        """Follow one."""
        from testbed.javascript import javascript_follow

        return javascript_follow(self._store, stream_id)


def starlette_app(
    start: Callable[[str, str], AsyncIterator[bytes]], follow: Callable[[str], AsyncIterator[bytes]]
) -> Any:
    """Serve a yardstick with Starlette."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def begin(request: Request) -> StreamingResponse:
        stream_id = str(uuid.uuid4())
        body = start(stream_id, (await request.json())["prompt"])
        return StreamingResponse(body, media_type="text/event-stream", headers={"X-Stream-Id": stream_id})

    async def resume(request: Request) -> StreamingResponse:
        return StreamingResponse(follow(request.query_params["id"]), media_type="text/event-stream")

    routes = [
        Route("/__aibind__/stream", begin, methods=["POST"]),
        Route("/__aibind__/stream/resume", resume),
    ]
    return Starlette(routes=routes)


async def main(kind: str, path: str) -> None:
    """Serve until standard input ends."""
    starter = Starter()
    async with AsyncExitStack() as stack:
        if kind in {"ours", "memory"}:
            app = await make_ours(starter, path if kind == "ours" else None, stack)
        elif kind.startswith("format:"):
            from .format_apps import make_format_app

            app = await make_format_app(kind.partition(":")[2], starter, Path(path), stack)
        elif kind == "queues":
            queues = Queues(starter)
            app = starlette_app(queues.start, queues.follow)
        else:
            from aibind.sqlite import wrap_sqlite3
            from testbed.javascript import JavaScriptStreamStore

            store = JavaScriptStreamStore(await stack.enter_async_context(wrap_sqlite3(path)))
            await store.make_tables()
            polled = JavaScript(starter, store)
            app = starlette_app(polled.start, polled.follow)
        await serve_app(starter.wrap(app))


if __name__ == "__main__":
    run_server(main(sys.argv[1], sys.argv[2]))
