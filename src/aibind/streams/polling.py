"""Reading a stream page by page until it ends: the polling loop of every store, and how long it waits between polls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from .._retry import retry
from .._time import now_ms
from ..errors import PRODUCER_LOST, ProducerLostError, TransientError
from .leases import LeaseWatch, grace_s
from .store import Pace, StreamEnd, StreamPage

__all__ = ["PagePoller", "PollBackoff", "poll_pages"]

BUSY_PACE = Pace(300, 2000)
"""The maximum wait between two polls while chunks arrive. Where a write is a round trip, a writer stores at most four
times a second, and both paces stretch alike, so that following a stream for ten minutes stays within the number of
queries that one Worker invocation may make."""

IDLE_PACE = Pace(500, 2000)
"""The maximum wait between two polls while nothing arrives."""

GROWTH = 1.5
"""The factor by which the wait grows from one poll to the next."""


class PagePoller(Protocol):
    """One reader's way to poll one stream: how to read it, and when to read it again."""

    async def read_page(self, after_seq: int) -> StreamPage:
        """Return what is stored past ``after_seq``, without waiting. It is called again after a TransientError."""
        ...

    async def wait(self, timeout_s: float, *, progressed: bool) -> None:
        """Wait until a read may show something new, at most ``timeout_s`` seconds.

        ``progressed`` tells whether the last read returned chunks.
        """
        ...


async def poll_pages(
    stream_id: str,
    poller: PagePoller,
    *,
    after_seq: int = 0,
    lease_ms: int,
    give_up: Callable[[int], Awaitable[StreamEnd | None]],
    shares_clock: bool = True,
) -> AsyncIterator[StreamPage]:
    """Yield what is stored past ``after_seq`` page by page, then what arrives, until the stream ends.

    Pages without news are not yielded; the last one has :attr:`~aibind.streams.StreamPage.is_last`. A read that fails
    with TransientError is retried for as long as a lease lasts. When the lease has run out and nothing new arrived for
    a tenth of ``lease_ms``, ``give_up`` ends the stream, so that its producer cannot go on, and ProducerLostError is
    raised past the last chunk. It is called with the ``expires_at`` that was seen. Where the clocks of producers may
    differ from this process's (``shares_clock`` is False), that too must be unchanged, and all for a whole lease. While
    it cannot be ended because the store does not answer, neither can the producer write, and the stream is not lost.
    """
    watch = LeaseWatch(lease_ms, grace_s(lease_ms, shares_clock=shares_clock))
    is_given_up = False
    while True:
        looked_at = now_ms()
        page = await retry(partial(poller.read_page, after_seq), patience_s=lease_ms / 1000)
        if page.chunks:
            after_seq = page.chunks[-1].seq
            watch.progress()
        if page.status.error == PRODUCER_LOST or (is_given_up and page.status.is_active):
            if page.chunks:
                yield replace(page, has_more=True)
            if not page.has_more:
                raise ProducerLostError(stream_id)
            continue
        if page.chunks or page.is_last:
            yield page
        if page.is_last:
            return
        if page.has_more:
            continue
        left_s = watch.time_left_s(page.status, looked_at)
        if left_s is None:
            if await _ask(partial(give_up, page.status.expires_at)) is not None:
                is_given_up = True
            else:
                watch.progress()
            continue
        await poller.wait(left_s, progressed=bool(page.chunks))


async def _ask(give_up: Callable[[], Awaitable[StreamEnd | None]]) -> StreamEnd | None:
    try:
        return await give_up()
    except TransientError:
        return None


class PollBackoff:
    """The waits between the polls of one reader: short at first, then growing, and longer the older the stream is."""

    def __init__(self, first_wait_s: float) -> None:
        self._first_wait_s = self._wait_s = first_wait_s
        self._now = asyncio.get_running_loop().time
        self._began = self._now()

    def next_wait_s(self, *, progressed: bool) -> float:
        """Return the seconds to wait before the next poll; ``progressed``: whether the last one returned chunks."""
        pace = BUSY_PACE if progressed else IDLE_PACE
        max_wait_s = max(self._first_wait_s, pace.delay_s(self._now() - self._began))
        wait_s, self._wait_s = min(self._wait_s, max_wait_s), min(self._wait_s * GROWTH, max_wait_s)
        return wait_s
