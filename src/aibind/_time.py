"""The current time, which no change of the clock moves, and timers that behave the same in CPython and in Pyodide.

Pyodide's event loop refuses a timer whose moment passed between two calls (``Can't schedule in the past``), and leaves
a cancelled timer pending in JavaScript, where it keeps a Durable Object awake and billed. The timers here clamp the
first and clear the second. Use them instead of ``asyncio.sleep``, ``asyncio.timeout`` and ``loop.call_later``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextvars import copy_context
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, Self

__all__ = [
    "PyodideTimer",
    "Timeout",
    "Timer",
    "call_later",
    "earliest_ms",
    "latest_ms",
    "now_ms",
    "sleep",
    "timeout",
    "wait_for_event",
]

_MAX_TIMER_S = 2_000_000.0
"""Seconds that one timer waits at most: JavaScript fires a timer of more than 2**31 - 1 ms at once."""


_SLEW = 0.01
"""Seconds by which the steady clock follows the time of day in a second: an hour takes it four days."""

_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)

_MAX_DOUBT_S = 86_400.0
"""Seconds by which the time of day may be off the steady clock and still count: no entry is kept longer for it."""


def now_ms() -> int:
    """Return the time of day by the steady clock, in whole milliseconds since the epoch.

    It goes by elapsed time: when the time of day is set, this process goes on as before, and follows by 1 %. For what
    one process measures, and for leases, whose readers allow for clocks that differ.
    """
    return _clock.read()[0]


def latest_ms() -> int:
    """Return the steady or the set time of day, whichever is later: for deadlines that other processes may judge.

    The two differ by more than a moment only in a process that lived through a change of the clock.
    """
    return max(_clock.read())


def earliest_ms() -> int:
    """Return the steady or the set time of day, whichever is earlier: for judging what other processes wrote."""
    return min(_clock.read())


def _elapsed_s() -> float:
    """Return the seconds that have passed since some moment, those in which the machine was suspended included."""
    return time.clock_gettime(_BOOT_CLOCK) if _BOOT_CLOCK is not None else time.monotonic()


class SteadyClock:
    """The time of day when it was first read, and the time that has elapsed since.

    In Pyodide it is the time of day: an isolate may be restored from a snapshot of its memory, in which no time
    elapses, and the clocks of its machines are kept right.
    """

    def __init__(self, elapsed_s: Callable[[], float] = _elapsed_s) -> None:
        self._elapsed_s = elapsed_s
        self._last: tuple[float, float] | None = None  # elapsed, steady: replaced as one, since threads share it

    def read(self) -> tuple[int, int]:
        """Return the steady time, and the time of day as far as it counts, in milliseconds since the epoch."""
        wall_s = time.time()
        if sys.platform == "emscripten":
            return int(wall_s * 1000), int(wall_s * 1000)
        elapsed_s = self._elapsed_s()
        if self._last is None:
            steady_s = wall_s
        else:
            passed_s = elapsed_s - self._last[0]
            follows_s = abs(passed_s) * _SLEW
            steady_s = self._last[1] + passed_s
            steady_s += max(-follows_s, min(wall_s - steady_s, follows_s))
        self._last = elapsed_s, steady_s
        wall_s = max(steady_s - _MAX_DOUBT_S, min(wall_s, steady_s + _MAX_DOUBT_S))
        return int(steady_s * 1000), int(wall_s * 1000)


_clock = SteadyClock()


class Timer(Protocol):
    """A callback that is due later."""

    def cancel(self) -> None:
        """Keep the callback from being called, and free what the event loop holds for it."""
        ...


def call_later(delay_s: float, callback: Callable[..., object], *args: Any) -> Timer:
    """Call ``callback`` in ``delay_s`` seconds; at once, after the current callback, when that is not positive.

    A wait of more than 23 days ends early.
    """
    loop = asyncio.get_running_loop()
    if delay_s <= 0:
        return loop.call_soon(callback, *args)
    if sys.platform == "emscripten":
        return PyodideTimer(loop, delay_s, callback, args)
    return loop.call_later(min(delay_s, _MAX_TIMER_S), callback, *args)


async def sleep(delay_s: float) -> None:
    """Wait for ``delay_s`` seconds; let other tasks run once when that is not positive."""
    if delay_s <= 0:
        await asyncio.sleep(0)
        return
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = call_later(delay_s, _resolve, done)
    try:
        await done
    finally:
        timer.cancel()


async def wait_for_event(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for an event, ``timeout_s`` seconds at most; return whether it is set."""
    try:
        async with timeout(timeout_s):
            return await event.wait()
    except TimeoutError:
        return event.is_set()


def timeout(delay_s: float | None) -> Timeout:
    """Return a context manager that cancels its body after ``delay_s`` seconds and raises TimeoutError.

    None never expires. The semantics are those of :func:`asyncio.timeout`.
    """
    return Timeout(delay_s)


class Timeout:
    """The context manager of :func:`timeout`."""

    def __init__(self, delay_s: float | None) -> None:
        self._delay_s = delay_s
        self._task: asyncio.Task[Any] | None = None
        self._timer: Timer | None = None
        self._cancelling = 0
        self._expired = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("A timeout needs a running task")
        self._cancelling = self._task.cancelling()
        if self._delay_s is not None:
            self._timer = call_later(self._delay_s, self._expire)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._expired or self._task is None:
            return
        ours = self._task.uncancel() <= self._cancelling  # else another cancellation arrived, and goes on
        if ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def _expire(self) -> None:
        assert self._task is not None
        self._expired = True
        self._task.cancel()


class PyodideTimer:
    """A JavaScript timeout that is cleared when it is cancelled."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, delay_s: float, callback: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        self._loop = loop
        self._callback = callback
        self._args = args
        self._context = copy_context()  # callbacks run in the context of the call, as asyncio's do
        self._cancelled = False
        javascript: Any = import_module("js")
        self._clear: Callable[[Any], None] = javascript.clearTimeout
        self._proxy: Any = import_module("pyodide.ffi").create_proxy(self._fire)
        self._id: Any = javascript.setTimeout(self._proxy, min(delay_s, _MAX_TIMER_S) * 1000)

    def cancel(self) -> None:
        self._cancelled = True
        if self._id is not None:
            self._clear(self._id)
            self._release()

    def _fire(self, *_: object) -> None:
        # By way of the loop, which sets up what its callbacks need.
        self._loop.call_soon(self._run, context=self._context)
        self._id = None
        self._loop.call_soon(self._release)

    def _run(self) -> None:
        if not self._cancelled:
            self._callback(*self._args)

    def _release(self) -> None:
        self._id = None
        proxy, self._proxy = self._proxy, None
        if proxy is not None:
            proxy.destroy()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
