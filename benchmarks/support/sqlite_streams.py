"""Tokens written as streams are, and what becomes of them when they come at a pace."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from .measure import delay_figures
from .result import Figures
from .sqlite_stores import STORES, Append

__all__ = ["write_at_pace", "write_streams"]

TEXT = " token"


async def write_streams(path: Path, options: argparse.Namespace) -> Figures:
    """Write all streams through StreamWriters as fast as they take tokens."""
    from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
    from aibind.streams import StreamEnd, StreamEvent, StreamWriter

    tokens = max(1, 50 * options.chunks // options.streams)

    async def write(store: SqliteStreamStore, stream_id: str) -> None:
        writer = StreamWriter(store, stream_id)
        await writer.open()
        for number in range(tokens):
            await writer.write(StreamEvent("", TEXT))
            if number % 10 == 9:
                await asyncio.sleep(0)  # as a model does: it lets the others go on
        await writer.end(StreamEnd("done"))

    async with wrap_sqlite3(path, synchronous=options.synchronous) as client:
        await migrate(client)
        store = SqliteStreamStore(client)
        began = time.perf_counter()
        await asyncio.gather(*(write(store, f"stream-{number}") for number in range(options.streams)))
        seconds = time.perf_counter() - began
        rows = (await client.execute("SELECT count(*) AS n FROM aibind_stream_chunks")).rows[0]["n"]
    return {"chunks_per_second": round(tokens * options.streams / seconds, 1), "rows_written": rows}


async def write_at_pace(kind: str, path: Path, options: argparse.Namespace) -> Figures:
    """Give each stream its tokens by the clock, and time each from its being due to its being stored."""
    pace = _Pace(options)
    if kind == "ours":
        await _write_ours(pace, path, options)
    else:
        await _write_each(pace, path, options)
    seconds = time.perf_counter() - pace.begins
    return {"chunks_per_second": round(len(pace.times) / seconds, 1), **delay_figures(pace.times)}


class _Pace:
    """The times at which tokens are due, and at which they were stored."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.begins = 0.0
        self.times: list[float] = []
        self._streams: int = options.streams
        self._rate: float = options.rate
        self._tokens = max(1, round(options.paced_seconds * options.rate))

    def begin(self) -> None:
        """Let the first tokens come in a moment."""
        self.begins = time.perf_counter() + 0.1

    async def due_times(self, number: int) -> AsyncIterator[float]:
        """Wait for each token of a stream; the streams are a little apart."""
        for token in range(self._tokens):
            due = self.begins + (token + number / self._streams) / self._rate
            wait_s = due - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            yield due

    def stored(self, due: float) -> None:
        """Note that a token is stored."""
        self.times.append((time.perf_counter() - due) * 1000)


async def _write_ours(pace: _Pace, path: Path, options: argparse.Namespace) -> None:
    from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
    from aibind.streams import StreamEnd, StreamEvent, StreamWriter

    async def write(store: SqliteStreamStore, number: int) -> None:
        writer = StreamWriter(store, f"stream-{number}")
        await writer.open()
        waiting: list[float] = []
        mark_saved = writer.buffer.mark_saved

        def saved(seq: int) -> None:
            mark_saved(seq)
            count = len(waiting) - writer.buffer.unsaved_chars // len(TEXT)
            for due in waiting[:count]:
                pace.stored(due)
            del waiting[:count]

        writer.buffer.mark_saved = saved  # type: ignore[method-assign]  # to see when a token is stored
        async for due in pace.due_times(number):
            waiting.append(due)
            await writer.write(StreamEvent("", TEXT))
        await writer.end(StreamEnd("done"))

    async with wrap_sqlite3(path, synchronous=options.synchronous) as client:
        await migrate(client)
        store = SqliteStreamStore(client)
        pace.begin()
        await asyncio.gather(*(write(store, number) for number in range(options.streams)))


async def _write_each(pace: _Pace, path: Path, options: argparse.Namespace) -> None:
    async def write(append: Append, number: int) -> None:
        async for due in pace.due_times(number):
            await append(f"stream-{number}")
            pace.stored(due)

    async with STORES["aiosqlite"](path, options) as (create, append):
        for number in range(options.streams):
            await create(f"stream-{number}")
        pace.begin()
        await asyncio.gather(*(write(append, number) for number in range(options.streams)))
