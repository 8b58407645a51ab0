"""Faults of the machine, each produced for real in a server with live replies: what a reader sees, and what is kept."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import httpx2

from aibind.sqlite import wrap_sqlite3
from aibind.streams import SseParser, decode_chunk
from tests.processes.support import run_server
from tests.support.sources import text_of

__all__ = ["FAULTS", "Days", "Outcome"]

WORDS = 100_000
RATE = 40


@dataclass(frozen=True, slots=True)
class Days:
    """How long the faults last, in seconds: less in the suite than in the campaign."""

    lease_s: float = 1.5
    busy_timeout_s: float = 1.0
    lock_s: float = 3.5
    stop_s: float = 4.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one fault came to."""

    fault: str
    reader: str
    kept: str
    others: str


@dataclass(slots=True)
class _Server:
    process: Popen[str]
    url: str
    client: httpx2.AsyncClient
    database: Path
    stream_id: str = ""
    received: bytearray = field(default_factory=bytearray)
    reading: asyncio.Task[None] | None = None

    async def ask(self, prompt: str = str(WORDS)) -> None:
        """Begin a reply, and go on reading it."""
        begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def read() -> None:
            async with self.client.stream("POST", f"{self.url}/stream", json={"prompt": prompt}) as response:
                begun.set_result(response.headers["x-stream-id"])
                with suppress(httpx2.HTTPError):
                    async for data in response.aiter_raw():
                        self.received += data

        self.reading = asyncio.create_task(read())
        self.stream_id = await begun

    async def grow(self, words: int = 20) -> None:
        """Wait until the reader has received so many words more."""
        goal = len(self.text.split()) + words
        async with asyncio.timeout(30):
            while len(self.text.split()) < goal:
                await asyncio.sleep(0.02)

    async def finish(self) -> str:
        """Wait for the end of the reply, and return how it ended for its reader."""
        assert self.reading is not None
        async with asyncio.timeout(60):
            await self.reading
        return _end(bytes(self.received))

    async def stop(self) -> None:
        """Stop the reply."""
        response = await self.client.post(f"{self.url}/stream/stop", json={"id": self.stream_id})
        assert response.status_code == 200, response.text

    @property
    def text(self) -> str:
        """What the reader has received."""
        return text_of(SseParser().feed(bytes(self.received)))

    async def try_another(self) -> tuple[int, float]:
        """Begin another reply; return its status, and the seconds to the answer."""
        began = time.monotonic()
        response = await self.client.post(f"{self.url}/stream", json={"prompt": "3"})
        return response.status_code, time.monotonic() - began

    def stored(self) -> tuple[str, str | None, str]:
        """Return the state of the stream in the file, its error and its text."""
        with closing(sqlite3.connect(self.database)) as connection:
            state, error = connection.execute(
                "SELECT state, error FROM aibind_stream_status WHERE id = ?", (self.stream_id,)
            ).fetchone()
            rows = connection.execute(
                "SELECT data FROM aibind_stream_chunks WHERE id = ? ORDER BY seq", (self.stream_id,)
            )
            return state, error, "".join(decode_chunk(data).data for (data,) in rows)


@asynccontextmanager
async def _serving(days: Days, count: int = 1) -> AsyncIterator[list[_Server]]:
    options = {
        "lease_ms": int(days.lease_s * 1000),
        "busy_timeout_ms": days.busy_timeout_s * 1000,
        "rate": RATE,
    }
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        database = Path(folder) / "chat.db"
        async with httpx2.AsyncClient(trust_env=False, timeout=120) as client:
            started = [stack.enter_context(run_server(database, **options)) for _ in range(count)]
            yield [_Server(process, url, client, database) for process, url in started]


