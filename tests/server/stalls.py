"""Inputs made to hold the event loop: for each parser of the server, and for each endpoint, by seeds."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aibind.errors import AibindError
from aibind.history import ChatHistory
from aibind.models import EchoModel
from aibind.models.echo.json import example_value
from aibind.models.echo.tokens import Dice
from aibind.server import Endpoints, StreamHandler
from aibind.server.attachment_body import parse_attachments
from aibind.server.partial_json import MAX_PARTIAL_CHARS, parse_partial
from aibind.server.requests import parse_after
from aibind.server.session_requests import check_session_id, parse_cursor, parse_limit, parse_title
from aibind.server.session_titles import title_of
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import SseParser
from aibind.streams.events import decode_chunk

LARGE_CHARS = 256 * 1024
"""Characters of an input that repeats one piece."""

READ_BYTES = 64 * 1024
"""Bytes that a connection delivers at once."""

PIECES = [
    *(
        "a",
        " ",
        "\n",
        "\r",
        "\r\n",
        "\0",
        '"',
        "\\",
        '\\"',
        "\\u",
        "\\ud83d",
        "\\u0000",
        "\u2028",
        "\ud83d",
        "é",
        "👩🏽‍🚀",
    ),
    *(
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '{"a":',
        '{"a":1,',
        "[[",
        "[1,",
        '["a",',
        '{"a":[',
        "0",
        "9",
        "-",
        "1e9",
        "1e999",
        ".",
    ),
    *(
        "null",
        "true",
        "NaN",
        "tru",
        "data: x\n",
        "data:",
        "data\n",
        ":\n",
        "id: 1\n",
        "event: a\n",
        "\n\n",
        "retry: 1\n",
    ),
    *(
        "%",
        "%00",
        "%ff",
        "+",
        "/",
        "=",
        ";",
        "base64,",
        "data:a/b;base64,",
        "data:a/b,",
        "QUJD",
        "====",
        "`",
        "*",
        "#",
        "_ ",
    ),
    *(
        '{"type":"text","text":"',
        '{"version":1,"nodes":{',
        '"a":{"id":"a","message":{"role":"',
        '"content":"',
        '"children":[',
    ),
    *(
        '"parentId":null,',
        '"metadata":{',
        '"rootIds":[',
        '"activeLeafId":',
        '"createdAt":"',
        '{"$ref":"#"}',
        '{"type":"object",',
    ),
]
VALUES = [
    *(
        "null",
        "true",
        "1",
        "-1",
        "1.5",
        '""',
        '" "',
        '"x"',
        '"\\ud800"',
        '"\\u0000"',
        '"a\\r\\nb"',
        "9" * 400,
        "[]",
        "{}",
    ),
    *(
        "[null]",
        "[[]]",
        '["x"]',
        '{"a":1}',
        '"/short x"',
        '"user"',
        '"s"',
        '{"type":"object"}',
        '{"$ref":"#"}',
        "[" * 50,
    ),
    *('[{"role":"user","content":"x"}]', '[{"mimeType":"a/b","data":"QUJD"}]', '[{"mimeType":"a/b","url":"data:,x"}]'),
    *('{"type":"array","items":{"$ref":"#"}}', '{"anyOf":[{"$ref":"#"},{"type":"string"}]}', '"user x"', "2", "[1,2]"),
]
NAMES = {
    "stream": (
        "prompt",
        "sessionId",
        "system",
        "model",
        "edit",
        "regenerate",
        "attachments",
        "requestId",
        "onBusy",
        "tools",
    ),
    "structured": ("prompt", "schema", "system", "model", "requestId", "sessionId"),
    "chat": ("messages", "sessionId", "maxSteps", "toolset", "attachments", "model", "requestId"),
    "title": ("messages", "model"),
    "compact": ("messages", "sessionId", "model"),
    "complete": ("input", "system", "model"),
    "stream/stop": ("id", "requestId"),
    "sessions/import": ("version", "nodes", "rootIds", "activeLeafId", "unknown"),
    "sessions/s": ("title", "activeLeafId"),
}
QUERIES = {
    "sessions": ("limit", "before", "live"),
    "sessions/s": ("limit", "before"),
    "sessions/s/stream": ("after",),
    "sessions/s/export": (),
    "stream/resume": ("id", "after"),
}


@dataclass(slots=True)
class Findings:
    """The longest times of a campaign, in milliseconds, and what went wrong."""

    inputs: int = 0
    longest: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    faults: list[str] = field(default_factory=list[str])

    def add(self, ms: float, name: str) -> None:
        """Note how long an input held the loop."""
        self.inputs += 1
        self.longest = sorted([*self.longest, (ms, name)], reverse=True)[:10] if self._is_long(ms) else self.longest

    def _is_long(self, ms: float) -> bool:
        return len(self.longest) < 10 or ms > self.longest[-1][0]


# --- parsers ---


def _read_sse(text: str) -> object:
    parser = SseParser()
    data = text.encode("utf-8", "replace")
    return list(parser.feed(data[:READ_BYTES]))


def _example(text: str) -> object:
    schema: Any = json.loads(text)
    return example_value(schema, Dice("1"), ["word"]) if isinstance(schema, dict) else None


PARSERS: dict[str, Callable[[str], object]] = {
    "server-sent events": _read_sse,
    "stored chunk": decode_chunk,
    "conversation": ChatHistory.from_json,
    "partial JSON": lambda text: parse_partial(text[:MAX_PARTIAL_CHARS]),
    "schema": _example,
    "attachment": lambda text: parse_attachments([{"mimeType": "a/b", "url": f"data:{text}"}]),
    "base64": lambda text: parse_attachments([{"mimeType": "a/b", "data": text}]),
    "position": parse_after,
    "session id": check_session_id,
    "cursor": lambda text: parse_cursor({"before": [text]}),
    "limit": lambda text: parse_limit({"limit": [text]}),
    "title": lambda text: (title_of(text), parse_title(text)),
}


def large_texts() -> Iterator[tuple[str, str]]:
    """Yield a name and a text for each piece, repeated."""
    for piece in PIECES:
        yield f"{piece!r} repeated", piece * (LARGE_CHARS // len(piece))


def small_texts(seed: int, count: int) -> Iterator[tuple[str, str]]:
    """Yield a name and a text of some pieces, ``count`` times."""
    dice = random.Random(seed)
    for number in range(count):
        yield f"seed {seed}, text {number}", "".join(dice.choices(PIECES, k=dice.randint(1, 30)))


def try_parser(name: str, texts: Iterator[tuple[str, str]]) -> Findings:
    """Parse texts, and note how long each took, and every error that no caller expects."""
    found = Findings()
    parse = PARSERS[name]
    for label, text in texts:
        started = time.process_time()
        try:
            parse(text)
        except (AibindError, ValueError, RecursionError):
            pass  # refused, as it may be
        except Exception as error:
            found.faults.append(f"{name}, {label}: {error!r}")
        found.add((time.process_time() - started) * 1000, f"{name}, {label}")
    return found


# --- endpoints ---


@asynccontextmanager
async def open_endpoints(path: Path, max_messages: int | None = None) -> AsyncIterator[Endpoints]:
    """Serve conversations in a file."""
    async with wrap_sqlite3(path) as client:
        await migrate(client)
        handler = StreamHandler(
            model=EchoModel(tokens_per_second=0),
            resumable=True,
            store=SqliteStreamStore(client),
            conversations=SqliteMessageStore(client),
            max_messages=max_messages,
        )
        yield Endpoints(handler)
        await handler.aclose()


def requests(seed: int, count: int) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield a method, a path, a query and a body, ``count`` times."""
    dice = random.Random(seed)
    for _ in range(count):
        if dice.random() < 0.2:
            path = dice.choice(list(QUERIES))
            named = {name: "".join(dice.choices(PIECES, k=2)) for name in QUERIES[path] if dice.random() < 0.6}
            query = "&".join(f"{name}={quote(value, errors='replace')}" for name, value in named.items())
            yield "GET", path, query, b""
        else:
            path = dice.choice(list(NAMES))
            yield ("PATCH" if path == "sessions/s" else "POST"), path, "", _body(dice, NAMES[path])


