"""kill -9, and SIGSTOP, of a server with replies under way: another goes on, and every reader has one text, once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx2

from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, wrap_sqlite3
from aibind.streams import SseParser
from tests.processes.support import run_server
from tests.support.background_endpoint import BackgroundEndpoint, text_for

__all__ = ["TakenOver", "kill_and_take_over", "stop_and_take_over"]

LEASE_MS = 600
TOKENS = 150
PER_SECOND = 100
PATIENCE_S = 60


@dataclass(slots=True)
class TakenOver:
    """Replies whose server was killed or suspended, their readers, and what went wrong with them."""

    replies: int = 0
    readers: int = 0
    taken_over: int = 0
    generated: int = 0
    wrong: list[str] = field(default_factory=list[str])


class Reader:
    """A reader who comes back with the last id that it saw, at another server when its own is gone."""

    def __init__(self, client: httpx2.AsyncClient, urls: list[str]) -> None:
        self._client = client
        self._urls = urls
        self.stream_id: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.text = ""
        self.end: list[str] = []
        self._last_id: str | None = None

    async def ask(self, prompt: str, session_id: str) -> None:
        """Ask the first server, and read to the end."""
        body = {"prompt": prompt, "sessionId": session_id}
        async with self._client.stream("POST", f"{self._urls[0]}/stream", json=body) as response:
            self.stream_id.set_result(response.headers["x-stream-id"])
            await self._read_or_come_back(response)

    async def follow(self, stream_id: str) -> None:
        """Read a reply from its start to its end."""
        self.stream_id.set_result(stream_id)
        await self._come_back()

    async def _read_or_come_back(self, response: httpx2.Response) -> None:
        with suppress(httpx2.HTTPError):  # its server was killed
            await self._read(response)
        if not self.end or self.end[-1] != "done":
            await self._come_back()

    async def _come_back(self) -> None:
        stream_id = await self.stream_id
        while not self.end or self.end[-1] != "done":
            for url in self._urls:
                headers = {} if self._last_id is None else {"Last-Event-ID": self._last_id}
                try:
                    async with self._client.stream(
                        "GET", f"{url}/stream/resume", params={"id": stream_id}, headers=headers
                    ) as response:
                        if response.status_code == 200:
                            await self._read(response)
                            break
                except httpx2.HTTPError:
                    await asyncio.sleep(0.02)

    async def _read(self, response: httpx2.Response) -> None:
        parser = SseParser()
        async for data in response.aiter_raw():
            for message in parser.feed(data):
                if message.event in ("done", "error", "stopped"):
                    self.end += [message.data] if message.event == "error" else []
                    self.end.append(message.event)
                elif not message.event or message.event == "message":
                    self.text += message.data
                if message.id is not None and message.event != "stream-id":
                    self._last_id = message.id


@asynccontextmanager
async def two_servers(
    folder: Path, endpoint: BackgroundEndpoint
) -> AsyncIterator[list[tuple[subprocess.Popen[str], str]]]:
    async with AsyncExitStack() as stack:
        servers = [
            await asyncio.to_thread(
                stack.enter_context,
                run_server(
                    folder / "chat.db", lease_ms=LEASE_MS, messages=True, background=True, endpoint=endpoint.base_url
                ),
            )
            for _ in range(2)
        ]
        yield servers


async def kill_and_take_over(kills: int, seed: int = 0, replies: int = 3) -> TakenOver:
    """Kill one of two servers so many times, each time with ``replies`` under way."""
    random = Random(seed)
    result = TakenOver()
    for number in range(kills):
        await _Round(result, random, number).run(replies, signal.SIGKILL)
    return result


async def stop_and_take_over(stops: int, seed: int = 0) -> TakenOver:
    """Suspend one of two servers past its leases so many times, and wake it when the other has gone on."""
    random = Random(seed)
    result = TakenOver()
    for number in range(stops):
        await _Round(result, random, number).run(2, signal.SIGSTOP)
    return result


class _Round:
    def __init__(self, result: TakenOver, random: Random, number: int) -> None:
        self._result = result
        self._random = random
        self._number = number

    async def run(self, replies: int, how: signal.Signals) -> None:
        result = self._result
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            endpoint = await stack.enter_async_context(BackgroundEndpoint(tokens=TOKENS, per_second=PER_SECOND))
            servers = await stack.enter_async_context(two_servers(folder, endpoint))
            client = await stack.enter_async_context(
                httpx2.AsyncClient(trust_env=False, timeout=PATIENCE_S, limits=httpx2.Limits())
            )
            (victim, its_url), (_, other_url) = servers
            prompts = [f"{self._number}: question {number}" for number in range(replies)]
            readers: list[tuple[str, Reader]] = []
            tasks: list[asyncio.Task[None]] = []
            for number, prompt in enumerate(prompts):
                reader = Reader(client, [its_url, other_url])
                readers.append((prompt, reader))
                tasks.append(asyncio.create_task(reader.ask(prompt, f"chat {number}")))
            await asyncio.gather(*(reader.stream_id for _, reader in readers))
            for prompt, asking in list(readers):
                reader = Reader(client, [other_url])
                readers.append((prompt, reader))
                tasks.append(asyncio.create_task(reader.follow(await asking.stream_id)))
            await asyncio.sleep(self._random.uniform(0.0, TOKENS / PER_SECOND))
            os.kill(victim.pid, how)
            if how == signal.SIGSTOP:
                await asyncio.sleep(self._random.uniform(1.5, 4) * LEASE_MS / 1000)
                os.kill(victim.pid, signal.SIGCONT)
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*tasks)
            await self._check(folder, prompts, readers, endpoint)
            result.replies += replies
            result.readers += len(readers)
            result.generated += endpoint.stats["responses"]

    async def _check(
        self, folder: Path, prompts: list[str], readers: list[tuple[str, Reader]], endpoint: BackgroundEndpoint
    ) -> None:
        wrong = self._result.wrong
        for prompt, reader in readers:
            if (reader.text, reader.end) != (text_for(prompt, TOKENS), ["done"]):
                wrong.append(f"{prompt}: a reader has {reader.text!r}, {reader.end}")
        asked = [one.prompt for one in endpoint.responses.values()]
        if sorted(asked) != sorted(prompts):
            wrong.append(f"the endpoint was asked {asked} for {prompts}")
        if endpoint.stats["cancelled"]:
            wrong.append(f"{endpoint.stats['cancelled']} responses were cancelled")
        async with wrap_sqlite3(folder / "chat.db") as client:
            streams, conversations = SqliteStreamStore(client, lease_ms=LEASE_MS), SqliteMessageStore(client)
            for number, (prompt, (_, reader)) in enumerate(zip(prompts, readers, strict=False)):
                stream_id = await reader.stream_id
                chunks = [chunk async for chunk in streams.read_from(stream_id)]
                text = "".join(event.data for chunk in chunks for event in chunk.events if event.is_text)
                status = await streams.get_status(stream_id)
                assert status is not None
                self._result.taken_over += status.takeovers
                if (text, status.state) != (text_for(prompt, TOKENS), "done"):
                    wrong.append(f"{prompt}: the store has {text!r}, {status}")
                deadline = asyncio.get_running_loop().time() + 10
                while (told := [m["content"] for m in (await conversations.load(f"chat {number}")).messages]) != [
                    prompt,
                    text_for(prompt, TOKENS),
                ]:
                    if asyncio.get_running_loop().time() > deadline:
                        wrong.append(f"{prompt}: the conversation has {told}")
                        break
                    await asyncio.sleep(0.05)
