"""Reading replies over connections that break after 1,000 bytes and more, until they are whole."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from aibind.models import ModelEvent, ReasoningDelta, TextDelta, ToolCall
from aibind.server import StreamHandler, create_app
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import SseParser
from tests.support.http import ALL_EVENTS, serve
from tests.support.models import ScriptedModel

from .proxy import cutting_proxy

LIMITS = (1000, 2000, 3000)
"""Bytes of the body, with the marks of its transfer encoding, after which a connection breaks."""

PIECES = {
    "words": ["river ", "rises ", "and ", "falls\n", "in the ", "\n\n"],
    "Chinese": ["漢字", "かな", "。", "\n"],
    "emoji": ["👋🏽", "👨‍👩‍👧‍👦", "🇩🇪", "e\u0301"],
    "line ends": ["\n", "\r\n", "\n\n"],
    "mixed": [" ", "  ", "a", "é", "字", "👋", "\n", ":", "data: ", "\u2028", "\x01"],
}


@dataclass(frozen=True)
class Read:
    """A reply that was read to its end, and how."""

    text: str
    reasoning: str
    calls: int
    connections: int
    stuck: int
    """Connections that brought no message."""


def make_text(kind: str, chars: int, seed: int) -> str:
    """Make a text of a kind, of so many characters."""
    pieces, generator = PIECES[kind], random.Random(f"{kind} {seed}")
    return "".join(generator.choice(pieces) for _ in range(chars))[:chars]


async def read_in_pieces(url: str) -> Read:
    """Ask, and resume over a new connection after each that broke, until ``done``."""
    text = reasoning = ""
    stream_id, last_id, connections, stuck, calls = "", "0", 0, 0, 0
    async with httpx2.AsyncClient(base_url=url + "/__aibind__", trust_env=False, timeout=60) as client:
        while True:
            method, path = (
                ("GET", f"/stream/resume?id={stream_id}&after={last_id}") if stream_id else ("POST", "/stream")
            )
            connections += 1
            before = last_id
            parser = SseParser()
            question = None if stream_id else {"prompt": "hi"}
            try:
                async with client.stream(
                    method, path, headers={**ALL_EVENTS, "Connection": "close"}, json=question
                ) as response:
                    response.raise_for_status()
                    stream_id = response.headers["x-stream-id"]
                    async for data in response.aiter_raw():
                        for message in parser.feed(data):
                            if message.event == "done":
                                return Read(text, reasoning, calls, connections, stuck)
                            if message.event == "stream-id":
                                continue
                            last_id = message.id
                            text += message.data if not message.event else ""
                            reasoning += message.data if message.event == "reasoning" else ""
                            calls += message.event == "tool_call"
            except httpx2.RemoteProtocolError:
                pass  # it broke
            stuck += last_id == before
            if stuck > 3:
                raise AssertionError(f"three connections brought nothing after {last_id}")


@asynccontextmanager
async def serving(events: list[ModelEvent | str], file: Path, rate: float = 0) -> AsyncIterator[str]:
    """Serve a reply that is stored in a file, at once or at ``rate`` events a second."""
    async with wrap_sqlite3(file) as client:
        await migrate(client)
        model = ScriptedModel(*events, rate=rate)
        handler = StreamHandler(model=model, resumable=True, store=SqliteStreamStore(client))
        async with serve(create_app(handler)) as url:
            yield url


async def read_over_cut_links(
    kind: str, chars: int, limit: int, file: Path, seed: int = 0, *, live: bool = False
) -> Read:
    """Read a reply over connections that break after ``limit`` bytes, and check that it is exact.

    It is reasoning, a call of a tool and text, of ``chars`` characters each: in one piece each, or (``live``) in many,
    while it is read.
    """
    text, thought = make_text(kind, chars, seed), make_text(kind, chars, seed + 1)
    size = 40 if live else chars
    events: list[ModelEvent | str] = [ReasoningDelta(thought[at : at + size]) for at in range(0, chars, size)]
    events.append(ToolCall("1", "look", "{}"))
    events += [TextDelta(text[at : at + size]) for at in range(0, chars, size)]
    async with serving(events, file, 2000 if live else 0) as url, cutting_proxy(url, limit) as proxy:
        read = await read_in_pieces(proxy)
    for got, sent in ((read.text, text), (read.reasoning, thought)):
        expected = sent.replace("\r\n", "\n").replace("\r", "\n")
        assert got == expected, f"{kind} after {limit} bytes: {len(got)} characters of {len(expected)}"
    assert read.calls == 1
    return read
