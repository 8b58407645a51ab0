"""Following a stream as events: from the buffer of a producer in this process, or from a store.

Every wire format is an encoder over the batches that come from here, see :class:`EventBatch`. A failure to go on
reading becomes the end of the last batch, so that each encoder reports it in its own way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

from .. import _observing
from .._closing import close_iterator
from .._logging import log_fields
from .._time import Timer, call_later
from ..errors import AibindError, ProducerLostError, StreamNotFoundError
from .batch import EventBatch
from .buffer import BATCH_CHARS, StreamBuffer
from .events import PACK_NAME, StreamEvent
from .packs import events_after, length_of
from .parts import SHORT_CHARS, split_event
from .position import Position
from .store import NOT_KEPT, StreamEnd, StreamPage, StreamStore

__all__ = ["check_kept", "failure_end", "follow_buffer", "follow_store", "read_dropped"]

_T = TypeVar("_T")

logger = logging.getLogger("aibind")


async def follow_buffer(
    buffer: StreamBuffer,
    store: StreamStore,
    stream_id: str,
    position: Position,
    encode: Callable[[EventBatch], _T] | None,
    idle_s: float | None = None,
) -> AsyncGenerator[_T]:
    """Follow a producer in this process: without polling, and from the store only what the buffer has dropped.

    Each batch is yielded as ``encode`` returns it, once for all followers that share the batch (None: as it is), unless
    it is empty, which counts as silence. After ``idle_s`` seconds of silence an idle batch is yielded (None: never).
    """
    idle = _IdleTimer(idle_s)
    observer = _observing.observer
    encoded: Any
    try:
        while True:
            while not buffer.reaches(position):
                dropped, position = await read_dropped(buffer, store, stream_id, position)
                for stored in dropped:
                    if encoded := _encode(encode, stored):
                        yield encoded
            if buffer.has_moved:
                position = buffer.anchored(position)
                first = await store.read_page(stream_id, position.seq - 1)
                whole_chunks = buffer.whole_chunks
                rest = follow_store(store, stream_id, position, first, encode, idle_s, whole_chunks=whole_chunks)
                async with aclosing(rest):
                    async for encoded in rest:
                        yield encoded
                return
            batch, position = buffer.read(position)
            if batch is not None:
                if observer is not None:
                    observer.note_lag(_chars_of(batch))
                # share() inline, as this runs for each token and follower.
                encoded = batch
                if encode is not None and (encoded := batch.shared.get(encode)) is None:
                    encoded = batch.shared[encode] = encode(batch)
                if encoded:
                    yield encoded
                    idle.restart()
                if batch.end is not None:
                    return
                continue
            waiter = buffer.waiter()
            try:
                is_news = await idle.wait(waiter)
            finally:
                buffer.discard(waiter)  # of a follower that leaves, or has waited too long
            if not is_news:
                yield _encode(encode, EventBatch.silent(position.id))
                idle.restart()
    except AibindError as error:
        yield _encode(encode, EventBatch.silent(position.id, failure_end(error, stream_id)))
    finally:
        idle.stop()


async def read_dropped(
    buffer: StreamBuffer, store: StreamStore, stream_id: str, position: Position
) -> tuple[list[EventBatch], Position]:
    """Return a page of what follows a position that the buffer does not reach any more, and the position after it.

    Raises StreamNotFoundError when the store has it no more either, and the store's errors.
    """
    page = await store.read_page(stream_id, position.seq - 1)
    if not page.chunks:
        raise StreamNotFoundError(stream_id)
    return list(_batches_of(page, position, whole_chunks=buffer.whole_chunks)), _advance(position, page)


async def follow_store(
    store: StreamStore,
    stream_id: str,
    position: Position,
    first: StreamPage,
    encode: Callable[[EventBatch], _T] | None,
    idle_s: float | None = None,
    *,
    whole_chunks: bool = False,
) -> AsyncGenerator[_T]:
    """Follow a stream in its store, wherever its producer runs. ``first`` is the first page after ``position``.

    With ``whole_chunks`` a chunk of text is one event, and no event has an id inside a chunk.
    Each batch is yielded as ``encode`` returns it (None: as it is), unless it is empty, which counts as silence. After
    ``idle_s`` seconds of silence an idle batch is yielded (None: never).
    """
    for batch in _batches_of(first, position, whole_chunks=whole_chunks):
        if encoded := _encode(encode, batch):
            yield encoded
    if first.is_last:
        return
    observer = _observing.observer
    position = _advance(position, first)
    has_read = bool(first.chunks)
    pages = store.read_pages(stream_id, position.seq - 1)
    idle = _IdleTimer(idle_s)
    reading: asyncio.Task[StreamPage] | None = None
    try:
        while True:
            if reading is None:
                reading = asyncio.ensure_future(_next_page(pages))
            if not await idle.wait(_waiter_for(reading)):
                yield _encode(encode, EventBatch.silent(position.id))
                idle.restart()
                continue
            page, reading = await reading, None
            if not has_read:
                page = await check_kept(page, store, stream_id, position)
            for batch in _batches_of(page, position, whole_chunks=whole_chunks):
                if observer is not None:
                    observer.note_lag(_chars_of(batch))
                if encoded := _encode(encode, batch):
                    yield encoded
                    idle.restart()
            if page.is_last:
                return
            if page.chunks:
                has_read = True
                position = _advance(position, page)
    except AibindError as error:
        end = failure_end(error, stream_id)
    finally:
        idle.stop()
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)  # its error is of no interest any more
        await close_iterator(pages)
    yield _encode(encode, EventBatch.silent(position.id, end))


async def check_kept(page: StreamPage, store: StreamStore, stream_id: str, position: Position) -> StreamPage:
    """Return a page, whose end is an error if a reader who comes with ``position`` has seen more than the store has.

    That is so when the process that produces the reply could not store it, and another one has stopped it meanwhile.
    """
    end = page.status.end if page.is_last else None
    if end is None or end.state != "stopped" or page.chunks or position == Position():
        return page
    if not position.offset and (await store.read_page(stream_id, position.seq - 2)).chunks:
        return page
    return replace(page, status=replace(page.status, state="error", error=NOT_KEPT))


def _encode(encode: Callable[[EventBatch], _T] | None, batch: EventBatch) -> Any:
    return batch if encode is None else encode(batch)


def _chars_of(batch: EventBatch) -> int:
    return sum(len(event.data) for _, event in batch.events)


async def _next_page(pages: AsyncIterator[StreamPage]) -> StreamPage:
    return await anext(pages)


def _waiter_for(task: asyncio.Task[StreamPage]) -> asyncio.Future[bool]:
    """Return a future that becomes True when ``task`` is done; resolving or cancelling it leaves the task alone."""
    waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def resolve(_: object) -> None:
        if not waiter.done():
            waiter.set_result(True)

    task.add_done_callback(resolve)
    return waiter


def failure_end(error: AibindError, stream_id: str) -> StreamEnd:
    """Return what a reader may know of a failure; the rest is logged."""
    if isinstance(error, ProducerLostError | StreamNotFoundError):
        return StreamEnd("error", str(error))
    logger.error(
        "Stream %s could not be read",
        stream_id,
        exc_info=error,
        extra=log_fields("stream.not_read", stream_id=stream_id),
    )
    return StreamEnd("error", "Stream read failed")


def _advance(position: Position, page: StreamPage) -> Position:
    """Return the position after a page that was read from ``position``."""
    if not page.chunks:
        return position
    left = position.offset
    for chunk in page.chunks:
        if not left:
            break
        left = max(0, left - length_of(chunk.event))
    return Position(page.chunks[-1].seq + 1, left)


def _batches_of(page: StreamPage, position: Position, *, whole_chunks: bool) -> Iterator[EventBatch]:
    """Return the events of a page in batches of about 64 Ki characters; the last one carries the end, if known."""
    end = page.status.end if page.is_last else None
    if end is not None and end.state != "error" and page.chunks and _advance(position, page).offset:
        end = StreamEnd("error", NOT_KEPT)
    events: list[tuple[int, StreamEvent]] = []
    after = reached = position.id
    size = 0
    for chunk in page.chunks:
        if size >= BATCH_CHARS:
            yield EventBatch(tuple(events), after, reached)
            events, size, after = [], 0, reached
        event = chunk.event
        reached, offset = chunk.seq, 0
        if chunk.seq == position.seq and position.offset and (passed := length_of(event)) <= position.offset:
            position = Position(chunk.seq + 1, position.offset - passed)
            continue
        if event.event == PACK_NAME or (chunk.seq == position.seq and position.offset and not event.grows):
            packed = events_after(chunk.seq, event, position.offset if chunk.seq == position.seq else 0)
            if whole_chunks:  # another server packs: a reader who is cut off in a pack receives it again
                packed = [(id_ if id_ == chunk.seq else chunk.seq - 1, one) for id_, one in packed]
            events += packed
            size += len(event.data)
            continue
        if chunk.seq == position.seq and position.offset and event.grows:
            offset = position.offset
            event = StreamEvent(event.event, event.data[offset:])
        chars = len(event.data)
        if chars > SHORT_CHARS and not whole_chunks:
            events += split_event(event, chunk.seq, Position(chunk.seq, offset))
        else:
            events.append((chunk.seq, event))
        size += chars
    if events or end is not None:
        yield EventBatch(tuple(events), after, reached, end)


class _IdleTimer:
    """Wakes a follower that has waited too long. Its one timer moves when it fires, not at every batch."""

    __slots__ = ("_idle_s", "_loop", "_since", "_timer", "_waiter")

    def __init__(self, idle_s: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle_s = idle_s
        self._since = self._loop.time()
        self._timer: Timer | None = None
        self._waiter: asyncio.Future[bool] | None = None

    def restart(self) -> None:
        """Count from now on."""
        self._since = self._loop.time()

    async def wait(self, waiter: asyncio.Future[bool]) -> bool:
        """Wait for ``waiter``; return False when it is idle time instead."""
        self._waiter = waiter
        if self._timer is None and self._idle_s is not None:
            self._timer = call_later(self._since + self._idle_s - self._loop.time(), self._fire)
        return await waiter

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        assert self._idle_s is not None
        self._timer = None
        left_s = self._since + self._idle_s - self._loop.time()
        if left_s > 0:
            self._timer = call_later(left_s, self._fire)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(False)
