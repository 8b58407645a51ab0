"""The repair of asyncio's own timers in Pyodide, for the code of applications, frameworks and providers.

``asyncio.timeout``, ``asyncio.wait_for`` and AnyIO's deadlines ask the loop for a timer at a moment. Pyodide's loop
raises ValueError when the clock passed it between two calls, and a timer that was cancelled stays pending in
JavaScript. aibind itself uses the timers of ``_time``; a repaired loop uses them for everything else in the isolate.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextvars import Context
from typing import Any

from .._time import PyodideTimer, Timer
from . import ffi

__all__ = ["repair_timers"]

_SOON_S = 0.002
"""Seconds for which Pyodide makes no JavaScript timer, so that there is none to clear."""


def repair_timers() -> None:
    """Let Pyodide's event loop clear cancelled timers, and run at once what is due in the past.

    Nothing happens when it has been done. Works in Pyodide alone.
    """
    web_loop: Any = ffi.event_loop_class()
    if hasattr(web_loop, "clears_timers"):
        return
    original = web_loop.call_later

    def call_later(
        loop: asyncio.AbstractEventLoop,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.Handle:
        if not delay > _SOON_S:
            handle: asyncio.Handle = original(loop, max(delay, 0), callback, *args, context=context)
            return handle
        timed = _TimedHandle(callback, args, loop, context)
        if delay != math.inf:
            timed.timer = PyodideTimer(loop, delay, timed._run, ())
        return timed

    web_loop.call_later = call_later  # call_at and call_soon go by way of it
    web_loop.clears_timers = True


class _TimedHandle(asyncio.Handle):
    """What asyncio cancels."""

    timer: Timer | None = None

    def cancel(self) -> None:
        super().cancel()
        if self.timer is not None:
            self.timer.cancel()
