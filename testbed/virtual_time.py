"""An event loop whose clock jumps to the next timer when nothing else is to be done: an hour passes at once.

Every time in it is exact, however slow the machine is. What is given to an executor runs at once, and nothing else may
run on threads: use ``MemoryStreamStore``, or ``wrap_sqlite3(…, threads=False)``.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, TypeVarTuple
from unittest import mock

from aibind import _time

__all__ = ["in_virtual_time", "run_in_virtual_time", "suspend"]

T = TypeVar("T")
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")


class _Selector(selectors.DefaultSelector):
    """Never waits; adds up how long it should have."""

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
        self.clock = _Selector()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.passed_s

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Call ``func`` at once: time would jump ahead of a thread."""
        del executor
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def run_in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as ``asyncio.run`` does, on a loop in virtual time. ``time.time()`` keeps to the real clock."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in virtual time, with a ``time.time()`` that goes by the same clock."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            loop, began = asyncio.get_running_loop(), time.time()

            def now() -> float:
                return began + loop.time()

            with mock.patch("time.time", now), mock.patch.object(_time, "_clock", _time.SteadyClock(loop.time)):
                await test(*args, **kwargs)

        run_in_virtual_time(main())

    return run


def suspend(seconds: float) -> None:
    """Let time pass at once while nothing runs, as when the lid of a laptop is closed."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _Loop), "suspend() works in virtual time alone"
    loop.clock.passed_s += seconds
