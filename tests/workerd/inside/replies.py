"""An object's replies, for the tests of how long they live, and of what keeps their object awake."""

from __future__ import annotations

import json
import time
from typing import Any

from workers import Response, import_from_javascript, wait_until

from aibind.cloudflare import wrap_durable_object
from aibind.sqlite import SqliteStreamStore, migrate
from aibind.streams import DurableStream

from .service import model, send
from .timers import COUNTER

__all__ = ["Replies"]

STREAM_ID = "reply"

ALARM_S = 30
"""Seconds between the alarms of an object: workerd evicts one 70 to 140 s after its last event."""

_timers = import_from_javascript("cloudflare:workers").env.UNSAFE_EVAL.eval(f"({COUNTER})")
"""Counts the timers of the whole isolate from now on."""


class Replies:
    """One reply of one object."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self._sql = storage.sql
        self._sql.exec("CREATE TABLE IF NOT EXISTS constructions (at REAL)")
        self._sql.exec("INSERT INTO constructions VALUES (0)")
        self._client = wrap_durable_object(storage)
        self._store = SqliteStreamStore(self._client)

    async def serve(self, action: str, asked: dict[str, Any]) -> Any:
        """Begin the reply, send it again from its start, or tell how the object lives."""
        await migrate(self._client)
        if action == "begin":
            if asked["leftover_s"]:
                _leave_a_timer(asked["leftover_s"])
            if asked["alarms"]:
                await self._set_alarm()
            stream = await DurableStream.create(
                self._store,
                model(asked["tokens"], asked["rate"]),
                stream_id=STREAM_ID,
                keep_alive=wait_until if asked["keep_alive"] else None,
            )
            return await send(stream.response())
        if action == "resume":
            return await send(await DurableStream.resume(self._store, STREAM_ID))
        status = await self._store.get_status(STREAM_ID)
        life = {
            "constructions": self._sql.exec("SELECT count(*) AS n FROM constructions").one()["n"],
            "state": status.state if status else None,
            "pending": _timers.pending(),
        }
        return Response(json.dumps(life), headers={"Content-Type": "application/json"})

    async def alarm(self) -> None:
        """Come again while the reply is under way: an event is what keeps the object in memory."""
        status = await self._store.get_status(STREAM_ID)
        if status is not None and status.state == "active":
            await self._set_alarm()

    async def _set_alarm(self) -> None:
        await self._storage.setAlarm(time.time() * 1000 + ALARM_S * 1000)


def _leave_a_timer(delay_s: float) -> None:
    """Make a timer that nothing clears, as a cancelled one was before aibind cleared it."""
    from js import setTimeout
    from pyodide.ffi import create_once_callable

    setTimeout(create_once_callable(lambda: None), delay_s * 1000)
