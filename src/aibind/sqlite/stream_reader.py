"""When to look at a stream again: woken, on a change of the file, or at a pace that follows what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .._time import sleep, wait_for_event
from ..streams.store import Pace, StreamPage
from .client import WatchableSqliteClient

__all__ = ["StreamReader"]

BUSY_PACE = Pace(300, 2000)
"""How rarely a remote stream is looked at while chunks come. A writer there stores four times a second at most, and
the pace stretches with it, so that following for ten minutes stays within what one Worker invocation may query."""

IDLE_PACE = Pace(500, 2000)
"""How rarely while nothing comes."""

LOOK_S = 0.0005
"""What a look at a local file costs, in seconds, roughly: readers of a crowded store take turns, so none is late."""


class StreamReader:
    """Is one follower's view of one stream in a database."""

    def __init__(
        self,
        look: Callable[[int], Awaitable[StreamPage]],
        changed: asyncio.Event,
        *,
        is_own: Callable[[], bool],
        local: WatchableSqliteClient | None,
        crowd: Callable[[], int],
        poll_interval_s: float,
    ) -> None:
        self._look = look
        self._changed = changed
        self._is_own = is_own
        self._local = local
        self._crowd = crowd
        self._first_wait_s = self._wait_s = poll_interval_s
        self._token = 0
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self._began = self._looked = loop.time()

    async def read_page(self, after_seq: int) -> StreamPage:
        """Take one look."""
        self._changed.clear()
        if self._local is not None:
            self._token = self._local.change_token
        self._looked = self._now()
        return await self._look(after_seq)

    async def wait(self, most_s: float, progressed: bool) -> None:
        """Wait for a reason to look again."""
        if self._is_own():
            # Its producer wakes us, also when it notices that somebody else has ended the stream.
            await wait_for_event(self._changed, most_s)
        elif self._local is not None:
            await self._local.wait_for_change(self._token, most_s)
            pause = self._looked + self._crowd() * LOOK_S - self._now()
            if pause > 0:
                await sleep(pause)
        else:
            await wait_for_event(self._changed, min(most_s, self._next_wait(progressed)))

    def _next_wait(self, progressed: bool) -> float:
        pace = BUSY_PACE if progressed else IDLE_PACE
        longest = max(self._first_wait_s, pace.delay_s(self._now() - self._began))
        wait, self._wait_s = min(self._wait_s, longest), min(self._wait_s * 1.5, longest)
        return wait
