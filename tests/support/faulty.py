"""A connection to a real database that loses calls and answers, as a network does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Literal

from aibind.errors import SqliteTransientError
from aibind.sqlite import SqliteClient, SqliteResult, SqliteValue, Statement


class FaultyClient:
    """Passes calls on. Each fault of ``plan`` befalls one writing call: ``call`` never arrives, ``answer`` is lost.

    With ``chance``, any call may be struck at random (seeded). ``latency_s`` is added to every call. While ``down``
    none arrives; when ``held`` is an event, all wait for it.
    """

    def __init__(
        self,
        client: SqliteClient,
        *,
        plan: Sequence[Literal["call", "answer", "ok"]] = (),
        chance: float = 0.0,
        seed: int = 0,
        latency_s: float = 0.0,
    ) -> None:
        self._client = client
        self.plan = list(plan)
        self.down = False
        self.held: asyncio.Event | None = None
        self.calls = 0
        self._chance = chance
        self._random = random.Random(seed)
        self._latency_s = latency_s

    @property
    def shares_wakeups(self) -> bool:
        return self._client.shares_wakeups

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        return (await self._pass([Statement(sql, args)], reading=sql.startswith("SELECT"), single=True))[0]

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        return await self._pass(statements, reading=False, single=False)

    async def _pass(self, statements: Sequence[Statement], *, reading: bool, single: bool) -> list[SqliteResult]:
        self.calls += 1
        fault = "ok" if reading or not self.plan else self.plan.pop(0)
        if self._random.random() < self._chance:
            fault = self._random.choice(["call", "answer"])
        if self.held is not None:
            await self.held.wait()
        await asyncio.sleep(self._latency_s)
        if self.down or fault == "call":
            raise SqliteTransientError("Network connection lost", statements[0].sql)
        if single:
            results = [await self._client.execute(statements[0].sql, statements[0].args)]
        else:
            results = await self._client.batch(statements)
        if fault == "answer":
            raise SqliteTransientError("Network connection lost", statements[0].sql)
        return results
