"""A stream that outlives its reader: the producer, its followers in this process, and resuming (contract §5)."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import TypeAlias
from weakref import WeakKeyDictionary

from .._closing import close_iterator
from ..errors import AibindError
from .events import StreamEvent
from .followers import follow_buffer, follow_store
from .normalize import EventNormalizer
from .position import Position
from .response import HttpResponse
from .sse import HEADERS, encode_message
from .store import StreamEnd, StreamStore
from .writer import SHUT_DOWN, StreamWriter

__all__ = ["DurableStream", "EndHook", "KeepAlive"]

KeepAlive: TypeAlias = Callable[[Awaitable[None]], object]
"""Is given the producer's task, so that the runtime keeps it running when its request is over."""

EndHook: TypeAlias = Callable[[StreamEnd], Awaitable[None]]
"""Is called once, when the source has ended and is closed, and awaited before the end is delivered."""

HEARTBEAT_MS = 15_000

logger = logging.getLogger("aibind")


class DurableStream:
    """Pipes a source of events into a store and to any number of followers.

    The producer is a task of its own: a follower that goes away, or a response that is cut, does not end it. Make one
    with :meth:`create`, and call :meth:`response` once for each reader.
    """

    def __init__(self, store: StreamStore, stream_id: str, writer: StreamWriter, heartbeat_ms: float) -> None:
        self.id = stream_id
        self._store = store
        self._writer = writer
        self._heartbeat_s = heartbeat_ms / 1000
        self._producer: asyncio.Task[None] | None = None
        self._pumping = True
        self._cut: StreamEnd | None = None  # how it is to end, when it was cut short
        self._abandoned = False

    @classmethod
    async def create(
        cls,
        store: StreamStore,
        source: AsyncIterable[StreamEvent | str],
        *,
        stream_id: str | None = None,
        flush_interval_ms: float | None = None,
        heartbeat_ms: float = HEARTBEAT_MS,
        keep_alive: KeepAlive | None = None,
        on_end: EndHook | None = None,
    ) -> DurableStream:
        """Start to pipe ``source`` into a new stream, and return when the stream exists in the store.

        ``source`` yields events, or text; it is read and closed by one task, and always closed. An exception that it
        raises ends the stream with state ``error`` and the exception's message. ``stream_id`` is random unless given.
        ``flush_interval_ms`` is how long text gathers between two writes (None: what the store recommends; 0: every
        event is stored before it is delivered). A follower that hears nothing for ``heartbeat_ms`` gets a comment.
        Raises TypeError for what is no such source, StreamExistsError, or what else the store raises; then nothing was
        started.
        """
        events = aiter(source)  # raises TypeError for what is no source, before anything has begun
        stream_id = stream_id or str(uuid.uuid4())
        stream = cls(
            store, stream_id, StreamWriter(store, stream_id, flush_interval_ms=flush_interval_ms), heartbeat_ms
        )
        # The model begins to think while the store creates the row; nothing is delivered before that.
        producer = asyncio.create_task(stream._produce(events, on_end), name=f"aibind producer of {stream_id}")
        stream._producer = producer
        try:
            await asyncio.sleep(0)  # a task that has begun can be cancelled in an orderly way
            await stream._writer.open()
        except BaseException:
            stream._abandoned = True
            producer.cancel()
            await asyncio.wait([producer])
            raise
        if not producer.done() and store.shares_wakeups:
            _producers.setdefault(store, {})[stream_id] = stream
        if keep_alive is not None:
            keep_alive(producer)
        return stream

    def response(self, *, after: int | None = None) -> HttpResponse[AsyncGenerator[bytes]]:
        """Return the stream as server-sent events, beginning with its id.

        With ``after`` the body continues after the message with that id (0: from the beginning), without the stream's
        id. Each call returns a new body. Raises ValueError for an id out of range.
        """
        body = self._announce_and_follow() if after is None else self._follow(Position.after(after))
        return HttpResponse(200, {**HEADERS, "X-Stream-Id": self.id}, body)

    @property
    def end(self) -> StreamEnd | None:
        """Tell how the stream ended, or None while it runs."""
        return self._writer.buffer.end

    async def stop(self) -> None:
        """Stop the source, keep what it gave, and end the stream as ``stopped``, unless it has ended."""
        self._cut_short(StreamEnd("stopped"))
        await self.wait_closed()

    async def abort(self, message: str) -> None:
        """Do the same, but end the stream as ``error`` with a message for its readers."""
        self._cut_short(StreamEnd("error", message))
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the source is closed and the end is stored. To cancel the waiting does not cancel the producer."""
        if self._producer is not None:
            await asyncio.wait([self._producer])

    @classmethod
    def find(cls, store: StreamStore, stream_id: str) -> DurableStream | None:
        """Find the producer of a stream, when it runs in this process and writes to this very store object."""
        return _producers.get(store, {}).get(stream_id)

    @classmethod
    async def resume(
        cls, store: StreamStore, stream_id: str, after: int = 0, *, heartbeat_ms: float = HEARTBEAT_MS
    ) -> HttpResponse[AsyncGenerator[bytes]]:
        """Go on after the message with id ``after``, exactly, wherever the stream's producer runs.

        Raises StreamNotFoundError when the stream is unknown or has expired, and ValueError for an id out of range.
        When the producer turns out to be lost, the body ends with an ``error`` event: ``producer lost``.
        """
        position = Position.after(after)
        producer = cls.find(store, stream_id)
        if producer is not None:
            return producer.response(after=after)
        first = await store.read_page(stream_id, position.seq - 1)
        body = follow_store(store, stream_id, position, heartbeat_ms / 1000, first)
        return HttpResponse(200, {**HEADERS, "X-Stream-Id": stream_id}, body)

    # --- followers ---

    def _follow(self, position: Position) -> AsyncGenerator[bytes]:
        return follow_buffer(self._writer.buffer, self._store, self.id, position, self._heartbeat_s)

    async def _announce_and_follow(self) -> AsyncGenerator[bytes]:
        yield encode_message(self.id, id=self.id, event="stream-id")
        async for data in self._follow(Position()):
            yield data

    # --- the producer ---

    def _cut_short(self, end: StreamEnd) -> None:
        if self._pumping and self._cut is None and self._producer is not None:
            self._cut = end
            self._producer.cancel()

    async def _produce(self, events: AsyncIterator[StreamEvent | str], on_end: EndHook | None) -> None:
        self._writer.on_halt = lambda: self._cut_short(StreamEnd("stopped"))
        try:
            try:
                end = await self._pump(events)
            finally:
                self._pumping = False
                await close_iterator(events)
            end = await self._conclude(end, on_end)
            self._writer.buffer.finish(end)
        finally:
            if self._writer.buffer.end is None:  # cancelled, and not for the first time
                self._writer.abandon()
                self._writer.buffer.finish(StreamEnd("error", SHUT_DOWN))
            _producers.get(self._store, {}).pop(self.id, None)

    async def _pump(self, events: AsyncIterator[StreamEvent | str]) -> StreamEnd:
        """Move events from the source to the writer, until either of them ends."""
        cleaner = EventNormalizer()
        try:
            async for item in events:
                if self._cut is not None:  # a source that does not heed its cancellation
                    return self._uncancelled(self._cut)
                event = cleaner.clean(StreamEvent("", item) if isinstance(item, str) else item)
                if event is not None:
                    await self._writer.write(event)
            for event in cleaner.flush():
                await self._writer.write(event)
        except asyncio.CancelledError:
            if self._abandoned:
                raise
            if self._cut is None:
                return StreamEnd("error", SHUT_DOWN)
            return self._uncancelled(self._cut)
        except Exception as error:
            if not isinstance(error, AibindError):
                logger.warning("The source of stream %s failed", self.id, exc_info=error)
            return StreamEnd("error", str(error) or type(error).__name__)
        return StreamEnd("done")

    def _uncancelled(self, end: StreamEnd) -> StreamEnd:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()  # the cancellation was ours, and has done its work
        return end

    async def _conclude(self, end: StreamEnd, on_end: EndHook | None) -> StreamEnd:
        """Store the end and run the hook side by side; return how the stream really ended."""
        end = self._writer.halted or end
        if on_end is None:
            return await self._writer.end(end)
        actual, failure = await asyncio.gather(self._writer.end(end), on_end(end), return_exceptions=True)
        if failure is not None:
            logger.error("What was to happen at the end of stream %s failed", self.id, exc_info=failure)
        if isinstance(actual, BaseException):
            raise actual
        return actual


# Producers of this process, by the store that they write to: their followers need neither polling nor store.
_producers: WeakKeyDictionary[StreamStore, dict[str, DurableStream]] = WeakKeyDictionary()
