"""Assembly of the demo: a database, the stores in it, a model, a handler and the app."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._time import sleep
from ..errors import AibindError
from ..models import Model
from ..server import StreamHandler
from ..sqlite.driver import wrap_sqlite3
from ..sqlite.message_store import SqliteMessageStore
from ..sqlite.schema import migrate
from ..sqlite.stream_store import SqliteStreamStore
from .app import build_app
from .catalogue import Catalogue, ListedConversations
from .chats import Chats
from .guard import App

__all__ = ["Demo", "open_demo"]

KEEP_MS = 30 * 24 * 60 * 60 * 1000
"""Milliseconds that a conversation is kept after its last message, and a stream, which has the reasoning: 30 days."""

LEASE_MS = 4_000
"""A short lease, since the database is a local file: the page learns after 4 s that a server was killed."""

SWEEP_INTERVAL_S = 600.0

MAX_MESSAGES = 100
"""The limit of the messages that the model sees before the question."""

logger = logging.getLogger("aibind")


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo: the app to serve, and the handler of its replies."""

    app: App
    handler: StreamHandler


@asynccontextmanager
async def open_demo(
    database: Path | str, model: Model, about: dict[str, Any], *, local: bool = True
) -> AsyncGenerator[Demo]:
    """Open the database and assemble the demo on it; close everything at the end. Raises SqliteError for a bad file."""
    async with wrap_sqlite3(database) as client:
        await migrate(client)
        catalogue = Catalogue(client)
        await catalogue.create_table()
        stored = SqliteMessageStore(client, ttl_ms=KEEP_MS)
        conversations = ListedConversations(stored, catalogue)
        streams = SqliteStreamStore(client, ttl_ms=KEEP_MS, lease_ms=LEASE_MS)
        handler = StreamHandler(
            model=model,
            resumable=True,
            store=streams,
            conversations=conversations,
            max_messages=MAX_MESSAGES,
        )
        chats = Chats(handler, streams, conversations, catalogue)

        async def sweep() -> None:
            await chats.recover()  # before what was recovered is swept
            await stored.cleanup()
            await streams.cleanup()
            await catalogue.prune(KEEP_MS)

        sweeping = asyncio.create_task(_sweep_regularly(sweep))
        try:
            yield Demo(build_app(handler, chats, about, local=local), handler)
        finally:
            sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeping
            await handler.aclose()


async def _sweep_regularly(sweep: Callable[[], Awaitable[None]]) -> None:
    while True:
        # Only after a lease: streams of a server that was killed a moment ago still look alive.
        await sleep(LEASE_MS / 1000)
        try:
            await sweep()
        except AibindError:
            logger.exception("The database could not be swept")
        await sleep(SWEEP_INTERVAL_S)
