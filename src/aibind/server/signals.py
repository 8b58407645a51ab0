"""Noticing the signals that end a server, beside the server itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

__all__ = ["noticing_signals"]


@contextmanager
def noticing_signals(*numbers: int, notice: Callable[[int], object]) -> Generator[None]:
    """Call ``notice`` in the event loop with each of these signals, after the handler that is there was called.

    A signal without a handler keeps its effect. Outside the main thread, which alone may handle signals, none is
    noticed.
    """
    loop = asyncio.get_running_loop()
    installed = [_install(loop, number, notice) for number in numbers]
    try:
        yield
    finally:
        for restore in installed:
            restore()


def _install(loop: asyncio.AbstractEventLoop, number: int, notice: Callable[[int], object]) -> Callable[[], object]:
    before: Any = signal.getsignal(number)
    if not callable(before):  # ignored, the default, or installed by C
        return lambda: None
    is_noticed = True

    def handle(number: int, frame: FrameType | None) -> None:
        before(number, frame)
        if is_noticed:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(notice, number)

    def restore() -> None:
        nonlocal is_noticed
        is_noticed = False
        if signal.getsignal(number) is handle:  # else another handler calls it
            signal.signal(number, before)

    try:
        signal.signal(number, handle)
    except ValueError:  # not in the main thread
        return lambda: None
    return restore
