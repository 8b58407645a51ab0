"""A proxy on loopback that cuts connections after a number of bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlsplit


class CuttingProxy:
    """Passes connections on to ``target``, each until as many bytes of its responses have passed as ``limits`` says.

    ``limits`` gives the number for each connection: None for one that is not cut, and 0 for one that is refused.
    ``reset`` closes a connection with RST in place of FIN. ``linger_s`` is how long its client has to take what has
    passed: Chromium drops what it has not handed to the page yet when a response breaks. ``passed`` holds what each
    connection brought its client.
    """

    def __init__(
        self, target: str, limits: Iterator[int | None], *, reset: bool = False, linger_s: float = 0.0
    ) -> None:
        self.retarget(target)
        self._limits = limits
        self._reset = reset
        self._linger_s = linger_s
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.cuts = 0
        self.url = ""
        self.passed: list[bytearray] = []

    def retarget(self, target: str) -> None:
        """Pass new connections on to another server."""
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        limit = next(self._limits)
        upstream: asyncio.StreamWriter | None = None
        try:
            if limit == 0:
                self.cuts += 1
                return
            answers, upstream = await asyncio.open_connection(*self._target)
            asking = asyncio.ensure_future(_copy(reader, upstream))
            try:
                await self._answer(answers, writer, limit)
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
        except OSError:
            pass
        finally:
            for one in (writer, upstream):
                if one is not None:
                    if self._reset:
                        one.transport.abort()
                    one.close()

    async def _answer(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
        passed = 0
        record = bytearray()
        self.passed.append(record)
        while data := await answers.read(65536):
            if limit is not None:
                data = data[: limit - passed]
            writer.write(data)
            record += data
            await writer.drain()
            passed += len(data)
            if passed == limit:
                await asyncio.sleep(self._linger_s)
                self.cuts += 1
                return

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # of a task that is cancelled before it starts, too

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on a free port, and give the address."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self.url
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


def every(limit: Callable[[], int | None]) -> Iterator[int | None]:
    """Yield what ``limit`` returns, for each connection."""
    while True:
        yield limit()
