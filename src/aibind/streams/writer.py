"""The writer of one stream: few writes to the store, none repeated, none lost silently."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .._retry import retry
from .._time import timeout, wait_for_event
from ..errors import (
    StreamConflictError,
    StreamExistsError,
    StreamNotActiveError,
    StreamNotFoundError,
    TransientError,
)
from .buffer import MAX_CHUNK_CHARS, StreamBuffer
from .events import StreamEvent
from .store import Pace, StreamEnd, StreamStore

__all__ = ["FAREWELL_S", "LOCAL_IDLE_S", "REMOTE_IDLE_S", "SHUT_DOWN", "StreamWriter"]

_T = TypeVar("_T")

EVENT_WAIT_S = 0.05
"""Seconds until a named event is stored: often another reader is waiting for it."""

LOCAL_IDLE_S = 0.25
REMOTE_IDLE_S = 1.0
"""Seconds between two checks whether the stream was stopped, while nothing is written: fewer where a check costs."""

SHUT_DOWN = "The server was shut down"
"""The error that readers see when the event loop, or the server, ends before the source."""

FAREWELL_S = 5.0
"""Seconds that a writer may take to store the end when the server is shut down."""

OUTAGE_S = 600.0
"""Seconds to wait for a store that does not answer: the longest outage that a reply survives in memory."""

logger = logging.getLogger("aibind")


class StreamWriter:
    """Gathers a stream's events and stores them in the background, one chunk or a few at a time.

    ``write`` does not wait for the store, unless ``max_unsaved_chars`` characters have gathered because the store does
    not answer. The pace is the store's recommendation, or ``flush_interval_ms``: the first chunk is flushed at once,
    the next at the interval; also at 64 Ki characters, at the end, and soon after a named event, unless one was flushed
    within the interval. The lease is renewed when half of it has passed. Small events that crowd are packed into one
    chunk with ``pack_events``, by default in stores that pay for each write.

    An operation that fails with TransientError is retried for ten minutes, which may be longer than the lease; a chunk
    that a failed attempt did store is recognised by reading it back. When the stream was ended elsewhere, is held by
    another producer or cannot be stored, ``halted`` says how it ended, ``on_halt`` is called and the rest is not
    written. When another process asks for the stream to be stopped, ``on_halt`` is called too, and ``end`` stores the
    rest. ``session_id``, ``owner``, ``request`` and ``question_id`` are recorded with the stream.

    Raises ValueError when ``flush_interval_ms`` is negative.
    """

    def __init__(
        self,
        store: StreamStore,
        stream_id: str,
        *,
        session_id: str | None = None,
        owner: str | None = None,
        request: str | None = None,
        question_id: str | None = None,
        flush_interval_ms: float | None = None,
        pack_events: bool | None = None,
        max_unsaved_chars: int = 1_000_000,
    ) -> None:
        pace = store.flush_pace
        if flush_interval_ms is not None:
            if flush_interval_ms < 0:
                raise ValueError(f"flush_interval_ms is {flush_interval_ms}: use 0 or more milliseconds")
            pace = Pace(flush_interval_ms, pace.max_interval_ms if flush_interval_ms else 0)
        if pack_events is None:
            pack_events = store.flush_pace.max_interval_ms > 0
        self.buffer = StreamBuffer(store_first=pace.interval_ms == 0, packs=pack_events)
        self.halted: StreamEnd | None = None
        self.on_halt: Callable[[], object] | None = None
        self._store = store
        self._id = stream_id
        self._session_id = session_id
        self._owner = owner
        self._request = request
        self._is_discarded = False
        self._question_id = question_id
        self._pace = pace
        self._max_unsaved = max_unsaved_chars
        self._lease_s = store.lease_ms / 1000
        self._idle_s = REMOTE_IDLE_S if store.flush_pace.max_interval_ms else LOCAL_IDLE_S
        self._work = asyncio.Event()  # set when there is something to write, or at the end
        self._flushed = asyncio.Event()
        self._opened = asyncio.Event()
        self._end: StreamEnd | None = None  # as asked for
        self._actual: StreamEnd | None = None  # as stored
        self._stop_requested = False
        self._deadline: float | None = None  # of the last attempt, once the server is shut down
        self._began = self._leased = 0.0
        self._last_flush: float | None = None
        self._event_since: float | None = None  # when the oldest unsaved named event arrived
        self._event_flush = float("-inf")  # when one was flushed last
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<StreamWriter {self._id!r} {self._end.state if self._end else 'active'}>"

    # --- the producer's side ---

    async def open(self) -> None:
        """Create the stream in its store. Raises StreamExistsError when the id is taken."""
        self._began = self._leased = asyncio.get_running_loop().time()

        attempts = 0

        async def create() -> None:
            nonlocal attempts
            attempts += 1
            try:
                await self._store.create(
                    self._id,
                    session_id=self._session_id,
                    owner=self._owner,
                    request=self._request,
                    question_id=self._question_id,
                )
            except StreamExistsError:
                if attempts == 1 or not await self._is_ours():
                    raise  # else an attempt whose answer was lost created it

        await retry(create, patience_s=self._lease_s)
        self._task = asyncio.create_task(self._guard(self._run), name=f"aibind writer of {self._id}")
        self._opened.set()

    async def discard(self) -> None:
        """Remove the stream, of which nothing was written, so that its id is free; a failure is logged.

        After :meth:`open` has failed, the stream is removed if it exists and its ``request`` says that it is ours.
        """
        self._is_discarded = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        try:
            async with timeout(FAREWELL_S):
                if self._task is not None:
                    await self._store.discard(self._id)
                elif self._request is not None:
                    await self._store.discard(self._id, request=self._request)
        except Exception:
            logger.warning("Stream %s could not be removed: it counts as lost", self._id, exc_info=True)

    @property
    def is_whole(self) -> bool:
        """Whether the store has all that was written."""
        return self.halted is None and not self.buffer.has_unsaved

    async def wait_saved(self) -> bool:
        """Wait until the store has all that was written by now; return False when it will not take it any more."""
        seq = self.buffer.last_seq
        while self.buffer.saved_seq < seq and self.halted is None and self._actual is None:
            self._flushed.clear()
            await self._flushed.wait()
        return self.buffer.saved_seq >= seq

    @property
    def is_open(self) -> bool:
        """Whether the stream exists in its store."""
        return self._opened.is_set()

    @property
    def stop_requested(self) -> bool:
        """Whether another process asked for the stream to be stopped, as far as the writer has noticed."""
        return self._stop_requested

    async def wait_open(self) -> None:
        """Wait until the stream exists in its store."""
        await self._opened.wait()

    def hurry(self) -> None:
        """Give the store no more than ``FAREWELL_S`` seconds from now on: the server is shut down."""
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + FAREWELL_S

    def may_retry(self, _: TransientError) -> bool:
        """Return whether there is time for another attempt."""
        return self._deadline is None or asyncio.get_running_loop().time() < self._deadline

    async def write(self, event: StreamEvent) -> None:
        """Add an event: visible to the followers in this process at once, in the store soon.

        With a flush interval of 0 this returns when the event is stored. Once ``halted`` is set this does nothing.
        """
        if not self.is_open:
            await self.wait_open()
        if self.halted is not None:
            return
        self.buffer.push(event)
        if self.buffer.store_first:
            await self._guard(self._flush)
            return
        if not event.grows and self._event_since is None:
            self._event_since = asyncio.get_running_loop().time()
        self._work.set()
        while self.halted is None and self.buffer.unsaved_chars > self._max_unsaved:
            self._flushed.clear()
            await self._flushed.wait()

    async def end(self, end: StreamEnd) -> StreamEnd:
        """Store what is left and the end, in one transaction, and return how the stream really ended.

        The first end wins: a stream that was stopped elsewhere stays stopped. ``buffer.finish`` tells the followers.
        """
        await self._opened.wait()
        assert self._task is not None
        self._end = self._end or end
        self._work.set()
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if not self._task.cancelled():  # else the event loop is shutting down, and the end is stored
                raise
        return self.halted or self._actual or end

    def abandon(self) -> None:
        """End the stream because its producer is gone, without waiting."""
        self._end = self._end or StreamEnd("error", SHUT_DOWN)
        self._work.set()

    # --- the store's side ---

    async def _is_ours(self) -> bool:
        """Return whether the stream that exists is of this writer, as far as its store tells requests apart."""
        status = await self._store.get_status(self._id)
        return status is None or status.request == self._request or status.request is None

    async def _run(self) -> None:
        try:
            while self._end is None:
                await self._wait_until_due()
                if self._end is None:
                    await (self._flush() if self._may_flush() else self._check())
            await self._finish(self._end)
        except asyncio.CancelledError:  # the event loop is shutting down: later readers must learn it
            if self._is_discarded:
                raise
            async with timeout(FAREWELL_S):
                await self._finish(self._end or StreamEnd("error", SHUT_DOWN))
            raise

    def _may_flush(self) -> bool:
        if self._stop_requested:
            return False  # what is left is stored with the end
        return self.buffer.has_unsaved and not self.buffer.store_first  # with store_first, write() stores each event

    async def _guard(self, operation: Callable[[], Awaitable[None]]) -> None:
        """Run an operation on the store. Any failure halts the writer."""
        try:
            await operation()
        except StreamNotActiveError:
            await self._yield_to_other_end()
        except StreamNotFoundError:
            self._halt(StreamEnd("error", "The stream was removed while it was being written"))
        except StreamConflictError:
            self._halt(StreamEnd("error", "Another producer writes to this stream"))
        except Exception:  # any other error, or followers would wait without end
            logger.exception("Stream %s could not be stored", self._id)
            await self._give_up(StreamEnd("error", "The reply could not be stored"))

    async def _give_up(self, end: StreamEnd) -> None:
        """End the stream with what is stored of it, if the store allows that: readers elsewhere may be waiting."""
        try:
            async with timeout(FAREWELL_S):
                await self._store.finish(self._id, end)
        except Exception:
            logger.warning(
                "The end of stream %s could not be stored: readers will see producer lost", self._id, exc_info=True
            )
        self._halt(end)

    def _halt(self, end: StreamEnd) -> None:
        self.halted = end
        self._flushed.set()
        if self.on_halt is not None:
            self.on_halt()

    async def _wait_until_due(self) -> None:
        """Wait until it is time to flush, to check whether the stream is still active, or to end."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        while self._end is None:
            now = loop.time()
            due = self._flush_due() if self._may_flush() else self._check_due(asked, now)
            if due <= now:
                return
            self._work.clear()
            if not await wait_for_event(self._work, due - now):
                return

    def _flush_due(self) -> float:
        if self._last_flush is None or self.buffer.unsaved_chars >= MAX_CHUNK_CHARS:
            return 0.0
        due = self._last_flush + self._pace.delay_s(self._last_flush - self._began)
        if self._event_since is None or self._event_flush + self._pace.delay_s(0) > self._event_since:
            return due
        return min(due, self._event_since + EVENT_WAIT_S)

    def _check_due(self, asked: float, now: float) -> float:
        idle_s = max(self._idle_s, self._pace.delay_s(now - self._began))
        return min(asked + idle_s, self._renewal_due)

    @property
    def _renewal_due(self) -> float:
        return self._leased + self._lease_s / 2

    async def _flush(self) -> None:
        now = self._last_flush = asyncio.get_running_loop().time()
        if self._event_since is not None:
            self._event_since, self._event_flush = None, now
        chunks = self.buffer.unsaved_chunks()
        first_seq = self.buffer.saved_seq + 1
        attempts = 0
        renew = False

        async def append() -> None:
            nonlocal attempts, now, renew
            attempts += 1
            now = asyncio.get_running_loop().time()
            renew = now >= self._renewal_due
            try:
                await self._store.append_many(self._id, chunks, first_seq=first_seq, renew=renew)
            except StreamConflictError:
                if attempts == 1 or await self._count_stored(chunks, first_seq) < len(chunks):
                    raise

        try:
            await self._retry(append)
        except StreamNotActiveError:
            if not self._stop_requested and not await self._is_asked_to_stop():
                raise
            return
        if renew:
            self._leased = now
        self.buffer.mark_saved(first_seq + len(chunks) - 1)
        self._flushed.set()

    async def _count_stored(self, chunks: list[str], first_seq: int) -> int:
        """Return how many of these chunks an attempt whose answer was lost has stored."""
        count = 0
        while count < len(chunks):
            page = await self._store.read_page(self._id, first_seq - 1 + count)
            stored = [chunk.data for chunk in page.chunks][: len(chunks) - count]
            if stored != chunks[count : count + len(stored)]:
                raise StreamConflictError(self._id, first_seq + count)
            if not stored:
                break
            count += len(stored)
        return count

    async def _check(self) -> None:
        """Check that the stream is still active, renewing the lease when half of it has passed."""
        now = asyncio.get_running_loop().time()
        if now >= self._renewal_due:
            if not await self._retry(lambda: self._store.renew(self._id)):
                raise StreamNotActiveError(self._id, "ended")
            self._leased = now
            return
        if not self._stop_requested:
            await self._is_asked_to_stop()

    async def _is_asked_to_stop(self) -> bool:
        """Return whether another process asked for the stream to be stopped, and stop the source if so.

        Raises StreamNotActiveError when the stream has ended.
        """
        status = await self._retry(lambda: self._store.get_status(self._id))
        if status is None or not status.is_active:
            raise StreamNotActiveError(self._id, "ended")
        if status.stop_requested:
            self._stop_requested = True
            self._flushed.set()
            if self.on_halt is not None:
                self.on_halt()
        return status.stop_requested

    async def _retry(self, operation: Callable[[], Awaitable[_T]]) -> _T:
        return await retry(operation, patience_s=OUTAGE_S, may_repeat=self.may_retry)

    async def _finish(self, end: StreamEnd) -> None:
        chunks = self.buffer.unsaved_chunks()
        first_seq = self.buffer.saved_seq + 1

        async def finish() -> StreamEnd:
            nonlocal chunks, first_seq
            try:
                return await self._store.finish(self._id, end, chunks=chunks, first_seq=first_seq)
            except StreamConflictError:
                count = await self._count_stored(chunks, first_seq)
                if not count:
                    raise
                chunks, first_seq = chunks[count:], first_seq + count
                return await self._store.finish(self._id, end, chunks=chunks, first_seq=first_seq)

        actual = await self._retry(finish)
        if actual is end or not chunks:
            self.buffer.mark_saved(first_seq + len(chunks) - 1)
        else:  # it had ended before: elsewhere, or by an attempt whose answer was lost
            await self._mark_stored(chunks, first_seq)
        self._actual = actual
        self._flushed.set()

    async def _mark_stored(self, chunks: list[str], first_seq: int) -> None:
        count = await self._retry(lambda: self._count_stored(chunks, first_seq))
        self.buffer.mark_saved(first_seq + count - 1)

    async def _yield_to_other_end(self) -> None:
        """Halt with the end that the stream was given elsewhere."""
        try:
            status = await self._retry(lambda: self._store.get_status(self._id))
            if status is not None and self.buffer.has_unsaved:
                await self._mark_stored(self.buffer.unsaved_chunks(), self.buffer.saved_seq + 1)
        except Exception:  # the stream has ended in any case
            logger.exception("The end of stream %s could not be read", self._id)
            self._halt(StreamEnd("stopped"))
            return
        if status is None:
            self._halt(StreamEnd("error", "The stream was removed while it was being written"))
        else:
            self._halt(status.end or StreamEnd("stopped"))
