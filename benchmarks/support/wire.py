"""Clients of the Durable Streams wire format: producers that append over HTTP, followers of server-sent events.

One connection each, kept open. A producer appends a token when the one before was answered, as it has to, to keep them
in order; each token carries the time at which it was posted. The driver is one process beside the server's; how much of
a core it used is measured, so that one can see that it was not what held things up.
"""

from __future__ import annotations

import asyncio
import time

from .clocked import ClockedText, now_us, stamp
from .measure import cpu_seconds, delay_figures
from .result import Figures

__all__ = ["drive"]


async def drive(port: int, streams: int, chunks: int) -> Figures:
    """Append ``chunks`` tokens to each of ``streams`` streams, each with a follower, as fast as they are answered."""
    producers = [await _open(port) for _ in range(streams)]
    texts = [ClockedText() for _ in range(streams)]
    for number, (reader, writer) in enumerate(producers):
        await _ask(reader, writer, "PUT", f"/s{number}", b"")
    following = [asyncio.ensure_future(_follow(port, f"/s{n}", text, chunks)) for n, text in enumerate(texts)]
    await asyncio.sleep(0.3)
    cpu, began = cpu_seconds(), time.perf_counter()
    producing = [_produce(reader, writer, f"/s{number}", chunks) for number, (reader, writer) in enumerate(producers)]
    await asyncio.gather(*producing)
    async with asyncio.timeout(60):
        await asyncio.gather(*following)
    seconds = time.perf_counter() - began
    cpu = cpu_seconds() - cpu
    for _, writer in producers:
        writer.close()
    delays = [delay for text in texts for delay in text.delays_ms]
    return {
        "chunks_per_second": round(len(delays) / seconds, 1),
        **delay_figures(delays),
        "driver_cpu_percent": round(100 * cpu / seconds, 1),
    }


async def _open(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, body: bytes) -> None:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    status = int(answer[9:12])
    if status >= 300:
        raise AssertionError(f"{method} {path} was answered with {status}")
    if b"chunked" in answer.lower():
        await reader.readuntil(b"0\r\n\r\n")


async def _produce(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, chunks: int) -> None:
    for _ in range(chunks):
        await _ask(reader, writer, "POST", path, stamp(now_us()).encode())


async def _follow(port: int, path: str, text: ClockedText, chunks: int) -> None:
    reader, writer = await _open(port)
    writer.write(f"GET {path}?offset=-1&live=sse HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    while len(text.delays_ms) < chunks:
        data = await reader.read(65536)
        if not data:
            raise AssertionError(f"The stream {path} ended after {len(text.delays_ms)} of {chunks} chunks")
        text.take(data, now_us())
    writer.close()
