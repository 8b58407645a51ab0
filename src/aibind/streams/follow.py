"""Following a stream in a store: the one loop behind every store's ``read_pages`` and ``read_from``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from .._retry import retry
from ..errors import ProducerLostError
from .store import StreamChunk, StreamPage

__all__ = [
    "LeaseWatch",
    "PageReader",
    "Signals",
    "check_after_seq",
    "chunks_of",
    "follow_pages",
    "grace_s",
]


def grace_s(lease_ms: int) -> float:
    """Tell how long, in seconds, a producer whose lease has run out may take to show that it lives: a tenth of it."""
    return lease_ms / 10_000


class LeaseWatch:
    """Tells when a producer has to be given up.

    Its lease must have run out, and nothing new have arrived for a tenth of a lease: a producer that never renews, as
    the JavaScript ones, is judged by its progress. When the follower itself stood still past that time, as on a laptop
    that was closed, the producer may have stood still with it, and is given that tenth once more. Times are in
    milliseconds since the epoch.
    """

    def __init__(self, lease_ms: int) -> None:
        self._grace_ms = grace_s(lease_ms) * 1000
        self.progress()

    def progress(self) -> None:
        """Note that something new has arrived."""
        self._progress_at = time.time() * 1000
        self._due: float | None = None  # when the next look had to be at the latest
        self._excused = False

    def left_s(self, expires_at: int, looked_at: float) -> float | None:
        """Tell after each look in how many seconds to look again at the latest; None: the producer is lost.

        ``looked_at`` is when the look began: an answer that took its time says nothing of what came meanwhile.
        """
        if self._due is not None and looked_at > self._due + self._grace_ms / 2 and not self._excused:
            self._excused = True  # once: a machine that is always slow must not keep a lost producer alive
            self._progress_at = looked_at
        self._due = max(expires_at, self._progress_at + self._grace_ms)
        return None if looked_at >= self._due else max(0.0, self._due / 1000 - time.time())


class PageReader(Protocol):
    """Looks at one stream again and again, for one follower."""

    async def read_page(self, after_seq: int) -> StreamPage:
        """Take one look past ``after_seq``."""
        ...

    async def wait(self, most_s: float, progressed: bool) -> None:
        """Wait until another look may show something new, ``most_s`` seconds at most.

        ``progressed`` says whether the last look showed something new.
        """
        ...


async def follow_pages(
    stream_id: str, reader: PageReader, *, after_seq: int, lease_ms: int
) -> AsyncIterator[StreamPage]:
    """Yield page after page until the last. Raises ProducerLostError when the producer has to be given up.

    A look that fails with TransientError is repeated for as long as a lease lasts, as the producer's writes are.
    """
    watch = LeaseWatch(lease_ms)
    while True:
        looked_at = time.time() * 1000
        page = await retry(partial(reader.read_page, after_seq), patience_s=lease_ms / 1000)
        if page.chunks:
            after_seq = page.chunks[-1].seq
            watch.progress()
        if page.chunks or page.is_last:
            yield page
        if page.is_last:
            return
        if page.has_more:
            continue
        left_s = watch.left_s(page.status.expires_at, looked_at)
        if left_s is None:
            raise ProducerLostError(stream_id)
        await reader.wait(left_s, bool(page.chunks))


async def chunks_of(pages: AsyncIterator[StreamPage]) -> AsyncIterator[StreamChunk]:
    """Yield the chunks of pages one by one."""
    async for page in pages:
        for chunk in page.chunks:
            yield chunk


class Signals:
    """Wakes whoever follows a stream in this event loop when this process has changed it."""

    def __init__(self) -> None:
        self._events: dict[str, list[asyncio.Event]] = {}

    def notify(self, stream_id: str) -> None:
        """Wake all who follow this stream."""
        for event in self._events.get(stream_id, ()):
            event.set()

    @contextmanager
    def watch(self, stream_id: str) -> Generator[asyncio.Event]:
        """Give an event that each change sets. Clear it before looking, so that no change is missed."""
        event = asyncio.Event()
        events = self._events.setdefault(stream_id, [])
        events.append(event)
        try:
            yield event
        finally:
            events.remove(event)
            if not events:
                self._events.pop(stream_id, None)


def check_after_seq(after_seq: int) -> None:
    """Raise ValueError for a place that no stream has."""
    if after_seq < 0:
        raise ValueError(f"after_seq is {after_seq}: use 0 for the beginning, or the seq of the last chunk seen")
