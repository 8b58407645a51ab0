"""Resumes a stream in a fresh process: ``python -m benchmarks.support.catch_up_child ours|javascript FILE ID``."""

from __future__ import annotations

import asyncio
import gc
import json
import sqlite3
import sys
import time
from contextlib import suppress

from aibind.errors import StreamNotFoundError
from benchmarks.follow import open_body
from benchmarks.support.measure import reset_peak, rss_mb, rss_peak_mb


async def main(kind: str, path: str, stream_id: str) -> None:
    """Measure, and print what was found."""
    from aibind.sqlite import wrap_sqlite3

    async with wrap_sqlite3(path) as client:
        with suppress(StreamNotFoundError):  # the database is open and everything imported, as it is in a server
            async for _ in await open_body(kind, client, "unknown"):
                pass
        gc.collect()
        before = rss_mb()
        reset_peak()
        began = time.perf_counter()
        first = 0.0
        chunks = 0
        async for data in await open_body(kind, client, stream_id):
            first = first or time.perf_counter() - began
            chunks += data.count(b"\ndata: ")
        seconds = time.perf_counter() - began
        peak = rss_peak_mb() - before
    figures = {
        "first_byte_ms": round(first * 1000, 3),
        "seconds": round(seconds, 4),
        "peak_mb": round(peak, 2),
        "chunks": chunks - 1,  # the event at the end is none
        "read_seconds": round(_bare_read(path), 4),
    }
    print(json.dumps(figures))


def _bare_read(path: str) -> float:
    connection = sqlite3.connect(path)
    began = time.perf_counter()
    for _ in connection.execute("SELECT seq, data FROM aibind_stream_chunks ORDER BY id, seq"):
        pass
    return time.perf_counter() - began


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
