"""Two servers on one file of which one's clock is wrong, or is set while replies are under way."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import httpx2

from aibind.streams import SseParser
from tests.processes.support import run_server
from tests.support.faked_time import FakedTime
from tests.support.sources import text_of

__all__ = ["Clocks", "set_clock", "two_servers"]

LEASE_MS = 2500
TTL_MS = 300_000
PAUSE_S = 1.2
"""Seconds between two words: six times what a follower gave a producer whose lease had run out."""


@dataclass(slots=True)
class Clocks:
    """Two servers, of which the first takes its time from ``clock``."""

    clock: FakedTime
    processes: tuple[Popen[str], Popen[str]]
    urls: tuple[str, str]
    database: Path
    client: httpx2.AsyncClient
    reading: list[asyncio.Task[str]] = field(default_factory=list[asyncio.Task[str]])

    async def ask(self, server: int, words: int) -> str:
        """Begin a reply at a server, read it there, and return its stream's id."""
        begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def read() -> str:
            body = {"prompt": str(words)}
            async with self.client.stream("POST", f"{self.urls[server]}/stream", json=body) as response:
                begun.set_result(response.headers["x-stream-id"])
                return _outcome(await response.aread())

        self.reading.append(asyncio.create_task(read()))
        return await begun

    def follow(self, server: int, stream_id: str) -> None:
        """Read a reply from its beginning at a server."""
        self.reading.append(asyncio.create_task(self.resume(server, stream_id)))

    async def resume(self, server: int, stream_id: str) -> str:
        """Read a reply from its beginning at a server, and return its text and how it ended."""
        response = await self.client.get(f"{self.urls[server]}/stream/resume", params={"id": stream_id})
        return _outcome(response.content) if response.status_code == 200 else str(response.status_code)

    async def outcomes(self) -> set[str]:
        """Wait for all readers, and return what they got."""
        found = set(await asyncio.gather(*self.reading))
        self.reading.clear()
        return found

    def rows(self) -> dict[str, tuple[str, int]]:
        """Return the state of each stream in the file, and when it expires."""
        with sqlite3.connect(self.database) as connection:
            found = connection.execute("SELECT id, state, expires_at FROM aibind_stream_status").fetchall()
        connection.close()
        return {stream_id: (state, expires_at) for stream_id, state, expires_at in found}


@asynccontextmanager
async def two_servers(folder: Path, offset_s: int = 0) -> AsyncIterator[Clocks]:
    """Start two servers that sweep all the time; the clock of the first is ``offset_s`` off."""
    clock = FakedTime(folder / "clock", offset_s)
    database = folder / "chat.db"
    options = {"lease_ms": LEASE_MS, "ttl_ms": TTL_MS, "sweep_s": 0.2, "rate": 1 / PAUSE_S}
    with ExitStack() as stack:
        one, first = stack.enter_context(run_server(database, clock.environment, **options))
        two, second = stack.enter_context(run_server(database, **options))
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
            yield Clocks(clock, (one, two), (first, second), database, client)


async def set_clock(clocks: Clocks, offset_s: int | None, words: int = 5) -> None:
    """Set the first server's clock in mid-reply (None: leave it), and check what becomes of every stream.

    Replies of both servers are read at both, by readers that came before and after. Nothing is given up; what had ended
    is kept; what a killed server leaves is given up.
    """
    ended = [await clocks.ask(server, 0) for server in (0, 1)]
    await clocks.outcomes()
    live = [await clocks.ask(server, words) for server in (0, 1)]
    for server in (0, 1):
        for stream_id in live:
            clocks.follow(server, stream_id)
    await asyncio.sleep(PAUSE_S)
    if offset_s is not None:
        clocks.clock.set(offset_s)
    await asyncio.sleep(PAUSE_S)
    for server in (0, 1):
        for stream_id in live:
            clocks.follow(server, stream_id)
    outcomes = await clocks.outcomes()
    assert outcomes == {_whole(words)}, outcomes
    for server in (0, 1):
        kept = [await clocks.resume(server, stream_id) for stream_id in ended]
        assert kept == [_whole(0)] * 2, kept
    now = time.time() * 1000
    rows = clocks.rows()
    latest = now + TTL_MS + abs(clocks.clock.offset_s) * 1000
    for stream_id in (*ended, *live):
        state, expires_at = rows[stream_id]
        assert state == "done"
        assert now < expires_at <= latest + 1000, (expires_at - now, latest - now)
    if 0 < clocks.clock.offset_s <= 60:
        return  # a lease so little ahead is waited for
    lost = await clocks.ask(0, 1000)
    clocks.follow(1, lost)
    await asyncio.sleep(PAUSE_S / 2)
    clocks.processes[0].kill()
    killed, follower = clocks.reading
    clocks.reading.clear()
    began = time.monotonic()
    assert (await follower).endswith("error: producer lost")
    assert time.monotonic() - began < 4 * LEASE_MS / 1000
    with_error = await asyncio.gather(killed, return_exceptions=True)
    assert isinstance(with_error[0], httpx2.HTTPError)


def _whole(words: int) -> str:
    return "".join(f"{number} " for number in range(words)) + "; whole"


def _outcome(body: bytes) -> str:
    messages = SseParser().feed(body)
    ends = [f"{message.event}: {message.data}" for message in messages if message.event in ("error", "stopped")]
    if not ends:
        ends = ["whole"] if messages and messages[-1].event == "done" else ["cut"]
    return f"{text_of(messages)}; {ends[0]}"
