"""Trying again, after errors that say it may help."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .errors import OverloadedError, TransientError

__all__ = ["insist"]

_T = TypeVar("_T")

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0


async def insist(operation: Callable[[bool], Awaitable[_T]], *, patience_s: float) -> _T:
    """Call ``operation`` until it raises no TransientError, for ``patience_s`` seconds; then raise its last error.

    It is called with False the first time and with True when an earlier attempt, whose answer was lost, may have
    happened. The waits double from 50 ms to 2 s, each shortened by up to a half at random so that many callers do not
    come back together; an OverloadedError that says how long to wait is obeyed.
    """
    import random  # here: it seeds itself when it is imported, which a Worker must not do while it starts

    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    wait = FIRST_WAIT_S
    again = False
    while True:
        try:
            return await operation(again)
        except TransientError as error:
            pause = wait * (1 - random.random() / 2)
            if isinstance(error, OverloadedError) and error.retry_after_s is not None:
                pause = error.retry_after_s + pause
            if loop.time() + pause > deadline:
                raise
            await asyncio.sleep(pause)
        wait = min(2 * wait, LONGEST_WAIT_S)
        again = True
