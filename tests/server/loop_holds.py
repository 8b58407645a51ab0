"""For how long large requests hold the event loop: ``python -m tests.stalls large``."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibind.history import ChatHistory
from aibind.server import Endpoints, HttpResponse
from aibind.sqlite import SqliteMessageStore, migrate, wrap_sqlite3

from .stalls import open_endpoints


@dataclass(slots=True)
class Hold:
    """The longest turn of the loop in milliseconds: what its thread worked, and by the clock; and the time in all."""

    name: str
    cpu_ms: float = 0.0
    wall_ms: float = 0.0
    took_ms: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.name}: the loop worked {self.cpu_ms:.0f} ms in one turn ({self.wall_ms:.0f} by the clock),"
            f" {self.took_ms:,.0f} ms in all"
        )


@contextmanager
def held(name: str) -> Iterator[Hold]:
    """Note the longest turn of the loop within."""
    hold = Hold(name)

    async def tick() -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(0)
            now, worked = time.perf_counter(), time.thread_time()
            hold.wall_ms = max(hold.wall_ms, (now - wall) * 1000)
            hold.cpu_ms = max(hold.cpu_ms, (worked - cpu) * 1000)
            wall, cpu = now, worked

    started = time.perf_counter()
    ticking = asyncio.get_running_loop().create_task(tick())
    yield hold
    ticking.cancel()
    hold.took_ms = (time.perf_counter() - started) * 1000


def conversation(messages: int) -> bytes:
    """Return the JSON of a conversation with so many messages."""
    nodes = {
        f"m{number}": {
            "id": f"m{number}",
            "message": {"role": ("user", "assistant")[number % 2], "content": f"words {number}"},
            "parentId": f"m{number - 1}" if number else None,
            "children": [f"m{number + 1}"] if number < messages - 1 else [],
            "metadata": {},
            "createdAt": "2026-01-01T00:00:00.000Z",
        }
        for number in range(messages)
    }
    tree = {"version": 1, "nodes": nodes, "rootIds": ["m0"], "activeLeafId": f"m{messages - 1}"}
    return json.dumps(tree, separators=(",", ":")).encode()


async def large_requests(path: Path, messages: int, file_bytes: int) -> list[Hold]:
    """Import and export a conversation of so many messages, and send and export a file of so many bytes."""
    data = base64.b64encode(random.Random(1).randbytes(file_bytes)).decode()
    file = [{"mimeType": "image/png", "data": data}]
    asked = json.dumps({"prompt": "/short x", "sessionId": "file", "attachments": file}).encode()
    chat = json.dumps({"messages": [{"role": "user", "content": "/short x"}], "attachments": file}).encode()
    body = conversation(messages)
    holds: list[Hold] = []
    async with open_endpoints(path) as endpoints:

        async def ask(name: str, method: str, where: str, body: bytes = b"", status: int = 200) -> bytes:
            with held(name) as hold:
                reply = await _ask(endpoints, method, where, body, {"idempotency-key": name.replace(" ", "-")})
                assert reply.status == status, reply
                text = (
                    b"".join([part async for part in reply.body]) if not isinstance(reply.body, bytes) else reply.body
                )
            holds.append(hold)
            return text

        await ask(f"import of {messages:,} messages", "POST", "sessions/import?sessionId=s", body, 201)
        assert await ask(f"export of {messages:,} messages", "GET", "sessions/s/export") == body
        await ask("a turn with a file", "POST", "stream", asked)
        await ask("a request with a file", "POST", "chat", chat)
        exported = await ask("export with a file", "GET", "sessions/file/export")
        await ask("import with a file", "POST", "sessions/import?sessionId=t", exported, 201)
    return holds


async def _ask(
    endpoints: Endpoints, method: str, where: str, body: bytes, headers: Mapping[str, str]
) -> HttpResponse[Any]:
    async def read_body() -> bytes:
        return body

    path, _, query = where.partition("?")
    return await endpoints.answer(method, f"/__aibind__/{path}", query, headers if method == "POST" else {}, read_body)


async def large_session(path: Path, megabytes: int, max_messages: int | None = 20) -> list[Hold]:
    """Take small turns beside and in a session of so many megabytes, of which a model sees ``max_messages``."""
    async with _large_session(path, megabytes, max_messages) as ask:
        holds: list[Hold] = []
        for name, session_id in (("another session", "small"), ("it", "large")) * 3:
            with held(f"a turn beside or in a session of {megabytes} MB, in {name}") as hold:
                await ask(session_id)
            holds.append(hold)
        return holds


@asynccontextmanager
async def _large_session(
    path: Path, megabytes: int, max_messages: int | None
) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    text = "words " * 5_000  # 30 kB a message
    async with wrap_sqlite3(path) as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        chat = ChatHistory()
        for number in range(megabytes * 1_000_000 // len(text)):
            chat.append({"role": ("user", "assistant")[number % 2], "content": text})
            if number % 500 == 499:
                await store.save("large", chat)
        await store.save("large", chat)
    async with open_endpoints(path, max_messages) as endpoints:

        async def ask(session_id: str) -> None:
            body = json.dumps({"prompt": "/short x", "sessionId": session_id}).encode()
            reply = await _ask(endpoints, "POST", "stream", body, {})
            assert reply.status == 200
            assert not isinstance(reply.body, bytes)
            async for _ in reply.body:
                pass

        yield ask
