"""Assembly of the demo: a database, the stores in it, a model, a handler and the app."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models import Model
from ..server import StreamHandler
from ..sqlite.driver import wrap_sqlite3
from ..sqlite.message_store import SqliteMessageStore
from ..sqlite.schema import migrate
from ..sqlite.stream_store import SqliteStreamStore
from .app import build_app
from .guard import App
from .tools import TOOLSETS

__all__ = ["Demo", "open_demo"]

STREAM_TTL_MS = 24 * 60 * 60 * 1000
"""Milliseconds that a finished stream is kept, so that a page which was away for a day resumes it."""

LEASE_MS = 4_000
"""A short lease, since the database is a local file: the page learns after 4 s that a server was killed."""

MAX_MESSAGES = 100
"""The limit of the messages that the model sees before the question."""


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
        streams = SqliteStreamStore(client, ttl_ms=STREAM_TTL_MS, lease_ms=LEASE_MS)
        handler = StreamHandler(
            model=model,
            resumable=True,
            store=streams,
            conversations=SqliteMessageStore(client),  # without a time to live: kept until they are deleted
            max_messages=MAX_MESSAGES,
            toolsets=TOOLSETS,
        )
        async with handler.running(grace_s=0):
            yield Demo(build_app(handler, about, local=local), handler)
