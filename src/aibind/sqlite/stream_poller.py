"""When to read a stream again: when woken, on a change of the file, or after a wait that backs off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .._time import sleep, wait_for_event
from ..streams.polling import PollBackoff
from ..streams.store import StreamPage
from .client import WatchableSqliteClient

__all__ = ["StreamPoller"]

LOOK_S = 0.0005
"""Seconds that a read of a local file is given, roughly: n readers each wait n times this between two reads, so that
the load stays constant."""


class StreamPoller:
    """One reader's way to poll one stream in a database.

    ``is_own`` tells whether the store object produces the stream itself, and so wakes its readers at every change;
    ``local`` is the client if it notices changes without a query; ``readers`` counts the readers of the store object.
    """

    def __init__(
        self,
        read_page: Callable[[int], Awaitable[StreamPage]],
        wakeup: asyncio.Event,
        *,
        is_own: Callable[[], bool],
        local: WatchableSqliteClient | None,
        readers: Callable[[], int],
        poll_interval_s: float,
    ) -> None:
        self._read_page = read_page
        self._wakeup = wakeup
        self._is_own = is_own
        self._local = local
        self._readers = readers
        self._backoff = PollBackoff(poll_interval_s)
        self._token = 0
        self._now = asyncio.get_running_loop().time
        self._looked = self._now()

    async def read_page(self, after_seq: int) -> StreamPage:
        """Read one page."""
        self._wakeup.clear()
        if self._local is not None:
            self._token = self._local.change_token
        self._looked = self._now()
        return await self._read_page(after_seq)

    async def wait(self, timeout_s: float, *, progressed: bool) -> None:
        """Wait until a read may show something new."""
        if self._is_own():
            # The producer wakes us, also when it notices that another process has ended the stream.
            await wait_for_event(self._wakeup, timeout_s)
        elif self._local is not None:
            await self._local.wait_for_change(self._token, timeout_s)
            pause = self._looked + self._readers() * LOOK_S - self._now()
            if pause > 0:
                await sleep(pause)
        else:
            await wait_for_event(self._wakeup, min(timeout_s, self._backoff.next_wait_s(progressed=progressed)))
