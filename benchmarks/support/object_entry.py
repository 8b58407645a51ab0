"""The Worker of the benchmark of engines: an object with replies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from workers import WorkerEntrypoint

from aibind.cloudflare import DurableStreamObject, ObjectRouter
from aibind.models import ModelRequest
from benchmarks.support.reply import PacedModel


class Chat(DurableStreamObject):
    """Answers ``TOKENS RATE``."""

    stream_ttl_ms = 1_000

    def make_model(self) -> Any:
        return self.say

    async def say(self, request: ModelRequest) -> AsyncIterator[str]:
        tokens, rate = str(request.messages[-1]["content"]).split()
        async for token in PacedModel(int(tokens), float(rate)).stream():
            yield token


class Default(WorkerEntrypoint):  # type: ignore[misc]  # its base is known inside workerd alone
    async def fetch(self, request: Any) -> Any:
        return await ObjectRouter(self.env.CHATS).fetch(request)
