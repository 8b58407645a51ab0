"""An event loop whose clock jumps to the next timer when nothing else is to be done: ten minutes pass in seconds.

For counting, not for timing. Nothing may run on threads: use ``wrap_sqlite3(…, threads=False)``.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run_in_virtual_time"]

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Never waits; says how long it should have."""

    passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        found: list[Any] = super().select(0)
        if not found:
            if timeout is None:
                raise RuntimeError("Everything waits, and nothing will ever happen")
            self.passed_s += max(timeout, 0)
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.passed_s


def run_in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as ``asyncio.run`` does."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)
