"""Long computations in a thread, where there are threads, so that the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TypeVar

__all__ = ["offload"]

_T = TypeVar("_T")
_HAS_THREADS = sys.platform != "emscripten"


async def offload(work: Callable[[], _T], is_long: bool = True) -> _T:
    """Call ``work`` and return what it returns: in a thread when ``is_long`` and there are threads.

    The interpreter gives other threads a turn every 5 ms, so one call of C that takes longer should not be in it.
    Nothing else may change what ``work`` uses. Cancelling this wait does not cancel it.
    """
    if not is_long or not _HAS_THREADS:
        return work()
    return await asyncio.get_running_loop().run_in_executor(None, work)
