"""A chat server in one file: FastAPI, replies that outlive their reader, conversations in SQLite.

python examples/server.py --port 8000 --database chat.db
curl -N http://127.0.0.1:8000/__aibind__/stream -d '{"prompt": "Hello", "sessionId": "me"}'
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from aibind.models import EchoModel, Model, OpenAIModel
from aibind.server import StreamHandler, create_app
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3


def make_model() -> Model:
    """Return a model at the endpoint that the environment names, or the offline model."""
    base_url, name = os.environ.get("MODEL_URL"), os.environ.get("MODEL_NAME")
    if base_url and name:
        return OpenAIModel(name, base_url=base_url, api_key=os.environ.get("MODEL_KEY"))
    return EchoModel()


def make_app(database: str | Path) -> FastAPI:
    """Return the app of a server that keeps everything in one database file."""
    client = wrap_sqlite3(database)
    streams = SqliteStreamStore(client)
    conversations = SqliteMessageStore(client)
    handler = StreamHandler(
        model=make_model(),
        resumable=True,
        store=streams,
        conversations=conversations,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with client:
            await migrate(client)
            async with handler.running(grace_s=10):  # at SIGTERM, replies have 10 s to end; what is left is stored
                yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/__aibind__", create_app(handler))

    @app.get("/sessions/{session_id}")
    async def read_session(session_id: str) -> list[dict[str, object]]:
        """Return the messages of a conversation, which a page needs when it is opened."""
        return (await conversations.load(session_id)).messages

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--database", default="chat.db")
    options = parser.parse_args()
    uvicorn.run(make_app(options.database), port=options.port, timeout_graceful_shutdown=20)
