"""kill -9 of a server, and the answers that it had begun in every place of a conversation where they can be lost."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx2

from aibind.history import MessageTree, TreeNode
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, wrap_sqlite3
from aibind.streams import SseParser
from tests.processes.support import run_server
from tests.support.sources import text_of

__all__ = ["CASES", "Recovered", "kill_and_recover"]

LEASE_MS = 1500
RATE = 200
LONG = "100000"

CASES = ("another branch", "asked again", "three at once", "a turn within the lease", "after cleanup")
"""Where the answers were lost; each is a session."""


@dataclass(slots=True)
class Recovered:
    """What became of the answers under way: how many by case, and those that are not as their streams had them."""

    answers: Counter[str] = field(default_factory=Counter[str])
    words: int = 0
    wrong: list[str] = field(default_factory=list[str])


async def kill_and_recover(kills: int, seed: int = 0) -> Recovered:
    """Kill a server so many times, with answers under way in a session for each case, and recover them."""
    random = Random(seed)
    result = Recovered()
    for _ in range(kills):
        with tempfile.TemporaryDirectory() as folder:
            await _Kill(Path(folder) / "chat.db", result).run(random.uniform(0.05, 0.8))
    return result


class _Kill:
    def __init__(self, database: Path, result: Recovered) -> None:
        self._database = database
        self._result = result
        self._lost: dict[str, str] = {}  # streams under way, and their sessions
        self._url = ""

    async def run(self, kill_after_s: float) -> None:
        async with httpx2.AsyncClient(trust_env=False, timeout=60, limits=httpx2.Limits()) as client:
            with self._serve() as (process, self._url):
                reading = await self._begin(client)
                await asyncio.sleep(kill_after_s)
                process.kill()
                process.wait()
                await asyncio.gather(*reading)
            flushed = self._flushed()
            with self._serve() as (_, self._url):
                await self._ask(client, "a turn within the lease", "3")
                await asyncio.sleep(LEASE_MS / 1000 + 0.1)
                await asyncio.gather(*(self._ask(client, case, "4") for case in CASES if case != "after cleanup"))
                await self._clean_up()
                await self._ask(client, "after cleanup", "4")
        await self._check(flushed)

    def _serve(self) -> AbstractContextManager[tuple[subprocess.Popen[str], str]]:
        return run_server(self._database, lease_ms=LEASE_MS, rate=RATE, messages=True)

    async def _begin(self, client: httpx2.AsyncClient) -> list[asyncio.Task[None]]:
        """Begin the answers that are to be lost."""
        reading: list[asyncio.Task[None]] = []
        for case in CASES:
            await self._ask(client, case, "2")
        for case in CASES:
            if case == "asked again":
                stream_id = await self._begin_one(client, case, reading, prompt=LONG)
                await client.post(f"{self._url}/stream/stop", json={"id": stream_id})
                del self._lost[stream_id]
                await self._begin_one(client, case, reading, regenerate=await self._last(case))
                continue
            for _ in range(3 if case == "three at once" else 1):
                await self._begin_one(client, case, reading, prompt=LONG)
            if case == "another branch":  # and the conversation goes on there
                await self._ask(client, case, "3", edit=await self._first(case))
        return reading

    async def _begin_one(
        self, client: httpx2.AsyncClient, case: str, reading: list[asyncio.Task[None]], **body: str
    ) -> str:
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        reading.append(asyncio.create_task(self._read(client, {"sessionId": case, **body}, found)))
        stream_id = await found
        self._lost[stream_id] = case
        return stream_id

    async def _read(self, client: httpx2.AsyncClient, body: dict[str, str], found: asyncio.Future[str]) -> None:
        try:
            async with client.stream("POST", f"{self._url}/stream", json=body) as response:
                async for _ in response.aiter_raw():
                    if not found.done():
                        found.set_result(response.headers["x-stream-id"])
        except httpx2.HTTPError:
            pass  # the server was killed

    async def _ask(self, client: httpx2.AsyncClient, case: str, prompt: str, **body: str) -> None:
        response = await client.post(f"{self._url}/stream", json={"sessionId": case, "prompt": prompt, **body})
        expected = "".join(f"{number} " for number in range(int(prompt)))
        if text_of(SseParser().feed(response.content)) != expected:
            self._result.wrong.append(f"{case}: the turn {prompt} was answered with {response.text!r}")

    async def _first(self, case: str) -> str:
        async with wrap_sqlite3(self._database) as local:
            return (await SqliteMessageStore(local).load(case)).node_ids[0]

    async def _last(self, case: str) -> str:
        async with wrap_sqlite3(self._database) as local:
            return (await SqliteMessageStore(local).load(case)).node_ids[-1]

    async def _clean_up(self) -> None:
        """Clean up as often as it takes to remove a stream whose time to live is over at once."""
        async with wrap_sqlite3(self._database) as local:
            streams = SqliteStreamStore(local, ttl_ms=1, lease_ms=LEASE_MS)
            for _ in range(2):
                await streams.cleanup()
                await asyncio.sleep(0.01)

    def _flushed(self) -> dict[str, str]:
        """Return the text of each stream as the file holds it."""
        connection = sqlite3.connect(self._database)
        try:
            texts = dict.fromkeys(self._lost, "")
            for stream_id, data in connection.execute("SELECT id, data FROM aibind_stream_chunks ORDER BY id, seq"):
                if stream_id in texts:
                    texts[stream_id] += data.removeprefix("\x01")
        finally:
            connection.close()
        return texts

    async def _check(self, flushed: dict[str, str]) -> None:
        async with wrap_sqlite3(self._database) as local:
            store = SqliteMessageStore(local)
            trees = {case: (await store.load(case)).tree for case in CASES}
        for stream_id, case in self._lost.items():
            nodes = _nodes(trees[case])
            found = [
                (node.message["content"], node.metadata.get("error"))
                for node in nodes
                if node.message["role"] == "assistant" and node.metadata.get("streamId") == stream_id
            ]
            text = flushed[stream_id]
            if found != ([(text, "producer lost")] if text else []):
                self._result.wrong.append(f"{case}: {found} is stored of {text!r}")
            self._result.answers[case] += 1
            self._result.words += len(text.split())


def _nodes(tree: MessageTree) -> Iterator[TreeNode]:
    waiting = list(tree.root_ids)
    while waiting:
        node = tree.get(waiting.pop())
        assert node is not None
        waiting += node.children
        yield node
