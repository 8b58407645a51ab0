"""Models for tests: they say what they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from aibind.errors import ModelError
from aibind.models import ModelEvent, ModelRequest, TextDelta, Usage

ENDLESS = tuple(f"{number} " for number in range(100_000))
"""More words than are given before a test ends what gives them, however slow the machine is."""

PATIENCE_S = 60
"""Seconds that a test may wait for what happens at once on an idle machine."""


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


class ScriptedModel:
    """Answers every request with the same events, ``rate`` a second (0: at once); remembers what it was asked."""

    def __init__(self, *events: str | ModelEvent | Exception, rate: float = 0, usage: Usage | None = None) -> None:
        self._events: Sequence[str | ModelEvent | Exception] = events
        self._rate = rate
        self._usage = usage
        self.requests: list[ModelRequest] = []
        self.closed = 0
        self.given = 0

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        self.requests.append(request)
        try:
            for event in self._events:
                if self._rate:
                    await asyncio.sleep(1 / self._rate)
                if isinstance(event, Exception):
                    raise event
                self.given += 1
                yield TextDelta(event) if isinstance(event, str) else event
            if self._usage is not None:
                yield self._usage
        finally:
            await asyncio.sleep(0)
            self.closed += 1


class GatedModel:
    """Repeats the question when ``gate`` opens; a question that begins with "fail" is not answered at all."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        await self.gate.wait()
        question = request.messages[-1]["content"]
        if question.startswith("fail"):
            raise ModelError("no")
        yield TextDelta(f"re: {question}")
