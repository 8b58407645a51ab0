"""The Worker of the benchmark of engines: an object with replies, whose operations are counted as they are billed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from workers import Response, WorkerEntrypoint

from aibind.cloudflare import DurableStreamObject, ObjectRouter
from aibind.cloudflare.durable_object import DurableObjectClient
from aibind.cloudflare.object_engine import ObjectEngine
from aibind.models import ModelRequest
from aibind.sqlite import SqliteResult
from benchmarks.support.reply import PacedModel

_counts: defaultdict[str, int] = defaultdict(int)
"""Of all objects of the isolate, which runs one after another."""

_run = DurableObjectClient._run
_set_alarm = ObjectEngine._set_alarm


def _counted_run(self: DurableObjectClient, sql: str, parameters: list[Any]) -> SqliteResult:
    result = _run(self, sql, parameters)
    _counts["statements"] += 1
    _counts["rows_read"] += result.rows_read
    _counts["rows_written"] += result.rows_written
    return result


def _counted_set_alarm(self: ObjectEngine, due_ms: int) -> None:
    before = self._alarm_at
    _set_alarm(self, due_ms)
    if self._alarm_at != before:
        _counts["rows_written"] += 1  # as an alarm is billed


DurableObjectClient._run = _counted_run  # type: ignore[method-assign]
ObjectEngine._set_alarm = _counted_set_alarm  # type: ignore[method-assign]


class Chat(DurableStreamObject):
    """Answers ``TOKENS RATE``."""

    stream_ttl_ms = 1_000

    def make_model(self) -> Any:
        return self.say

    async def say(self, request: ModelRequest) -> AsyncIterator[str]:
        tokens, rate = str(request.messages[-1]["content"]).split()
        async for token in PacedModel(int(tokens), float(rate)).stream():
            yield token

    async def alarm(self, alarm_info: Any = None) -> None:
        _counts["alarms"] += 1
        await super().alarm(alarm_info)


class Default(WorkerEntrypoint):  # type: ignore[misc]  # its base is known inside workerd alone
    async def fetch(self, request: Any) -> Any:
        path = urlsplit(request.url).path
        if path == "/counts":
            return Response(json.dumps(_counts))
        return await ObjectRouter(self.env.CHATS).fetch(request)
