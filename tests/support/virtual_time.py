"""Tests in virtual time: an hour passes at once, to the microsecond, however slow the machine is."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec
from unittest import mock

from benchmarks.support.virtual_time import run_in_virtual_time

__all__ = ["in_virtual_time", "suspend"]

P = ParamSpec("P")


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a loop whose clock jumps to the next timer; ``time.time()`` goes by the same clock.

    Nothing in it may run on threads: use ``MemoryStreamStore``, or ``wrap_sqlite3(…, threads=False)``.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            loop, began = asyncio.get_running_loop(), time.time()

            def now() -> float:
                return began + loop.time()

            with mock.patch("time.time", now):
                await test(*args, **kwargs)

        run_in_virtual_time(main())

    return run


def suspend(seconds: float) -> None:
    """Let time pass at once and nothing run meanwhile, as when the lid of a laptop is closed."""
    asyncio.get_running_loop()._clock.passed_s += seconds  # type: ignore[attr-defined]
