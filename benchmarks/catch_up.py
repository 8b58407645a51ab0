"""How much time and memory it takes to resume a long stream from its beginning.

A stream of ``--chunks`` chunks, one row each, has ended. A fresh process opens the SQLite file, resumes the stream with
:meth:`~aibind.streams.DurableStream.resume` and reads the body to its end, discarding it. ``first_byte_ms`` is the time
from the call to the first bytes, ``seconds`` to the last; ``peak_mb`` is how far the process's resident memory rose
after the call. ``read_seconds`` is a bare ``SELECT`` of the same rows through the sqlite3 module.

The yardstick ``javascript`` resumes with one unbounded ``SELECT``. The yardstick ``node_memory`` is the Durable Streams
server, in memory, over HTTP as server-sent events; ``ours.http`` is our stream over HTTP in the same way, from SQLite,
on one uvicorn worker. There, ``peak_mb`` is how far the server's memory rose, sampled every 10 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from .support.child import Child, python, run_child
from .support.measure import interleave, rss_mb
from .support.result import Benchmark, Figures, Result, Say

STREAM_ID = "benchmark"
TEXT = " a token "


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--http", action=argparse.BooleanOptionalAction, default=True)


def run(options: argparse.Namespace, say: Say) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "streams.db"
        say(f"storing {options.chunks} chunks")
        asyncio.run(_store(path, options.chunks))
        contenders = {
            name: partial(run_child, python("support.catch_up_child", name, path, STREAM_ID))
            for name in ("ours", "javascript")
        }
        if options.http:
            from .support.node import install_node_packages

            install_node_packages()
            contenders["http"] = partial(_over_http, options.chunks, path)
            contenders["node_memory"] = partial(_over_http, options.chunks, None)
        found = interleave(contenders, options.rounds, say)
    for name, figures in found.items():
        if figures["chunks"] != options.chunks:
            raise AssertionError(f"{name} got {figures['chunks']} chunks of {options.chunks}")
    ours = found.pop("ours")
    if options.http:
        ours["http"] = found.pop("http")
    return Result("catch_up", {"chunks": options.chunks, "rounds": options.rounds}, ours, found)


async def _store(path: Path, count: int) -> None:
    """Store the stream twice: in our tables, and in those of the JavaScript packages."""
    from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
    from testbed.javascript import JavaScriptStreamStore

    async with wrap_sqlite3(path) as client:
        await migrate(client)
        store = SqliteStreamStore(client)
        await store.create(STREAM_ID)
        for first in range(0, count, 1000):
            await store.append_many(STREAM_ID, [f"\x01{TEXT}{n}" for n in range(first, min(first + 1000, count))])
        await store.complete(STREAM_ID)
        theirs = JavaScriptStreamStore(client)
        await theirs.make_tables()
        await theirs.create(STREAM_ID)
        await client.execute("INSERT INTO javascript_chunks SELECT id, seq, data FROM aibind_stream_chunks")
        await theirs.complete(STREAM_ID)


def _over_http(count: int, path: Path | None) -> Figures:
    return asyncio.run(_read_over_http(count, path))


async def _read_over_http(count: int, path: Path | None) -> Figures:
    from .support.node import NodeServer

    server = NodeServer() if path is None else Child(python("support.wire_app", path))
    async with server:
        port = (await server.hear())["port"]
        if path is None:
            await server.tell({"prefill": f"/{STREAM_ID}", "chunks": count, "text": TEXT})
            await server.hear()
        await asyncio.sleep(0.3)
        before = peak = rss_mb(server.pid)
        began = time.perf_counter()
        first = seconds = 0.0
        chunks, looked, rest = 0, began, b""
        async for data in _get(port):
            now = time.perf_counter()
            first = first or now - began
            seconds = now - began
            data = rest + data
            chunks += data.count(TEXT.encode())
            rest = data[-len(TEXT) + 1 :]
            if now - looked > 0.01:
                peak, looked = max(peak, rss_mb(server.pid)), now
        peak = max(peak, rss_mb(server.pid))
    return {
        "first_byte_ms": round(first * 1000, 3),
        "seconds": round(seconds, 4),
        "peak_mb": round(peak - before, 2),
        "chunks": chunks,
    }


async def _get(port: int) -> AsyncIterator[bytes]:
    """Read an answer's body as it comes, with the marks of its transfer encoding."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    target = f"/{STREAM_ID}?offset=-1&live=sse"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    while data := await reader.read(1 << 18):
        yield data
    writer.close()


BENCHMARK = Benchmark(
    "catch_up",
    "time to the first byte and to all, and memory, of resuming a long stream",
    add_options,
    run,
    sweep=(("--chunks", "1000"), ("--chunks", "10000"), ("--chunks", "100000")),
    quick=("--chunks", "1200", "--rounds", "1"),
)
