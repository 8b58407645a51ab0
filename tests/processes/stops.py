"""Stops that race the end of a reply, or come in the middle, from the producer's process and from another one."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from random import Random

import httpx2

from aibind.server import StreamHandler
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, wrap_sqlite3
from aibind.streams import DurableStream, SseMessage, SseParser
from tests.processes.support import run_server
from tests.support.models import ScriptedModel
from tests.support.sources import read_all, text_of

__all__ = ["Stops", "race_stops"]

RATE = 1000
WORDS = 30
AT_ONCE = 10


@dataclass(slots=True)
class Stops:
    """What became of raced replies: how many by kind and state, and what disagreed."""

    ends: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    wrong: list[str] = field(default_factory=list[str])

    @property
    def count(self) -> int:
        """The number of races."""
        return self.ends.total()


@dataclass(frozen=True, slots=True)
class _Seen:
    """A reply as one of its witnesses has it: its text and how it ended."""

    text: str
    end: str


async def race_stops(count: int, seed: int = 0) -> Stops:
    """Race so many stops, a quarter of each kind, with the same number of replies under way all the time."""
    random = Random(seed)
    kinds = product(("same process", "other process"), ("at the end", "in the middle"))
    races = islice(_repeat(list(kinds), random), count)
    result = Stops()
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "chat.db"
        with run_server(database, rate=RATE, messages=True) as (_, url):
            async with wrap_sqlite3(database) as local, _client() as client:
                race = _Race(client, url, SqliteStreamStore(local), SqliteMessageStore(local), result)

                async def run() -> None:
                    for number, where, when, chance in races:
                        await race.run(f"session {number}", where, when, chance)

                await asyncio.gather(*(run() for _ in range(AT_ONCE)))
    return result


def _repeat(kinds: list[tuple[str, str]], random: Random) -> Iterator[tuple[int, str, str, float]]:
    number = 0
    while True:
        for where, when in kinds:
            yield number, where, when, random.random()
            number += 1


def _client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(trust_env=False, timeout=60, limits=httpx2.Limits(max_connections=None))


class _Race:
    def __init__(
        self,
        client: httpx2.AsyncClient,
        url: str,
        streams: SqliteStreamStore,
        conversations: SqliteMessageStore,
        result: Stops,
    ) -> None:
        self._client = client
        self._url = url
        self._streams = streams
        self._conversations = conversations
        self._result = result
        self._handler = StreamHandler(
            model=ScriptedModel("unused"), resumable=True, store=streams, conversations=conversations
        )

    async def run(self, session_id: str, where: str, when: str, chance: float) -> None:
        """Ask, stop, and compare what the stream, the conversation and two readers have."""
        body = {"prompt": str(WORDS if when == "at the end" else 100_000), "sessionId": session_id}
        async with self._client.stream("POST", f"{self._url}/stream", json=body) as response:
            stream_id = response.headers["x-stream-id"]
            near = asyncio.ensure_future(_read(response))
            far = asyncio.ensure_future(self._follow(stream_id))
            scale_s = 2.5 * WORDS / RATE if when == "at the end" else 0.2
            await asyncio.sleep(chance * scale_s)
            await self._stop(stream_id, where)
            witnesses = {"its reader": _seen(await near), "a reader elsewhere": _seen(await far)}
        witnesses["a reader that came late"] = _seen(await self._follow(stream_id))
        witnesses["the conversation"] = await self._stored(session_id)
        status = await self._streams.get_status(stream_id)
        assert status is not None
        end = status.state
        text = witnesses["a reader that came late"].text
        for who, seen in witnesses.items():
            if who == "the conversation" and end == "stopped" and not text and seen == _Seen("", "nothing"):
                continue  # nothing had been said
            if seen != _Seen(text, end):
                self._result.wrong.append(f"{where}, {when}: {who} has {seen}, the stream {_Seen(text, end)}")
        self._result.ends[where, when, end] += 1

    async def _stop(self, stream_id: str, where: str) -> None:
        if where == "same process":
            (await self._client.post(f"{self._url}/stream/stop", json={"id": stream_id})).raise_for_status()
        else:
            await self._handler.stop({"id": stream_id})
        status = await self._streams.get_status(stream_id)
        if status is None or status.is_active:
            self._result.wrong.append(f"{where}: the stream is active after its stop")

    async def _follow(self, stream_id: str) -> list[SseMessage]:
        return await read_all((await DurableStream.resume(self._streams, stream_id)).body)

    async def _stored(self, session_id: str) -> _Seen:
        chat = await self._conversations.load(session_id)
        answer = chat.tree.get(chat.node_ids[-1])
        assert answer is not None
        if answer.message["role"] == "user":
            return _Seen("", "nothing")
        return _Seen(answer.message["content"], answer.metadata.get("finish", "done"))


async def _read(response: httpx2.Response) -> list[SseMessage]:
    parser = SseParser()
    return [message async for data in response.aiter_raw() for message in parser.feed(data)]


def _seen(messages: list[SseMessage]) -> _Seen:
    """Return the text of a reply, and the first of the messages that end it."""
    end = next((message for message in messages if message.event in ("stopped", "error", "done")), None)
    return _Seen(text_of(messages), "nothing" if end is None else end.event)
