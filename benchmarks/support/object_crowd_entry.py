"""The Workers of the benchmark ``objects``: an object that streams, and two Workers that lead requests to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from workers import Response, WorkerEntrypoint

from aibind._time import sleep
from aibind.cloudflare import DurableStreamObject, ObjectRouter
from aibind.models import ModelRequest


class Chat(DurableStreamObject):
    """Answers ``COUNT RATE`` with so many words, each of which is the time at which it was said.

    With ``COUNT RATE wait`` it waits before the first until it is told to go on.
    """

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.may_go = asyncio.Event()
        self.closed_at = 0.0
        self.statements = 0
        self.rows_written = 0
        client = self._engine.store.client
        run = client._run

        def counted(*args: Any) -> Any:
            result = run(*args)
            self.statements += 1
            self.rows_written += result.rows_written
            return result

        setattr(client, "_run", counted)  # noqa: B010  # mypy forbids to assign to a method

    def make_model(self) -> Any:
        return self.say

    async def say(self, request: ModelRequest) -> AsyncIterator[str]:
        count, rate, *wait = str(request.messages[-1]["content"]).split()
        if wait:
            await self.may_go.wait()
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            for number in range(int(count)):
                await sleep(began + number / float(rate) - clock())
                yield f"@{time.time() * 1000:.1f} "
        finally:
            self.closed_at = time.time() * 1000

    async def go(self) -> None:
        self.may_go.set()

    async def look(self) -> dict[str, float]:
        return {"closed_at": self.closed_at, "statements": self.statements, "rows_written": self.rows_written}


class Default(WorkerEntrypoint):  # type: ignore[misc]  # its base is known inside workerd alone
    async def fetch(self, request: Any) -> Any:
        path = urlsplit(request.url).path
        chat = self.env.CHATS.getByName(path.rpartition("/")[2])
        if path.startswith("/go/"):
            await chat.go()
            return Response("null")
        if path.startswith("/look/"):
            return Response(json.dumps(await chat.look()))
        return await ObjectRouter(self.env.CHATS).fetch(request)
