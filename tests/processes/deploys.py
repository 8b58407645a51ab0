"""Deploys of a new version while replies are under way: two uvicorn workers on one file, behind a supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx2

from aibind.sqlite import SqliteMessageStore, wrap_sqlite3
from aibind.streams import SseMessage, SseParser
from tests.support.sources import text_of

__all__ = ["WAYS", "Deployed", "deploy"]

ROOT = Path(__file__).parents[2]
WORKERS = 2
RATE = 20
GRACE_S = 15
PATIENCE_S = 120

WAYS = {"rolling": signal.SIGHUP, "restart": signal.SIGUSR1}
"""How workers are replaced: one after the other, each when the next one serves, or all when the old ones have ended."""


@dataclass(slots=True)
class Deployed:
    """What readers saw of a deploy."""

    replies: int = 0
    resumed: int = 0
    refused: int = 0
    old: set[str] = field(default_factory=set[str])
    new: set[str] = field(default_factory=set[str])
    wrong: list[str] = field(default_factory=list[str])


async def deploy(way: str, replies: int = 100, seed: int = 0, *, max_words: int = 80) -> Deployed:
    """Replace the workers while so many replies begin and are under way; read each of them to its end."""
    random = Random(seed)
    result = Deployed()
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "chat.db"
        with _supervised(database) as (supervisor, url):
            limits = httpx2.Limits(max_connections=None)
            async with httpx2.AsyncClient(trust_env=False, timeout=60, limits=limits) as client:
                readers = [_Reader(url, number, random, max_words) for number in range(replies)]
                reading = [asyncio.create_task(reader.read(client)) for reader in readers]
                await asyncio.sleep(1.5)
                result.old = {worker for reader in readers for worker in reader.workers}
                supervisor.send_signal(WAYS[way])
                async with asyncio.timeout(PATIENCE_S):
                    await asyncio.gather(*reading)
                await _see_new_workers(client, url, result)
        async with wrap_sqlite3(database) as local:
            store = SqliteMessageStore(local)
            for reader in readers:
                said = [message["content"] for message in (await store.load(reader.session_id)).messages]
                if not reader.text == reader.expected == said[-1] or len(said) != 2:
                    result.wrong.append(f"{reader.session_id}: read {reader.text!r}, stored {said}")
                result.replies += 1
                result.resumed += reader.connections > 1
                result.refused += reader.refused
    return result


class _Reader:
    """A client as the documentation has it: it repeats its question with one id, and resumes after each loss."""

    def __init__(self, url: str, number: int, random: Random, max_words: int) -> None:
        self.session_id = f"session {number}"
        words = random.randint(20, max_words)
        self.expected = "".join(f"{word} " for word in range(words))
        self.text = ""
        self.connections = self.refused = 0
        self.workers: set[str] = set()
        self._url = url
        self._begins_s = random.uniform(0, 2)
        self._hangs_up_after = random.choice([10, 30, 1000])  # messages: as mobile phones do
        self._body = {"prompt": str(words), "sessionId": self.session_id, "requestId": str(uuid.uuid4())}
        self._stream_id = ""
        self._last_id = 0

    async def read(self, client: httpx2.AsyncClient) -> None:
        await asyncio.sleep(self._begins_s)
        while not await self._connect(client):
            await asyncio.sleep(0.1)

    async def _connect(self, client: httpx2.AsyncClient) -> bool:
        """Read as far as a connection goes; return whether that is the end of the reply."""
        resuming = f"{self._url}/stream/resume?id={self._stream_id}&after={self._last_id}"
        request = (
            client.build_request("GET", resuming)
            if self._stream_id
            else client.build_request("POST", f"{self._url}/stream", json=self._body)
        )
        try:
            response = await client.send(request, stream=True)
        except httpx2.TransportError:
            return False
        try:
            if response.status_code == 503 and response.headers["retry-after"] == "1":
                self.refused += 1
                return False
            response.raise_for_status()
            self.connections += 1
            self.workers.add(response.headers["x-worker"])
            self._stream_id = response.headers["x-stream-id"]
            return await self._read(response)
        except httpx2.TransportError:
            return False
        finally:
            await response.aclose()

    async def _read(self, response: httpx2.Response) -> bool:
        parser, count = SseParser(), 0
        async for data in response.aiter_raw():
            for message in parser.feed(data):
                if message.event == "done":
                    return True
                self._take(message)
                count += 1
            if count > self._hangs_up_after:
                break
        return False

    def _take(self, message: SseMessage) -> None:
        if message.event == "error":
            self.text += f"(error: {message.data})"
        elif message.event != "stream-id":
            self._last_id = int(message.id)
            self.text += text_of([message])


async def _see_new_workers(client: httpx2.AsyncClient, url: str, result: Deployed) -> None:
    """Ask until all workers that answer are new."""
    async with asyncio.timeout(PATIENCE_S):
        while not result.new or result.new & result.old:
            result.new = set()
            for _ in range(10):
                with contextlib.suppress(httpx2.TransportError):
                    result.new.add((await client.get(url)).headers["x-worker"])
            await asyncio.sleep(0.2)


@contextlib.contextmanager
def _supervised(database: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the workers behind a supervisor; give it and their address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    uvicorn = [sys.executable, "-m", "uvicorn", "tests.support.workers:make_app", "--factory", f"--port={port}"]
    uvicorn += [f"--workers={WORKERS}", f"--timeout-graceful-shutdown={GRACE_S + 10}", "--no-access-log"]
    environment = {
        **os.environ,
        "AIBIND_TEST_DATABASE": str(database),
        "AIBIND_TEST_GRACE_S": str(GRACE_S),
        "AIBIND_TEST_RATE": str(RATE),
    }
    log = database.with_suffix(".log")
    with log.open("w") as stderr:
        command = [sys.executable, "-m", "tests.support.supervisor", "--", *uvicorn]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=stderr, text=True)
    try:
        _wait_until_started(process, log)
        yield process, f"http://127.0.0.1:{port}/__aibind__"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        wrong = [line for line in log.read_text().splitlines() if re.match(r"ERROR|Traceback", line)]
        assert not wrong, "\n".join(wrong)


def _wait_until_started(process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + 60
    while log.read_text().count("Application startup complete") < WORKERS:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