def _body(dice: random.Random, names: tuple[str, ...]) -> bytes:
    if dice.random() < 0.1:
        return "".join(dice.choices(PIECES, k=dice.randint(0, 20))).encode("utf-8", "replace")
    members = [f'"{name}":{dice.choice(VALUES)}' for name in names if dice.random() < 0.5]
    if names[0] == "prompt" and dice.random() < 0.7:
        members.insert(0, '"prompt":"/short x"')
    return f"{{{','.join(members)}}}".encode()


async def try_endpoints(path: Path, seed: int, count: int) -> Findings:
    """Send requests, and note how long each held the loop, and every answer that says that the server failed."""
    found = Findings()
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest = max(longest, now - last)
            last = now

    async with open_endpoints(path) as endpoints:
        ticking = asyncio.create_task(tick())
        for number, (method, where, query, body) in enumerate(requests(seed, count)):
            longest = 0.0
            label = f"seed {seed}, request {number}: {method} {where}?{query} {body[:200]!r}"
            status, text = await _ask(endpoints, method, where, query, body)
            if status >= 500 or "The server failed" in text:
                found.faults.append(f"{label}: {status} {text[:200]}")
            found.add(longest * 1000, label)
        ticking.cancel()
    return found


async def _ask(endpoints: Endpoints, method: str, path: str, query: str, body: bytes) -> tuple[int, str]:
    async def read_body() -> bytes:
        return body

    reply = await endpoints.answer(method, f"/__aibind__/{path}", query, {}, read_body)
    if isinstance(reply.body, bytes):
        return reply.status, reply.body.decode()
    return reply.status, b"".join([part async for part in reply.body]).decode()
