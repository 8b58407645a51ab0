"""Readers that resume a silent stream and leave, and what remains of them in the server."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aibind.server import StreamHandler, create_app
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream
from tests.support.http import serve
from tests.support.models import PATIENCE_S, ScriptedModel

AT_ONCE = 50


@dataclass(frozen=True)
class Remains:
    """What readers left in the process."""

    futures: int
    """Futures and tasks."""
    objects: int
    """All objects, after a garbage collection."""
    resident_mb: float


async def leave_silent_stream(readers: int, file: Path, *, elsewhere: bool, collecting: bool = False) -> Remains:
    """Let ``readers`` resume a stream that says nothing, and leave; return what they left.

    The stream's producer is in the process that serves them, or (``elsewhere``) only known from the file. Unless
    ``collecting``, no garbage is collected before the futures are counted.
    """
    gate = asyncio.Event()

    async def silent() -> AsyncIterator[str]:
        yield "a word"
        await gate.wait()

    async with wrap_sqlite3(file) as client, wrap_sqlite3(file) as other:
        await migrate(client)
        store = SqliteStreamStore(client)
        stream = await DurableStream.create(SqliteStreamStore(other) if elsewhere else store, silent())
        await stream.wait_stored()
        async with serve(create_app(StreamHandler(model=ScriptedModel("x"), resumable=True, store=store))) as url:
            await _resume_and_leave(url, stream.id, 2 * AT_ONCE)  # so that caches are filled
            gc.collect()
            if not collecting:
                gc.disable()
            try:
                futures, objects = _futures(), len(gc.get_objects())
                resident = _resident_mb()
                await _resume_and_leave(url, stream.id, readers)
                async with asyncio.timeout(PATIENCE_S):
                    while (left := _futures() - futures) > 0 and left < readers:
                        await asyncio.sleep(0.05)  # those of the last are about to go
                gc.collect()
                remains = Remains(left, len(gc.get_objects()) - objects, _resident_mb() - resident)
            finally:
                gc.enable()
        gate.set()
        await stream.wait_closed()
    return remains


async def _resume_and_leave(url: str, stream_id: str, readers: int) -> None:
    tasks = len(asyncio.all_tasks())
    for first in range(0, readers, AT_ONCE):
        await asyncio.gather(*(_visit(url, stream_id) for _ in range(min(AT_ONCE, readers - first))))
    async with asyncio.timeout(PATIENCE_S):
        while len(asyncio.all_tasks()) > tasks:  # until the server has noticed all of them
            await asyncio.sleep(0.01)


async def _visit(url: str, stream_id: str) -> None:
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    target = f"/__aibind__/stream/resume?id={stream_id}&after=0"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {at.netloc}\r\n\r\n".encode())
    await reader.readuntil(b"a word\n\n")
    writer.close()
    await writer.wait_closed()


def _futures() -> int:
    return sum(isinstance(one, asyncio.Future) for one in gc.get_objects())


def _resident_mb() -> float:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return float("nan")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
