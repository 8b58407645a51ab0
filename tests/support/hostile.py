"""Clients that take what they can get, from a server in another process, over real sockets.

:func:`crowd` follows silent replies and keeps others talking, and measures how long another client waits for its first
token meanwhile. :func:`slow_bodies` sends bodies that never end, and measures the server's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from aibind.models import ModelEvent, ModelRequest, TextDelta
from aibind.server import Limits, StreamHandler, create_app

AT_ONCE = 100
"""Connections that the hostile client opens at one time."""

TALK_S = 5.0
"""Seconds between two words of a reply that goes on."""

PATIENCE_S = 120.0

UNLIMITED = Limits(
    streams=None, streams_per_owner=None, followers=None, followers_per_owner=None, followers_per_stream=None
)


# --- the server ---


class TalkingModel:
    """Answers at once; then is silent, or says a word every few seconds, until it is stopped."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        yield TextDelta("first ")
        prompt = request.messages[-1]["content"]
        if prompt == "silent":
            await asyncio.Event().wait()
        while prompt == "talk":
            await asyncio.sleep(TALK_S)
            yield TextDelta("word ")


async def serve(limits: Limits) -> None:
    allow_files()
    handler = StreamHandler(model=TalkingModel(), resumable=True, limits=limits)
    app = create_app(handler, authorize=lambda request, *_: request.headers["x-user"])
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1, backlog=4096)
    await uvicorn.Server(config).serve(sockets=[listener])


def allow_files() -> int:
    """Raise the limit of open files as far as it goes, and return it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


@dataclass
class Server:
    """A server in a process of its own."""

    port: int
    pid: int

    def memory_mb(self, name: str = "VmRSS") -> float:
        """Return the memory that it holds, or has held at most (``VmHWM``), in MB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024 / 1e6
        raise LookupError(name)


@contextlib.asynccontextmanager
async def server(*, unlimited: bool = False) -> AsyncIterator[Server]:
    """Run a server until the block ends."""
    options = ["--unlimited"] if unlimited else []
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.hostile", *options, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield Server(int(await process.stdout.readline()), process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


# --- clients ---


