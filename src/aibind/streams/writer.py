"""The writer of one stream: few writes to the store, none repeated, none lost silently."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from .. import _observing
from .._logging import log_fields
from .._time import timeout, wait_for_event
from ..errors import (
    StreamConflictError,
    StreamNotActiveError,
    StreamNotFoundError,
    TransientError,
)
from .buffer import StreamBuffer
from .claims import StreamClaim
from .events import StreamEvent
from .retrying import RetryingStream
from .schedule import LOCAL_IDLE_S, REMOTE_IDLE_S, WriteSchedule
from .store import Pace, StreamEnd, StreamStore

__all__ = ["FAREWELL_S", "SHUT_DOWN", "StreamWriter"]

SHUT_DOWN = "The server was shut down"
"""The error that readers see when the event loop, or the server, ends before the source."""

FAREWELL_S = 5.0
"""Seconds that a writer may take to store the end when the server is shut down."""

logger = logging.getLogger("aibind")


class StreamWriter:
    """Gathers a stream's events and stores them in the background, one chunk or a few at a time.

    ``write`` does not wait for the store, unless ``max_unsaved_chars`` characters have gathered because the store does
    not answer. The pace is the store's recommendation, or ``flush_interval_ms``: the first chunk is flushed at once,
    the next at the interval; also at 64 Ki characters, at the end, and soon after a named event, unless one was flushed
    within the interval. The lease is renewed when half of it has passed. Small events that crowd are packed into one
    chunk with ``pack_events``, by default in stores that pay for each write. With ``whole_chunks`` followers see a
    chunk once it is stored.

    An operation that fails with TransientError is retried for ten minutes, which may be longer than the lease; a chunk
    that a failed attempt did store is recognised by reading it back. When the stream was ended elsewhere, is held by
    another producer or cannot be stored, ``halted`` says how it ended, ``on_halt`` is called and the rest is not
    written. When another process asks for the stream to be stopped, ``on_halt`` is called too, and ``end`` stores the
    rest. ``session_id``, ``owner``, ``request`` and ``question_id`` are recorded with the stream.

    A stream with a ``continuation`` can be claimed by another process when this one is lost: ``has_moved`` is then
    True, and what is left to write is dropped. ``claim`` is that of a stream that this process has claimed, with
    ``saved_seq`` chunks. With ``shows_stored`` followers see events once they are stored, since another process would
    write others in their place.

    Raises ValueError when ``flush_interval_ms`` is negative, and for ``pack_events`` with ``whole_chunks``.
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
        continuation: str | None = None,
        claim: StreamClaim | None = None,
        saved_seq: int = 0,
        flush_interval_ms: float | None = None,
        pack_events: bool | None = None,
        whole_chunks: bool = False,
        shows_stored: bool = False,
        max_unsaved_chars: int = 1_000_000,
    ) -> None:
        pace = store.flush_pace
        if flush_interval_ms is not None:
            if flush_interval_ms < 0:
                raise ValueError(f"flush_interval_ms is {flush_interval_ms}: use 0 or more milliseconds")
            pace = Pace(flush_interval_ms, pace.max_interval_ms if flush_interval_ms else 0)
        if pack_events is None:
            pack_events = store.flush_pace.max_interval_ms > 0 and not whole_chunks
        if pack_events and whole_chunks:
            raise ValueError("pack_events and whole_chunks exclude each other: JavaScript servers know no packs")
        epoch = claim.epoch if claim is not None else 0 if continuation is not None else None
        self.buffer = StreamBuffer(
            store_first=pace.interval_ms == 0,
            packs=pack_events,
            whole_chunks=whole_chunks,
            shows_stored=shows_stored,
            anchored=epoch is not None,
            saved_seq=saved_seq,
        )
        self.halted: StreamEnd | None = None
        self.has_moved = False
        self.on_halt: Callable[[], object] | None = None
        self._store = store
        self._stored = RetryingStream(store, stream_id, epoch)
        self._epoch = epoch
        self._is_claimed = claim is not None
        self._continuation = continuation
        self._schedule = WriteSchedule(
            pace,
            lease_s=store.lease_ms / 1000,
            idle_s=REMOTE_IDLE_S if store.flush_pace.max_interval_ms else LOCAL_IDLE_S,
        )
        self._id = stream_id
        self._observer = _observing.observer
        self._session_id = session_id
        self._owner = owner
        self._request = request
        self._is_discarded = False
        self._question_id = question_id
        self._max_unsaved = max_unsaved_chars
        self._work = asyncio.Event()  # set when there is something to write, or at the end
        self._wakes_at = float("-inf")  # when the task will look for work by itself, while it waits
        self._flushed = asyncio.Event()
        self._opened = asyncio.Event()
        self._end: StreamEnd | None = None  # as asked for
        self._actual: StreamEnd | None = None  # as stored
        self._stop_requested = False
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<StreamWriter {self._id!r} {self._end.state if self._end else 'active'}>"

    # --- the producer's side ---

    async def open(self) -> None:
        """Create the stream in its store. Raises StreamExistsError when the id is taken."""
        self._schedule.begin(asyncio.get_running_loop().time())
        if not self._is_claimed:
            await self._stored.create(
                session_id=self._session_id,
                owner=self._owner,
                request=self._request,
                question_id=self._question_id,
                continuation=self._continuation,
            )
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
            logger.warning(
                "Stream %s could not be removed: it counts as lost",
                self._id,
                exc_info=True,
                extra=log_fields("stream.not_removed", stream_id=self._id),
            )

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
        if self._stored.deadline is None:
            self._stored.deadline = asyncio.get_running_loop().time() + FAREWELL_S

    def may_retry(self, error: TransientError) -> bool:
        """Return whether there is time for another attempt."""
        return self._stored.may_retry(error)

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
        if not event.grows:
            self._schedule.note_event(asyncio.get_running_loop().time())
        if self._schedule.flush_due(self.buffer.unsaved_chars) < self._wakes_at:  # to wake it takes as long as a token
            self._work.set()
        while self.halted is None and self.buffer.unsaved_chars > self._max_unsaved:
            self._flushed.clear()
            await self._flushed.wait()

    async def set_reference(self, reference: str) -> None:
        """Store what the model's provider knows the answer by, before more of the answer is written."""
        if not self.is_open:
            await self.wait_open()
        if self.halted is None and self._epoch is not None:
            await self._guard(lambda: self._stored.set_reference(reference))

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
            self._note_lost_lease("ended")
        except StreamNotFoundError:
            self._note_lost_lease("removed")
            self._halt(StreamEnd("error", "The stream was removed while it was being written"))
        except StreamConflictError:
            self._note_lost_lease("conflict")
            self.has_moved = self._epoch is not None
            self._halt(StreamEnd("error", "Another producer writes to this stream"))
        except Exception:  # any other error, or followers would wait without end
            logger.exception(
                "Stream %s could not be stored", self._id, extra=log_fields("stream.not_stored", stream_id=self._id)
            )
            await self._give_up(StreamEnd("error", "The reply could not be stored"))

    def _note_lost_lease(self, reason: str) -> None:
        logger.info(
            "Stream %s is not this producer's any more: %s",
            self._id,
            reason,
            extra=log_fields("stream.lease_lost", stream_id=self._id, reason=reason),
        )
        if self._observer is not None:
            self._observer.note_lost_lease(reason)

    async def _give_up(self, end: StreamEnd) -> None:
        """End the stream with what is stored of it, if the store allows that: readers elsewhere may be waiting."""
        try:
            async with timeout(FAREWELL_S):
                await self._store.finish(self._id, end)
        except Exception:
            logger.warning(
                "The end of stream %s could not be stored: readers will see producer lost",
                self._id,
                exc_info=True,
                extra=log_fields("stream.end_not_stored", stream_id=self._id),
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
            due = self._next_due(asked, now)
            if due <= now:
                return
            self._work.clear()
            self._wakes_at = due
            try:
                await wait_for_event(self._work, due - now)  # then look again: a flush may be due later than a check
            finally:
                self._wakes_at = float("-inf")

    def _next_due(self, asked: float, now: float) -> float:
        if self._may_flush():
            return self._schedule.flush_due(self.buffer.unsaved_chars)
        return self._schedule.check_due(asked, now)

    async def _flush(self) -> None:
        self._schedule.note_flush(asyncio.get_running_loop().time())
        chunks = self.buffer.unsaved_chunks()
        first_seq = self.buffer.saved_seq + 1
        began = time.perf_counter() if self._observer is not None else 0.0
        try:
            renewed_at = await self._stored.append(chunks, first_seq, self._schedule.must_renew)
        except StreamNotActiveError:
            if not self._stop_requested and not await self._is_asked_to_stop():
                raise
            return
        if renewed_at is not None:
            self._schedule.note_renewal(renewed_at)
        self.buffer.mark_saved(first_seq + len(chunks) - 1)
        self._flushed.set()
        if self._observer is not None:
            self._observer.note_flush(len(chunks), sum(map(len, chunks)), time.perf_counter() - began)

    async def _check(self) -> None:
        """Check that the stream is still active, renewing the lease when half of it has passed."""
        now = asyncio.get_running_loop().time()
        if self._schedule.must_renew(now):
            if not await self._stored.renew():
                raise StreamNotActiveError(self._id, "ended")
            self._schedule.note_renewal(now)
            return
        if not self._stop_requested:
            await self._is_asked_to_stop()

    async def _is_asked_to_stop(self) -> bool:
        """Return whether another process asked for the stream to be stopped, and stop the source if so.

        Raises StreamNotActiveError when the stream has ended.
        """
        status = await self._stored.get_status()
        if status is None or not status.is_active:
            raise StreamNotActiveError(self._id, "ended")
        if self._epoch is not None and status.takeovers > self._epoch:
            raise StreamConflictError(self._id, 0)
        if status.stop_requested:
            self._stop_requested = True
            self._flushed.set()
            if self.on_halt is not None:
                self.on_halt()
        return status.stop_requested

    async def _finish(self, end: StreamEnd) -> None:
        chunks = self.buffer.unsaved_chunks()
        began = time.perf_counter() if self._observer is not None else 0.0
        actual, last_seq = await self._stored.finish(end, chunks, self.buffer.saved_seq + 1)
        if self._observer is not None:
            self._observer.note_flush(len(chunks), sum(map(len, chunks)), time.perf_counter() - began)
        self.buffer.mark_saved(last_seq)
        self._actual = actual
        self._flushed.set()

    async def _yield_to_other_end(self) -> None:
        """Halt with the end that the stream was given elsewhere."""
        try:
            status = await self._stored.get_status()
            if status is not None and self._epoch is not None and status.takeovers > self._epoch:
                self.has_moved = True
            elif status is not None and self.buffer.has_unsaved:
                chunks = self.buffer.unsaved_chunks()
                self.buffer.mark_saved(await self._stored.last_stored(chunks, self.buffer.saved_seq + 1))
        except Exception:  # the stream has ended in any case
            logger.exception(
                "The end of stream %s could not be read",
                self._id,
                extra=log_fields("stream.end_not_read", stream_id=self._id),
            )
            self._halt(StreamEnd("stopped"))
            return
        if status is None:
            self._halt(StreamEnd("error", "The stream was removed while it was being written"))
        else:
            self._halt(status.end or StreamEnd("stopped"))
