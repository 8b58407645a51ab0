"""Turns through :class:`~aibind.server.StreamHandler`, as browsers ask for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aibind.models import ModelRequest, TextDelta
from aibind.server import StreamHandler
from aibind.sqlite import SqliteConversationStore, SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3

__all__ = ["ask", "open_handler"]

TOKENS = ("first", " and", " last")
STORES = {"ours": SqliteMessageStore, "json_table": SqliteConversationStore}


class AnswersAtOnce:
    """A model that makes its tokens without waiting."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta]:
        """Answer a request."""
        assert request.messages
        for token in TOKENS:
            yield TextDelta(token)


@asynccontextmanager
async def open_handler(kind: str, path: Path, synchronous: Any, seen: int) -> AsyncIterator[StreamHandler]:
    """Serve conversations and durable streams from one file."""
    async with wrap_sqlite3(path, synchronous=synchronous) as client:
        await migrate(client)
        handler = StreamHandler(
            model=AnswersAtOnce(),
            resumable=True,
            store=SqliteStreamStore(client),
            conversations=STORES[kind](client),
            max_messages=seen,
        )
        try:
            yield handler
        finally:
            await handler.aclose()


async def ask(handler: StreamHandler, session_id: str, question: str) -> float:
    """Ask a question and read the answer, and return how long its first token took, in milliseconds."""
    began = time.perf_counter()
    body = (await handler.stream({"prompt": question, "sessionId": session_id})).body
    assert not isinstance(body, bytes)
    first_ms = None
    async for data in body:
        if first_ms is None and TOKENS[0].encode() in data:
            first_ms = (time.perf_counter() - began) * 1000
    assert first_ms is not None
    while handler.live_stream(session_id) is not None:
        await asyncio.sleep(0.001)  # its answer is being stored
    return first_ms