class Connection:
    """One request, and what has come of its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, head: str, body: bytes = b"", length: int | None = None) -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=64 * 1024)
        lines = [head, "Host: localhost"]
        if length is not None or body:
            lines += [f"Content-Length: {length or len(body)}", "Content-Type: application/json"]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        return cls(reader, writer)

    async def status(self) -> tuple[int, str]:
        """Return the status and the head of the answer."""
        async with asyncio.timeout(PATIENCE_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        return int(head.split()[1]), head

    async def wait_for(self, word: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self._reader.readuntil(word)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


async def ask(port: int, prompt: str, user: str) -> Connection:
    body = json.dumps({"prompt": prompt}).encode()
    return await Connection.open(port, f"POST /__aibind__/stream HTTP/1.1\r\nX-User: {user}", body)


async def first_token_ms(port: int) -> float:
    """Return how long a client waits for the first token, from connecting on, in milliseconds."""
    began = time.perf_counter()
    connection = await ask(port, "hello", "victim")
    await connection.wait_for(b"data: first")
    waited_ms = (time.perf_counter() - began) * 1000
    connection.close()
    return waited_ms


@dataclass
class Waits:
    """How long somebody waited, in milliseconds."""

    all_ms: list[float] = field(default_factory=list)

    async def count(self, number: int) -> None:
        """Wait until it was measured so often."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.all_ms) < number:
                await asyncio.sleep(0.02)

    def __str__(self) -> str:
        ranked = sorted(self.all_ms)
        worst = ranked[min(len(ranked) - 1, len(ranked) * 99 // 100)]
        return f"median {statistics.median(ranked):.1f}, 99 % {worst:.1f}, most {ranked[-1]:.1f} ms of {len(ranked)}"


@contextlib.asynccontextmanager
async def another_client(port: int) -> AsyncIterator[Waits]:
    """Ask again and again, in a process apart, which the hostile client does not hold up, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.hostile", "--ask", str(port), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines = process.stdout
    waits = Waits()

    async def read() -> None:
        async for line in lines:
            waits.all_ms.append(float(line))

    reading = asyncio.create_task(read())
    try:
        await waits.count(1)
        yield waits
    finally:
        process.kill()
        await process.wait()
        await reading


async def ask_for_ever(port: int) -> None:
    while True:
        print(await first_token_ms(port), flush=True)
        await asyncio.sleep(0.02)


@dataclass
class Crowd:
    """What a crowd of one client's connections did to another client."""

    answers: Counter[str]
    alone: Waits
    coming: Waits
    there: Waits
    memory_mb: float


async def crowd(followers: int, streams: int, *, unlimited: bool, rounds: int = 100) -> Crowd:
    """Let one client follow silent replies so often, and keep so many others talking; measure what another one sees."""
    allow_files()
    async with server(unlimited=unlimited) as there:
        async with another_client(there.port) as alone:
            await alone.count(rounds)
        answers: Counter[str] = Counter()
        connections: list[Connection] = []
        silent: list[str] = []
        gate = asyncio.Semaphore(AT_ONCE)

        async def enter(kind: str, head: str | None, prompt: str = "") -> None:
            async with gate:
                if head is None:
                    connection = await ask(there.port, prompt, "hostile")
                else:
                    connection = await Connection.open(there.port, head)
                status, answer = await connection.status()
                answers[f"{kind} {status}"] += 1
                if status != 200:
                    connection.close()
                    return
                connections.append(connection)
                if prompt == "silent":
                    silent.append(answer.lower().partition("x-stream-id: ")[2].partition("\r\n")[0])

        try:
            await asyncio.gather(*(enter("silent", None, "silent") for _ in range(20)))
            resume = "GET /__aibind__/stream/resume?id={}&after=1 HTTP/1.1\r\nX-User: hostile"
            heads = [resume.format(silent[number % len(silent)]) for number in range(followers)]
            work = [enter("stream", None, "talk") for _ in range(streams)] + [enter("follower", head) for head in heads]
            async with another_client(there.port) as coming:
                await asyncio.gather(*work)
            async with another_client(there.port) as settled:
                await settled.count(rounds)
            return Crowd(answers, alone, coming, settled, there.memory_mb())
        finally:
            for connection in connections:
                connection.close()


async def slow_bodies(count: int, size: int) -> tuple[float, Counter[int]]:
    """Send bodies that lack their last byte; return how much memory they cost the server, in MB, and the answers."""
    allow_files()
    answers: Counter[int] = Counter()
    async with server() as there:
        for _ in range(20):
            await first_token_ms(there.port)
        before_mb = there.memory_mb()
        piece = b" " * 64 * 1024

        async def send() -> Connection:
            head = "POST /__aibind__/stream HTTP/1.1\r\nX-User: hostile"
            connection = await Connection.open(there.port, head, length=size)
            with contextlib.suppress(ConnectionError):
                for start in range(0, size - 1, len(piece)):
                    await connection.send(piece[: size - 1 - start])
                    await asyncio.sleep(0)
            return connection

        connections = await asyncio.gather(*(send() for _ in range(count)))
        for connection in connections:
            try:
                async with asyncio.timeout(0.5):
                    answers[(await connection.status())[0]] += 1
            except (TimeoutError, OSError, asyncio.IncompleteReadError):
                answers[0] += 1  # waits for the rest, or was cut off
        await first_token_ms(there.port)  # prompts are answered nevertheless
        grown_mb = there.memory_mb("VmHWM") - before_mb
        for connection in connections:
            connection.close()
    return grown_mb, answers


def main() -> None:
    parser = argparse.ArgumentParser(description="The server of tests.hostile")
    parser.add_argument("--unlimited", action="store_true")
    parser.add_argument("--ask", type=int, metavar="PORT", help="be the other client of the server at this port")
    options: Any = parser.parse_args()
    if options.ask:
        asyncio.run(ask_for_ever(options.ask))
    asyncio.run(serve(UNLIMITED if options.unlimited else Limits()))


if __name__ == "__main__":
    main()
