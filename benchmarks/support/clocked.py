"""Tokens that say when they were made, and what a reader of them finds."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

__all__ = ["ClockedText", "clocked_tokens", "now_us", "stamp"]

_STAMP = re.compile(rb"@(\d+);")


def now_us() -> int:
    """Return the time in microseconds, by the clock that all processes of this machine share since it was started."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def stamp(time_us: int) -> str:
    """Make a token, about as long as tokens are together with a word."""
    return f"@{time_us};"


async def clocked_tokens(count: int, rate: float, *, due: bool = False) -> AsyncIterator[str]:
    """Yield ``count`` tokens, ``rate`` a second, each with the time at which it was made.

    Tokens come by the clock, as from a model elsewhere: a late reader gets several at once, as they are in the socket's
    buffer by then. With ``due`` a token carries the time at which it was due, so that a busy event
    loop cannot hide that it took the token late (that adds about half a millisecond, as asyncio's timers are rounded up
    to the next millisecond). With a rate of 0 they come as fast as they are taken.
    """
    began = now_us()
    for number in range(count):
        due_us = now_us()
        if rate:
            due_us = began + round(number * 1_000_000 / rate)
            wait_us = due_us - now_us()
            if wait_us > 0:
                await asyncio.sleep(wait_us / 1_000_000)
        else:
            await asyncio.sleep(0)
        yield stamp(due_us if due else now_us())


class ClockedText:
    """Finds the stamps in bytes as they arrive, cut anywhere, and notes how old each is."""

    def __init__(self) -> None:
        self.delays_ms: list[float] = []
        self._rest = b""

    def take(self, data: bytes, arrived_us: int) -> None:
        """Take bytes that arrived at a time."""
        data = self._rest + data
        end = 0
        for found in _STAMP.finditer(data):
            self.delays_ms.append((arrived_us - int(found[1])) / 1000)
            end = found.end()
        self._rest = data[max(end, len(data) - 24) :]
