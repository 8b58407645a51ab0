"""A proxy whose connections break after so many bytes of an answer's body."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit


@contextlib.asynccontextmanager
async def cutting_proxy(url: str, limit: int) -> AsyncIterator[str]:
    """Forward connections to ``url``, and close each after ``limit`` bytes of the body, as it is sent."""
    server_at = urlsplit(url)
    tasks: set[asyncio.Task[None]] = set()  # the loop holds them weakly

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(server_at.hostname, server_at.port)
        asking = asyncio.ensure_future(_copy(reader, to_server))
        try:
            writer.write(await from_server.readuntil(b"\r\n\r\n"))
            left = limit
            while left and (data := await from_server.read(left)):
                left -= len(data)
                writer.write(data)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # either side has gone
        finally:
            asking.cancel()
            to_server.close()
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(forward(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
