"""kill -9 of a server in which many turns are live: what of them is kept, and that each can be continued."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx2

from aibind.sqlite import SqliteMessageStore, wrap_sqlite3
from aibind.streams import SseParser
from tests.processes.support import run_server
from tests.support.sources import text_of

__all__ = ["Killed", "kill_rounds"]

LEASE_MS = 1500
TURNS = 20
RATE = 200


@dataclass(frozen=True, slots=True)
class Killed:
    """The sums of some rounds: turns that were live, words that readers saw, and words that were kept."""

    rounds: int
    turns: int
    seen: int
    kept: int


@dataclass(slots=True)
class _Turn:
    """A turn in a session of its own, as its reader sees it."""

    session_id: str
    stream_id: str = ""
    seen: str = ""


async def kill_rounds(rounds: int, seed: int = 0) -> Killed:
    """Kill a server with live turns so many times, and check what is kept; raise AssertionError for a loss."""
    random = Random(seed)
    seen = kept = turns = 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            round_ = await _kill(Path(folder) / "chat.db", random.uniform(0.1, 1.2))
        turns, seen, kept = turns + round_[0], seen + round_[1], kept + round_[2]
    return Killed(rounds, turns, seen, kept)


async def _kill(database: Path, kill_after_s: float) -> tuple[int, int, int]:
    live = [_Turn(f"session {number}") for number in range(TURNS)]
    with run_server(database, lease_ms=LEASE_MS, rate=RATE, messages=True) as (process, url):
        async with _client() as client:
            # An earlier turn, so that what is killed is a conversation that goes on.
            await asyncio.gather(*(_ask(client, url, _Turn(turn.session_id), "3") for turn in live))
            asked = [asyncio.ensure_future(_ask(client, url, turn, "100000")) for turn in live]
            while not all(turn.stream_id for turn in live):
                await asyncio.sleep(0.01)
            await asyncio.sleep(kill_after_s)
            process.kill()
            await asyncio.gather(*asked)
    flushed = _flushed(database)
    with run_server(database, lease_ms=LEASE_MS, rate=RATE, messages=True) as (_, url):
        async with _client() as client:
            await asyncio.gather(*(_attach(client, url, turn, flushed[turn.stream_id]) for turn in live))
            await asyncio.gather(*(_ask(client, url, _Turn(turn.session_id), "5") for turn in live))
    async with wrap_sqlite3(database) as local:
        store = SqliteMessageStore(local)
        for turn in live:
            said = [message["content"] for message in (await store.load(turn.session_id)).messages]
            text = flushed[turn.stream_id]
            assert said == ["3", "0 1 2 ", "100000", *([text] if text else []), "5", "0 1 2 3 4 "], said
    return TURNS, sum(_count(turn.seen) for turn in live), sum(_count(flushed[turn.stream_id]) for turn in live)


def _client() -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=None)
    return httpx2.AsyncClient(trust_env=False, timeout=60, limits=limits)


async def _ask(client: httpx2.AsyncClient, url: str, turn: _Turn, prompt: str) -> None:
    parser = SseParser()
    messages = []
    try:
        body = {"prompt": prompt, "sessionId": turn.session_id}
        async with client.stream("POST", f"{url}/stream", json=body) as response:
            turn.stream_id = response.headers["x-stream-id"]
            async for data in response.aiter_raw():
                messages += parser.feed(data)
    except httpx2.HTTPError:
        pass  # the server was killed
    turn.seen = text_of(messages)
    _count(turn.seen)


async def _attach(client: httpx2.AsyncClient, url: str, turn: _Turn, flushed: str) -> None:
    """Resume the reply of a killed server: what was flushed comes, and that its producer is lost."""
    response = await client.get(f"{url}/stream/resume", params={"id": turn.stream_id})
    messages = SseParser().feed(response.content)
    assert [(message.event, message.data) for message in messages[-2:]] == [("error", "producer lost"), ("done", "")]
    assert text_of(messages) == flushed


def _flushed(database: Path) -> dict[str, str]:
    """Return the text of each stream as the file holds it, after checking the file."""
    connection = sqlite3.connect(database)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        texts = {row[0]: "" for row in connection.execute("SELECT id FROM aibind_stream_status")}
        for stream_id, data in connection.execute("SELECT id, data FROM aibind_stream_chunks ORDER BY id, seq"):
            texts[stream_id] += data.removeprefix("\x01")
    finally:
        connection.close()
    for text in texts.values():
        _count(text)
    return texts


def _count(text: str) -> int:
    """Return how many words a text has, which must be an unbroken count."""
    numbers = text.split()
    assert text == "".join(f"{number} " for number in range(len(numbers)))
    return len(numbers)
