"""Long computations in a thread, where there are threads, so that the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["offload", "uncollected"]

_T = TypeVar("_T")
_HAS_THREADS = sys.platform != "emscripten"

_MAX_UNCOLLECTED_S = 10.0


async def offload(work: Callable[[], _T], is_long: bool = True) -> _T:
    """Call ``work`` and return what it returns: in a thread when ``is_long`` and there are threads.

    The interpreter gives other threads a turn every 5 ms, so one call of C that takes longer should not be in it.
    Nothing else may change what ``work`` uses. Cancelling this wait does not cancel it.
    """
    if not is_long or not _HAS_THREADS:
        return work()
    with uncollected():
        return await asyncio.get_running_loop().run_in_executor(None, work)


class _Pause:
    """The pauses of the garbage collector that overlap, which are one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._since = 0.0

    def begin(self) -> bool:
        """Pause the collector, and return whether :meth:`end` has to follow."""
        with self._lock:
            if self._count == 0:
                if not gc.isenabled():
                    return False
                gc.disable()
                self._since = time.monotonic()
            elif time.monotonic() - self._since > _MAX_UNCOLLECTED_S:
                return False  # so that work which always overlaps does not keep it paused
            self._count += 1
            return True

    def end(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0:
                gc.enable()


_pause = _Pause()


@contextmanager
def uncollected() -> Generator[None]:
    """Keep the garbage collector from running while very many objects are made.

    A full collection visits all of them and holds every thread: 100 ms for a conversation of 60,000 messages, and
    several times while it is being read. What is garbage without cycles is still freed at once. Pauses that overlap
    are one, and none begins within one that has lasted 10 s.
    """
    is_ours = _pause.begin()
    try:
        yield
    finally:
        if is_ours:
            _pause.end()