async def a_lock(days: Days) -> Outcome:
    """Another process holds the write lock for longer than the time-out and the lease."""
    async with _serving(days) as (server,):
        await server.ask()
        await server.grow()
        with closing(sqlite3.connect(server.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            before = len(server.text.split())
            began = time.monotonic()
            status, waited_s = await server.try_another()
            assert status >= 500, status
            assert waited_s < max(days.busy_timeout_s, days.lease_s) + 1, waited_s
            await asyncio.sleep(max(0.0, days.lock_s - (time.monotonic() - began)))
            assert len(server.text.split()) > before + days.lock_s * RATE / 4, "it was held up"
            other.execute("ROLLBACK")
        await server.grow()
        await server.stop()
        assert await server.finish() == "stopped"
        assert server.stored() == ("stopped", None, server.text)
        assert (await server.try_another())[0] == 200
        return Outcome(
            f"a lock of {days.lock_s:g} s",
            "goes on live; whole",
            "everything, once the lock is gone",
            f"{status} after {waited_s:.1f} s (time-out {days.busy_timeout_s:g} s), then as before",
        )


async def a_full_disk(days: Days) -> Outcome:
    """The file cannot grow any more; later it can."""
    async with _serving(days) as (server,):
        await server.ask()
        await server.grow()
        _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
        before = len(server.text.split())
        began = time.monotonic()
        status, waited_s = await server.try_another()
        assert status >= 500, status
        assert waited_s < max(days.busy_timeout_s, days.lease_s) + 1, waited_s
        await asyncio.sleep(max(0.0, days.lock_s - (time.monotonic() - began)))
        assert len(server.text.split()) > before + days.lock_s * RATE / 4, "it was held up"
        assert len(server.stored()[2]) < len(server.text)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        await server.grow()
        await server.stop()
        assert await server.finish() == "stopped"
        assert server.stored() == ("stopped", None, server.text)
        assert (await server.try_another())[0] == 200
        return Outcome(
            "a full disk",
            "goes on live; whole",
            "everything, once there is room",
            f"{status} after {waited_s:.1f} s; 200 once there is room",
        )


async def an_unlinked_file(days: Days) -> Outcome:
    """The file is removed under the server."""
    return await _without_file(days, "an unlinked file", replace=False)


async def a_replaced_file(days: Days) -> Outcome:
    """The file is removed, and an older one put in its place."""
    return await _without_file(days, "a replaced file", replace=True)


async def _without_file(days: Days, name: str, *, replace: bool) -> Outcome:
    async with _serving(days) as (server,):
        await server.ask()
        await server.grow()
        copy = server.database.with_name("copy")
        copy.write_bytes(server.database.read_bytes())
        for file in server.database.parent.glob("chat.db*"):
            file.unlink()
        if replace:
            copy.replace(server.database)
        began = time.monotonic()
        end = await server.finish()
        noticed_s = time.monotonic() - began
        assert end == "error: The reply could not be stored", end
        assert noticed_s < 1.5, noticed_s
        status, _ = await server.try_another()
        assert status >= 500, status
        return Outcome(
            name, f"an exact prefix, then {end}, after {noticed_s:.1f} s", "nothing since", f"{status} until a restart"
        )


async def a_read_only_file(days: Days) -> Outcome:
    """A file that a process may not write: as another user, since root may write every file."""
    async with _serving(days) as (server,):
        await server.ask("3")
        assert await server.finish() == "whole"
        database, folder = server.database, server.database.parent
        server.process.send_signal(signal.SIGINT)
        server.process.wait()
        folder.chmod(0o555)
        database.chmod(0o444)
        try:
            said = await _try_to_write(database)
        finally:
            folder.chmod(0o755)
            database.chmod(0o644)
        assert said.startswith("SqliteError"), said
        assert "check the permissions" in said or "can only be read" in said, said
        return Outcome(
            "a read-only file", "–", "everything that was there", f"every write fails, and says: {said.strip()}"
        )


async def _try_to_write(database: Path) -> str:
    """Write as a user who may not; return the error."""

    def write() -> str:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:  # a fork keeps the modules that the user may not be allowed to read
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                os.write(writer, asyncio.run(_write(database)).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            said = answer.read()
        os.waitpid(child, 0)
        return said

    return await asyncio.to_thread(write)


async def _write(database: Path) -> str:
    try:
        async with wrap_sqlite3(database) as client:
            await client.execute("DELETE FROM aibind_stream_status")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "it was written"


async def few_file_descriptors(days: Days) -> Outcome:
    """A server may open 64 files, and 100 readers come."""
    async with _serving(days) as (server,):
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        await server.ask()
        await server.grow()
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(trust_env=False, timeout=httpx2.Timeout(3, read=3), limits=limits) as crowd:
            params = {"id": server.stream_id}
            answers = await asyncio.gather(
                *(_taste(crowd, f"{server.url}/stream/resume", params) for _ in range(100)), return_exceptions=True
            )
            served = sum(answer is True for answer in answers)
            assert served > 10, answers[:3]
        # While it cannot accept, asyncio logs every connection of the backlog, which holds the loop up for seconds.
        await server.grow()
        async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
            response = await client.post(f"{server.url}/stream/stop", json=params)
            assert response.status_code == 200, response.text
        assert await server.finish() == "stopped"
        assert server.stored() == ("stopped", None, server.text)
        return Outcome(
            "64 file descriptors",
            "goes on, after a pause of seconds; whole",
            "everything",
            f"{served} of 100 readers served; the rest wait",
        )


async def _taste(client: httpx2.AsyncClient, url: str, params: dict[str, str]) -> bool:
    """Read the beginning of a stream, and hold the connection for a while."""
    async with client.stream("GET", url, params=params) as response:
        async for data in response.aiter_raw():
            if data:
                await asyncio.sleep(1)
                return response.status_code == 200
    return False


async def a_suspended_server(days: Days) -> Outcome:
    """A server is stopped by SIGSTOP for longer than its lease, while another has readers of its reply."""
    async with _serving(days, 2) as (server, other):
        await server.ask()
        await server.grow()
        follower = asyncio.create_task(other.client.get(f"{other.url}/stream/resume", params={"id": server.stream_id}))
        await asyncio.sleep(0.3)
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            answer = await follower
            lost_s = time.monotonic() - began
            assert _end(answer.content) == "error: producer lost"
            assert days.lease_s - 0.5 < lost_s < 2 * days.lease_s + 1.5, lost_s
            await asyncio.sleep(max(0.0, days.stop_s - lost_s))
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        end = await server.finish()
        assert end.startswith("error: "), end
        state, error, kept = server.stored()
        assert (state, error) == ("error", "producer lost")
        assert kept == text_of(SseParser().feed(answer.content))
        assert server.text.startswith(kept)
        return Outcome(
            f"SIGSTOP for {days.stop_s:g} s",
            f"elsewhere producer lost after {lost_s:.1f} s; at the server itself {end}",
            "what was flushed before, and nothing after",
            "answered by the other server",
        )


def _end(body: bytes) -> str:
    """Return how a reply ended for its reader."""
    messages = SseParser().feed(body)
    for message in messages[-2:]:
        if message.event == "error":
            return f"error: {message.data}"
        if message.event == "stopped":
            return "stopped"
    return "whole" if messages and messages[-1].event == "done" else "cut"


FAULTS: dict[str, Callable[[Days], Coroutine[None, None, Outcome]]] = {
    "lock": a_lock,
    "full disk": a_full_disk,
    "read-only file": a_read_only_file,
    "unlinked file": an_unlinked_file,
    "replaced file": a_replaced_file,
    "file descriptors": few_file_descriptors,
    "suspended server": a_suspended_server,
}
"""Every fault, by the name that the campaign and the tests call it."""
