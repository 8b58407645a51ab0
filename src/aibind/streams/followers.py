"""Turning a stream into the body of an SSE answer: from the buffer in this process, or from a store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

from .._closing import close_iterator
from .._time import Timer, call_later
from ..errors import AibindError, ProducerLostError, StreamNotFoundError
from .buffer import MESSAGE_CHARS, StreamBuffer
from .position import Position
from .sse import PING, encode_message
from .store import StreamEnd, StreamPage, StreamStore

__all__ = ["encode_end", "follow_buffer", "follow_store"]

logger = logging.getLogger("aibind")


def encode_end(end: StreamEnd) -> bytes:
    """Encode how a stream ended: ``error`` with its message, or ``stopped``; then always ``done``."""
    done = encode_message("", event="done")
    if end.state == "error":
        return encode_message(end.error or "error", event="error") + done
    return encode_message("", event="stopped") + done if end.state == "stopped" else done


async def follow_buffer(
    buffer: StreamBuffer, store: StreamStore, stream_id: str, position: Position, heartbeat_s: float
) -> AsyncGenerator[bytes]:
    """Follow a producer in this process: no polling, and no store unless the follower is far behind."""
    heart = _Heart(heartbeat_s)
    try:
        while True:
            while not buffer.reaches(position):
                page = await store.read_page(stream_id, position.seq - 1)
                if not page.chunks:
                    raise StreamNotFoundError(stream_id)
                for data, reached in _encode_page(page, position):
                    position = reached
                    yield data
            data, position = buffer.read(position)
            if data:
                yield data
                heart.sent()
            elif buffer.end is not None:
                yield encode_end(buffer.end)
                return
            elif not await heart.wait(buffer.waiter()):
                yield PING
                heart.sent()
    except AibindError as error:
        yield encode_end(_failure(error, stream_id))
    finally:
        heart.stop()


async def follow_store(
    store: StreamStore, stream_id: str, position: Position, heartbeat_s: float, first: StreamPage
) -> AsyncGenerator[bytes]:
    """Follow a stream in its store, wherever its producer is. ``first`` is the first look at what follows."""
    page = first
    for data, reached in _encode_page(page, position):
        position = reached
        yield data
    if page.end is not None:
        yield encode_end(page.end)
        return
    pages = store.read_pages(stream_id, position.seq - 1)
    looking: asyncio.Future[StreamPage] | None = None
    try:
        while True:
            looking = looking or asyncio.ensure_future(anext(pages))
            if not (await asyncio.wait([looking], timeout=heartbeat_s))[0]:
                yield PING
                continue
            page, looking = await looking, None
            for data, reached in _encode_page(page, position):
                position = reached
                yield data
            if page.end is not None:
                end = page.end
                break
    except AibindError as error:
        end = _failure(error, stream_id)
    finally:
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)  # an error that nobody waits for is no news
        await close_iterator(pages)
    yield encode_end(end)


def _failure(error: AibindError, stream_id: str) -> StreamEnd:
    """Tell a reader what it may know of a failure; the rest is for the buffer."""
    if isinstance(error, ProducerLostError | StreamNotFoundError):
        return StreamEnd("error", str(error))
    logger.error("Stream %s could not be read", stream_id, exc_info=error)
    return StreamEnd("error", "Stream read failed")


def _encode_page(page: StreamPage, position: Position) -> list[tuple[bytes, Position]]:
    """Encode a page's chunks in messages joined to about 64 Ki characters, each with where it ends."""
    pieces: list[tuple[bytes, Position]] = []
    out: list[bytes] = []
    size = 0
    for chunk in page.chunks:
        event = chunk.event
        data = event.data
        if chunk.seq == position.seq and position.offset and event.grows:
            data = data[position.offset :]
            if not data:
                continue
        out.append(encode_message(data, id=chunk.seq, event=event.event))
        size += len(data)
        if size >= MESSAGE_CHARS:
            pieces.append((b"".join(out), Position(chunk.seq + 1)))
            out, size = [], 0
    if page.chunks and (out or not pieces):
        pieces.append((b"".join(out), Position(page.chunks[-1].seq + 1)))
    return pieces


class _Heart:
    """Says when a silent connection needs a comment. Its one timer moves when it fires, not at every message."""

    def __init__(self, interval_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._interval_s = interval_s
        self._sent = self._loop.time()
        self._timer: Timer | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._due = False

    def sent(self) -> None:
        """Note that something was sent."""
        self._sent = self._loop.time()

    async def wait(self, change: asyncio.Future[None]) -> bool:
        """Wait for a change; False when it is time for a comment instead."""
        self._due = False
        self._waiter = change
        if self._timer is None:
            self._timer = call_later(self._sent + self._interval_s - self._loop.time(), self._fire)
        await change
        return not self._due

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        self._timer = None
        due_at = self._sent + self._interval_s
        if due_at > self._loop.time():
            self._timer = call_later(due_at - self._loop.time(), self._fire)
        elif self._waiter is not None and not self._waiter.done():
            self._due = True
            self._waiter.set_result(None)
