"""Bindings that fail as told: D1's, which then is the real one, and any that JavaScript can say."""

from __future__ import annotations

from typing import Any

from .bench import Bench


def javascript(bench: Bench, expression: str) -> Any:
    """Evaluate JavaScript, which only the rig allows."""
    return bench.raw.UNSAFE_EVAL.eval(f"({expression})")


class FailingDatabase:
    """Rejects call after call with an error for each of ``messages``, then passes on to ``database``."""

    def __init__(self, messages: list[str], database: Any) -> None:
        self._messages = list(messages)
        self._database = database
        self.calls = 0

    def prepare(self, sql: str) -> Any:
        from pyodide.ffi import create_proxy

        statement = self._database.prepare(sql)
        run = statement.all

        async def run_all() -> Any:
            await self._fail()
            return await run()

        statement.all = create_proxy(run_all)
        return statement

    async def batch(self, statements: Any) -> Any:
        await self._fail()
        return await self._database.batch(statements)

    async def _fail(self) -> None:
        from js import Error, Promise

        self.calls += 1
        if self._messages:
            await Promise.reject(Error.new(self._messages.pop(0)))
