"""The Worker of the tests of DurableStreamObject: an object whose model says numbered words, and a router before it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from workers import Response, WorkerEntrypoint

from aibind._time import sleep
from aibind.cloudflare import (
    DurableObjectStreamStore,
    DurableStreamObject,
    ObjectRouter,
    OpenAIFetchModel,
    SessionIndex,
)
from aibind.models import ModelRequest
from aibind.server import StreamHandler


class Chat(DurableStreamObject):
    """Answers ``COUNT RATE`` with so many words at so many a second, each with the time at which it was said.

    With ``COUNT RATE SIZE`` each is followed by so many characters of four bytes.
    """

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.asked = 0
        self.closed_at: float | None = None
        self.made_at = time.time() * 1000

    def make_model(self) -> Any:
        return self.say

    async def say(self, request: ModelRequest) -> AsyncIterator[str]:
        self.asked += 1
        count, rate, size = (*str(request.messages[-1]["content"]).split(), "0")[:3]
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            for number in range(int(count)):
                await sleep(began + number / float(rate) - clock())
                yield f"word{number}@{time.time() * 1000:.0f}{'👋' * int(size)} "
        finally:
            self.closed_at = time.time() * 1000

    async def look(self) -> dict[str, Any]:
        """Tell what the object has, and what it has done since it came to life."""
        streams = await self._engine.store.active_streams()
        return {
            "active": [one.stream_id for one in streams],
            "asked": self.asked,
            "closed_at": self.closed_at,
            "made_at": self.made_at,
            "repr": [repr(self), repr(ObjectRouter(self.env.CHATS, prefix="/p"))],
            "stores": [
                repr(DurableObjectStreamStore(self.env.CHATS, "s")),
                repr(SessionIndex(self._engine.store.client)),
            ],
            "feeds": [
                {"crowds": [len(crowd) for crowd in feed._crowds.values()], "alone": len(feed._alone)}
                for feed in self._engine._feeds.values()
            ],
        }

    async def tables(self) -> list[str]:
        """Name the tables in the object's SQLite."""
        rows = self.ctx.storage.sql.exec("SELECT name FROM sqlite_schema WHERE name LIKE 'aibind%'").toArray()
        return [row["name"] for row in rows]

    async def crash(self) -> None:
        self.ctx.abort("as asked")


class Brief(Chat):
    """Keeps no conversations, and replies for a moment."""

    prefix = "/brief"
    stream_ttl_ms = 500

    def make_handler(self, **options: Any) -> StreamHandler:
        return super().make_handler(**{**options, "conversations": None})


class Continued(Chat):
    """Answers by background responses of the endpoint that the system prompt names."""

    prefix = "/continued"

    def make_handler(self, **options: Any) -> StreamHandler:
        return StreamHandler(choose_model=self.ask_endpoint, **options)

    def ask_endpoint(self, request: ModelRequest) -> OpenAIFetchModel:
        assert request.system is not None
        return OpenAIFetchModel("any", base_url=request.system, api="responses", background=True)


class Bare(DurableStreamObject):
    """Has no model."""


class Default(WorkerEntrypoint):  # type: ignore[misc]  # its base is known inside workerd alone
    async def fetch(self, request: Any) -> Any:
        path = urlsplit(request.url).path
        if path.startswith("/object/"):
            _, _, binding, name, method = path.split("/")
            return Response(json.dumps(await getattr(getattr(self.env, binding).getByName(name), method)()))
        if path.startswith("/bare/"):
            return await self.env.BARE.getByName("one").fetch(request)
        if path.startswith("/brief/"):
            return await ObjectRouter(self.env.BRIEF, prefix="/brief").fetch(request)
        if path.startswith("/continued/"):
            return await ObjectRouter(self.env.CONTINUED, prefix="/continued").fetch(request)
        return await ObjectRouter(self.env.CHATS).fetch(request)
