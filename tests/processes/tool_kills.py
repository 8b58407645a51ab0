"""kill -9 of a server in the rounds of turns that call tools: what was flushed of them is in the conversation."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx2

from aibind.server.recovery import read_reply
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, wrap_sqlite3
from aibind.streams import StreamEvent
from tests.processes.support import run_server
from tests.support.endpoint import Endpoint, Exchange, Reply, texts
from tests.support.tools import call_round, since_question

__all__ = ["KilledRounds", "kill_in_rounds"]

LEASE_MS = 800
ROUNDS = 50
TURNS = 4


@dataclass(slots=True)
class KilledRounds:
    """What was flushed of turns with tools whose server was killed, and what is not in their conversations."""

    turns: int = 0
    results: int = 0
    words: int = 0
    wrong: list[str] = field(default_factory=list[str])


async def kill_in_rounds(kills: int, seed: int = 0) -> KilledRounds:
    """Kill a server so many times while turns call tools, and compare what is recovered with what was flushed."""
    random = Random(seed)
    result = KilledRounds()
    for _ in range(kills):
        with tempfile.TemporaryDirectory() as folder:
            await _kill(Path(folder) / "chat.db", random.uniform(0.05, 0.8), result)
    return result


def _script(exchange: Exchange) -> Reply:
    messages = exchange.body["messages"]
    if messages[-1]["content"] == "And now?":
        return Reply(texts("Nothing."))
    number = 1 + sum(message["role"] == "assistant" for message in since_question(messages))
    return Reply(call_round(number, calls=1 + number % 3), delay_s=0.005)


async def _kill(database: Path, kill_after_s: float, result: KilledRounds) -> None:
    sessions = [f"session {number}" for number in range(TURNS)]
    stream_ids: dict[str, str] = {}
    async with Endpoint(_script) as endpoint, httpx2.AsyncClient(trust_env=False, timeout=60) as client:
        options: dict[str, Any] = {"lease_ms": LEASE_MS, "messages": True, "endpoint": endpoint.base_url}
        with run_server(database, **options) as (process, url):
            asking = [asyncio.create_task(_ask(client, url, session, stream_ids)) for session in sessions]
            while len(stream_ids) < TURNS:
                await asyncio.sleep(0.005)
            await asyncio.sleep(kill_after_s)
            process.kill()
            process.wait()
            await asyncio.gather(*asking)
        async with wrap_sqlite3(database) as local:
            streams = SqliteStreamStore(local)
            flushed = {session: (await read_reply(streams, stream_ids[session])).events for session in sessions}
        with run_server(database, **options) as (_, url):
            await asyncio.sleep(LEASE_MS / 1000 + 0.1)
            await asyncio.gather(*(_ask(client, url, session, {}, "And now?") for session in sessions))
        async with wrap_sqlite3(database) as local:
            store = SqliteMessageStore(local)
            for session in sessions:
                _compare(session, flushed[session], (await store.load(session)).messages, result)


async def _ask(
    client: httpx2.AsyncClient, url: str, session: str, stream_ids: dict[str, str], prompt: str = "What is there?"
) -> None:
    body = {"prompt": prompt, "sessionId": session, "toolset": "eyes", "maxSteps": ROUNDS}
    try:
        async with client.stream("POST", f"{url}/stream", json=body) as response:
            stream_ids[session] = response.headers["x-stream-id"]
            async for _ in response.aiter_raw():
                pass
    except httpx2.HTTPError:
        pass  # the server was killed


def _compare(session: str, flushed: tuple[StreamEvent, ...], messages: list[Any], result: KilledRounds) -> None:
    """Compare the text, the calls and the results that the stream held with those of the conversation."""
    named = [(event.event, json.loads(event.data)) for event in flushed if event.event.startswith("tool_")]
    expected = (
        "".join(event.data for event in flushed if not event.event),
        [data["id"] for name, data in named if name == "tool_call"],
        [data["id"] for name, data in named if name == "tool_result"],
    )
    answer = messages[1:-2]
    stored = (
        "".join(message["content"] for message in answer if message["role"] == "assistant"),
        [call["id"] for message in answer for call in message.get("tool_calls", ())],
        [message["tool_call_id"] for message in answer if message["role"] == "tool"],
    )
    said = [messages[0]["content"], *(message["content"] for message in messages[-2:])]
    if expected != stored or said != ["What is there?", "And now?", "Nothing."]:
        result.wrong.append(f"{session}: {stored} is stored of {expected}, in {said}")
    result.turns += 1
    result.results += len(expected[2])
    result.words += len(expected[0].split())
