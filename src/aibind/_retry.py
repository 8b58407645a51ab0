"""Retries of operations after transient errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ._time import sleep
from .errors import OverloadedError, TransientError

__all__ = ["retry"]

_T = TypeVar("_T")

FIRST_WAIT_S = 0.05
MAX_WAIT_S = 2.0


async def retry(
    operation: Callable[[], Awaitable[_T]],
    *,
    patience_s: float,
    may_repeat: Callable[[TransientError], bool] = lambda _: True,
) -> _T:
    """Call ``operation`` until it raises no TransientError, for ``patience_s`` seconds; then raise its last error.

    An attempt that failed may nevertheless have happened, so only an operation that is safe to repeat is repeated;
    where that depends on the error, ``may_repeat`` decides. The waits double from 50 ms to 2 s, each shortened at
    random by up to a half so that many callers do not come back together; the pause that an OverloadedError asks for
    is added. No attempt is begun that would be over too late if it took as long as the last one: a database on this
    machine waits for locks itself.
    """
    import random  # here: importing it seeds a generator, and a Worker has no randomness while it starts

    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    wait_s = FIRST_WAIT_S
    while True:
        began = loop.time()
        try:
            return await operation()
        except TransientError as error:
            pause_s = wait_s * (1 - random.random() / 2)
            if isinstance(error, OverloadedError) and error.retry_after_s is not None:
                pause_s += error.retry_after_s
            took_s = loop.time() - began
            if loop.time() + pause_s + took_s > deadline or not may_repeat(error):
                raise
            await sleep(pause_s)
        wait_s = min(2 * wait_s, MAX_WAIT_S)
