"""A stream that outlives its readers: its producer, its followers, and resuming (contract, section 5)."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Collection
from typing import TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from .. import _observing
from .._closing import close_iterator
from .._logging import log_fields
from .._retry import retry
from ..errors import StreamExistsError, TransientError
from .batch import EventBatch
from .claims import StreamClaim
from .events import StreamEvent
from .following import check_kept, follow_buffer, follow_store
from .live_reader import LiveReader
from .normalize import EventNormalizer
from .position import Position
from .response import HttpResponse
from .retrying import OUTAGE_S
from .source import iterate, message_for_readers, wrong_item
from .sse import HEADERS
from .sse_body import announced, announcement, encoder_of
from .stopping import stop_elsewhere
from .store import NOT_KEPT, StreamEnd, StreamStore
from .writer import SHUT_DOWN, StreamWriter

__all__ = ["DurableStream", "EndHook", "EventHook", "KeepAlive", "MoveHook", "PrepareHook", "follow"]

KeepAlive: TypeAlias = Callable[[Awaitable[None]], object]
"""Called with the producer's task, so that the runtime keeps it running after its request."""

EndHook: TypeAlias = Callable[[StreamEnd, bool], Awaitable[None]]
"""Called and awaited when the end is stored, before it is delivered: with how the stream ended in its store, and
whether the store has every event that the source yielded. After a TransientError it is called again: for as long as a
lease before the end is delivered, and then for ten minutes after it."""

PrepareHook: TypeAlias = Callable[[], Awaitable[None]]
"""Called and awaited once, when the stream exists and before its source is started."""

MoveHook: TypeAlias = Callable[[], object]
"""Called when another process has gone on with a stream, and the end is that process's to store."""

EventHook: TypeAlias = Callable[[StreamEvent], object]
"""Called with each event as readers will receive it, before it is delivered."""

HEARTBEAT_MS = 15_000

_ITEMS = (str, StreamEvent)  # a union would be made again for each event

_T = TypeVar("_T")

logger = logging.getLogger("aibind")


class DurableStream:
    """A source of events, piped into a store and to any number of followers.

    The producer is a task that belongs to the stream: a follower that leaves, or a response that is cut, does not end
    it. Make a stream with :meth:`create`, and call :meth:`response` or :meth:`follow` once for each reader.
    """

    def __init__(
        self, store: StreamStore, stream_id: str, writer: StreamWriter, heartbeat_ms: float, owner: str | None
    ) -> None:
        self.id = stream_id
        self.owner = owner
        self._store = store
        self._writer = writer
        self._heartbeat_s = heartbeat_ms / 1000
        self._producer: asyncio.Task[None] | None = None
        self._pumping = True
        self._cut: StreamEnd | None = None  # how the stream is to end, when it was cut short
        self._abandoned = False
        self._on_moved: MoveHook | None = None
        self._ended = asyncio.Event()

    def __repr__(self) -> str:
        return f"<DurableStream {self.id!r} {self.end.state if self.end else 'active'}>"

    @classmethod
    async def create(
        cls,
        store: StreamStore,
        source: AsyncIterable[StreamEvent | str],
        *,
        stream_id: str | None = None,
        session_id: str | None = None,
        owner: str | None = None,
        request: str | None = None,
        question_id: str | None = None,
        continuation: str | None = None,
        flush_interval_ms: float | None = None,
        pack_events: bool | None = None,
        whole_chunks: bool = False,
        shows_stored: bool = False,
        heartbeat_ms: float = HEARTBEAT_MS,
        keep_alive: KeepAlive | None = None,
        prepare: PrepareHook | None = None,
        on_event: EventHook | None = None,
        on_end: EndHook | None = None,
        on_moved: MoveHook | None = None,
    ) -> DurableStream:
        """Pipe ``source`` into a new stream, and return as soon as the stream exists in the store.

        ``source`` yields events or text. One task reads it, and always closes it. An exception that it raises ends the
        stream with state ``error``. Readers see its message when it is an AibindError, such as
        :class:`~aibind.errors.SourceError`, and not a database's; any other exception is logged, and they see ``The
        reply failed``.

        ``stream_id`` is random by default. ``session_id`` and ``owner`` say which conversation and which user the
        stream belongs to, and ``question_id`` which message it answers; the store records them, and finds the live
        streams of a session and the lost ones. ``request`` is a mark of the request that is answered, which the store
        records as well.
        The source is started while the store creates the stream. With ``prepare`` it is started after that, and after
        ``prepare`` has been awaited: of several calls with one ``stream_id``, one starts its source. When ``prepare``
        raises, the stream is removed again.
        ``flush_interval_ms`` is the time between two writes, in milliseconds (None: as the store recommends; 0: every
        event is stored before it is delivered). ``pack_events`` is whether small events that crowd share a chunk (None:
        if the store pays for each write); readers see them one by one. With ``whole_chunks`` readers see text once it
        is stored, in chunks of at most 4 Ki characters, and each id is that of a stored chunk, so that a server with
        the JavaScript packages can resume it. A reader of :meth:`response` that receives nothing for ``heartbeat_ms``
        gets a comment.
        ``continuation`` is what another process needs to go on with the stream when this one is lost: see
        :meth:`ClaimableStreamStore.claim` and :meth:`go_on`. When one has, the source is closed, followers here read on
        in the store, and ``on_moved`` is called in place of ``on_end``. With ``shows_stored`` readers see events once
        they are stored, for a source that would not be gone on with to the character.

        Raises TypeError when ``source`` cannot be iterated, ValueError for options that do not go together,
        StreamExistsError for an id that is taken, and the store's errors; then nothing was started.
        """
        events = iterate(source)  # before anything has begun
        stream_id = stream_id or str(uuid.uuid4())
        writer = StreamWriter(
            store,
            stream_id,
            session_id=session_id,
            owner=owner,
            request=request,
            question_id=question_id,
            continuation=continuation,
            flush_interval_ms=flush_interval_ms,
            pack_events=pack_events,
            whole_chunks=whole_chunks,
            shows_stored=shows_stored,
        )
        stream = cls(store, stream_id, writer, heartbeat_ms, owner)
        stream._on_moved = on_moved
        if prepare is None:
            await stream._open_and_start(events, on_event, on_end)
        else:
            await stream._open_then_start(prepare, events, on_event, on_end)
        stream._register(keep_alive)
        return stream

    @classmethod
    async def go_on(
        cls,
        store: StreamStore,
        source: AsyncIterable[StreamEvent | str],
        *,
        stream_id: str,
        claim: StreamClaim,
        saved_seq: int,
        flush_interval_ms: float | None = None,
        pack_events: bool | None = None,
        whole_chunks: bool = False,
        shows_stored: bool = False,
        heartbeat_ms: float = HEARTBEAT_MS,
        keep_alive: KeepAlive | None = None,
        on_event: EventHook | None = None,
        on_end: EndHook | None = None,
        on_moved: MoveHook | None = None,
    ) -> DurableStream:
        """Pipe ``source`` into a stream of a lost producer that this process has claimed.

        ``source`` yields what comes after the ``saved_seq`` chunks that the stream had when it was claimed. The options
        are those of :meth:`create`.
        """
        events = iterate(source)
        writer = StreamWriter(
            store,
            stream_id,
            claim=claim,
            saved_seq=saved_seq,
            flush_interval_ms=flush_interval_ms,
            pack_events=pack_events,
            whole_chunks=whole_chunks,
            shows_stored=shows_stored,
        )
        stream = cls(store, stream_id, writer, heartbeat_ms, claim.owner)
        stream._on_moved = on_moved
        await stream._open_and_start(events, on_event, on_end)
        stream._register(keep_alive)
        return stream

    def _register(self, keep_alive: KeepAlive | None) -> None:
        producer = self._producer
        assert producer is not None
        if not producer.done() and self._store.shares_wakeups:
            _producers.setdefault(self._store, {})[self.id] = self
        if keep_alive is not None:
            keep_alive(producer)

    def follow(self, after: int = 0, *, idle_s: float | None = None) -> AsyncGenerator[EventBatch]:
        """Follow the stream as events, from the one after the id ``after`` (0: from the beginning).

        See :func:`follow`. Raises ValueError for an id out of range.
        """
        return self._follow(Position.after(after), None, idle_s)

    def response(
        self, *, after: int | None = None, events: Collection[str] | None = None
    ) -> HttpResponse[AsyncGenerator[bytes]]:
        """Return the stream as server-sent events, beginning with its id.

        With ``after`` the body continues after the message with that id (0: from the beginning), without the stream's
        id. ``events`` are the names of those that are sent beside text and the end (None: all). Each call returns a new
        body. Raises ValueError for an id out of range.
        """
        encode = _encoder_of(events, whole_chunks=self._writer.buffer.whole_chunks)
        position = Position.after(after or 0)
        body = self._follow(position, encode, self._heartbeat_s)
        live = LiveReader(
            self._writer.buffer,
            self._store,
            self.id,
            position,
            encode,
            idle_s=self._heartbeat_s,
            head=announcement(self.id) if after is None else b"",
        )
        return _response(self.id, announced(self.id, body) if after is None else body, live)

    @property
    def end(self) -> StreamEnd | None:
        """How the stream ended, or None while it runs."""
        return self._writer.buffer.end

    async def stop(self) -> None:
        """Stop the source, keep what it yielded, and end the stream as ``stopped``, unless it has ended."""
        self._cut_short(StreamEnd("stopped"))
        if self._producer is not None and not self._producer.done():
            await self._ended.wait()

    async def abort(self, message: str) -> None:
        """Stop the source, and end the stream as ``error`` with a message for its readers.

        From now on a store that does not answer is given 5 s.
        """
        self._writer.hurry()
        self._cut_short(StreamEnd("error", message))
        await self.wait_closed()

    async def set_reference(self, reference: str) -> None:
        """Store what the model's provider knows the answer by, for a process that goes on with the stream."""
        await self._writer.set_reference(reference)

    async def wait_stored(self) -> bool:
        """Wait until the store has every event so far; return False when it will not take them any more."""
        return await self._writer.wait_saved()

    async def wait_closed(self) -> None:
        """Wait until the source is closed and the end is stored. Cancelling this wait does not cancel the producer."""
        if self._producer is not None:
            await asyncio.wait([self._producer])

    @classmethod
    def find(cls, store: StreamStore, stream_id: str) -> DurableStream | None:
        """Return the stream, if its producer runs in this process and writes to this very store object."""
        return _producers.get(store, {}).get(stream_id)

    @classmethod
    async def stop_by_id(cls, store: StreamStore, stream_id: str) -> StreamEnd:
        """Stop a stream wherever its producer runs, and return how it ended.

        A producer elsewhere is asked to, so that it stores what it has delivered. One that does not answer within a few
        seconds is not waited for. Raises StreamNotFoundError when the stream is unknown or has expired.
        """
        producer = cls.find(store, stream_id)
        if producer is not None:
            await producer.stop()
            if producer.end is not None:
                return producer.end
        return await stop_elsewhere(store, stream_id)

    @classmethod
    async def resume(
        cls,
        store: StreamStore,
        stream_id: str,
        after: int | None = 0,
        *,
        events: Collection[str] | None = None,
        whole_chunks: bool = False,
        heartbeat_ms: float = HEARTBEAT_MS,
    ) -> HttpResponse[AsyncGenerator[bytes]]:
        """Continue after the message with id ``after``, exactly, wherever the stream's producer runs.

        None is from the beginning, with the stream's id first, as in the response that created it. ``events`` are those
        of :meth:`response`, and ``whole_chunks`` that of :meth:`create`, for a producer elsewhere.
        Raises StreamNotFoundError when the stream is unknown or has expired, and ValueError for an id out of range.
        When the producer turns out to be lost, the body ends with an ``error`` event: ``producer lost``.
        """
        producer = cls.find(store, stream_id)
        if producer is not None:
            return producer.response(after=after, events=events)
        encode = _encoder_of(events, whole_chunks=whole_chunks)
        heartbeat_s = heartbeat_ms / 1000
        body = await _follow_store(store, stream_id, after or 0, encode, heartbeat_s, whole_chunks=whole_chunks)
        return _response(stream_id, announced(stream_id, body) if after is None else body)

    # --- followers ---

    def _follow(
        self, position: Position, encode: Callable[[EventBatch], _T] | None, idle_s: float | None
    ) -> AsyncGenerator[_T]:
        return follow_buffer(self._writer.buffer, self._store, self.id, position, encode, idle_s)

    # --- the producer ---

    def _start(
        self, events: AsyncIterator[StreamEvent | str], on_event: EventHook | None, on_end: EndHook | None
    ) -> None:
        self._producer = asyncio.create_task(
            self._produce(events, on_event, on_end), name=f"aibind producer of {self.id}"
        )

    async def _open_and_start(
        self, events: AsyncIterator[StreamEvent | str], on_event: EventHook | None, on_end: EndHook | None
    ) -> None:
        """Start the source while the store creates the stream; nothing is delivered before that."""
        self._start(events, on_event, on_end)
        assert self._producer is not None
        try:
            await asyncio.sleep(0)  # a task that has started can be cancelled in an orderly way
            await self._writer.open()
        except BaseException:
            self._abandoned = True
            self._producer.cancel()
            await asyncio.wait([self._producer])
            raise

    async def _open_then_start(
        self,
        prepare: PrepareHook,
        events: AsyncIterator[StreamEvent | str],
        on_event: EventHook | None,
        on_end: EndHook | None,
    ) -> None:
        """Create the stream, prepare, and start the source, so that none is started in vain."""
        try:
            await self._writer.open()
            await prepare()
        except BaseException as error:
            if not isinstance(error, StreamExistsError):
                await self._writer.discard()
            await close_iterator(events)
            raise
        self._start(events, on_event, on_end)
        await asyncio.sleep(0)  # as above

    def _cut_short(self, end: StreamEnd) -> None:
        if self._pumping and self._cut is None and self._producer is not None:
            self._cut = end
            self._producer.cancel()

    async def _produce(
        self, events: AsyncIterator[StreamEvent | str], on_event: EventHook | None, on_end: EndHook | None
    ) -> None:
        self._writer.on_halt = lambda: self._cut_short(StreamEnd("stopped"))
        if _observing.observer is not None:
            _observing.observer.begin_stream(self.id)
        try:
            try:
                end = await self._pump(events, on_event)
            finally:
                self._pumping = False
                await close_iterator(events)
            end = await self._writer.end(self._writer.halted or end)
            if self._writer.has_moved:
                self._move()
                return
            is_heard = on_end is None or await self._run_hook(on_end, end, self._store.lease_ms / 1000)
            self._tell(end)
            _producers.get(self._store, {}).pop(self.id, None)  # from here on its store tells what it is
            if on_end is not None and not is_heard:  # what it stores must not be lost to a long outage
                await self._run_hook(on_end, end, OUTAGE_S)
        finally:
            buffer = self._writer.buffer
            if buffer.end is None and not buffer.has_moved:  # cancelled, and not for the first time
                self._writer.abandon()
                self._writer.buffer.finish(StreamEnd("error", SHUT_DOWN))
            self._ended.set()
            _producers.get(self._store, {}).pop(self.id, None)

    async def _pump(self, events: AsyncIterator[StreamEvent | str], on_event: EventHook | None) -> StreamEnd:
        """Move events from the source to the writer, until either of them ends."""
        if self._writer.halted is not None:  # before the source was started
            return self._writer.halted
        if self._writer.stop_requested:
            return StreamEnd("stopped")
        normalizer = EventNormalizer()
        try:
            async for item in events:
                if self._cut is not None:  # a source that ignores its cancellation
                    return self._uncancelled(self._cut)
                if not isinstance(item, _ITEMS):
                    raise wrong_item(item)
                event = normalizer.clean(StreamEvent("", item) if isinstance(item, str) else item)
                if event is not None:
                    if on_event is not None:
                        if not self._writer.is_open:
                            await self._writer.wait_open()  # so that what the hook is given is also written
                        on_event(event)
                    await self._writer.write(event)
            await self._writer.wait_open()
            for event in normalizer.flush():
                if on_event is not None:
                    on_event(event)
                await self._writer.write(event)
        except asyncio.CancelledError:
            if self._abandoned:
                raise
            if self._cut is None:
                return StreamEnd("error", SHUT_DOWN)
            return self._uncancelled(self._cut)
        except Exception as error:
            return StreamEnd("error", message_for_readers(error))
        return StreamEnd("done")

    def _uncancelled(self, end: StreamEnd) -> StreamEnd:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()  # the cancellation was ours, and has done its work
        return end

    def _move(self) -> None:
        """Leave the stream to the producer that has claimed it."""
        _producers.get(self._store, {}).pop(self.id, None)
        self._writer.buffer.move()
        if self._on_moved is not None:
            self._on_moved()

    def _tell(self, end: StreamEnd) -> None:
        """Finish the buffer, so that followers learn how the stream really ended."""
        buffer = self._writer.buffer
        was_delivered = buffer.has_unsaved and buffer.shows_unsaved
        buffer.finish(StreamEnd("error", NOT_KEPT) if was_delivered and end.state != "error" else end)
        self._ended.set()

    async def _run_hook(self, on_end: EndHook, end: StreamEnd, patience_s: float) -> bool:
        """Run the hook with how the stream really ended; return False when it may succeed at another time."""
        is_whole = self._writer.is_whole
        try:
            await retry(lambda: on_end(end, is_whole), patience_s=patience_s, may_repeat=self._writer.may_retry)
        except Exception as error:
            logger.exception(
                "The end hook of stream %s failed",
                self.id,
                extra=log_fields("stream.end_hook_failed", stream_id=self.id),
            )
            return not (isinstance(error, TransientError) and self._writer.may_retry(error))
        return True


async def follow(
    store: StreamStore, stream_id: str, after: int = 0, *, idle_s: float | None = None
) -> AsyncGenerator[EventBatch]:
    """Follow a stream as events, wherever its producer runs, from the event after the id ``after`` (0: all of it).

    ::

        async for batch in await follow(store, stream_id):
            for id, event in batch.events:
                ...

    The last batch carries how the stream ended; a producer that was lost, or a store that cannot be read, is an end
    with state ``error``. Followers at one position in one process receive the same batch objects. After ``idle_s``
    seconds of silence an idle batch is yielded, for a heartbeat (None: never). Close the iterator (``aclose()``) when
    you leave early.

    Raises StreamNotFoundError when the stream is unknown or has expired, ValueError for an id out of range, and the
    store's errors.
    """
    producer = DurableStream.find(store, stream_id)
    if producer is not None:
        return producer.follow(after, idle_s=idle_s)
    return await _follow_store(store, stream_id, after, None, idle_s)


# Producers of this process, by the store that they write to: their followers need neither polling nor store.
_producers: WeakKeyDictionary[StreamStore, dict[str, DurableStream]] = WeakKeyDictionary()


async def _follow_store(
    store: StreamStore,
    stream_id: str,
    after: int,
    encode: Callable[[EventBatch], _T] | None,
    idle_s: float | None,
    *,
    whole_chunks: bool = False,
) -> AsyncGenerator[_T]:
    position = Position.after(after)
    first = await store.read_page(stream_id, position.seq - 1)  # raises before anything is sent
    first = await check_kept(first, store, stream_id, position)
    return follow_store(store, stream_id, position, first, encode, idle_s, whole_chunks=whole_chunks)


def _encoder_of(events: Collection[str] | None, *, whole_chunks: bool) -> Callable[[EventBatch], bytes]:
    return encoder_of(None if events is None else frozenset(events), whole_chunks=whole_chunks)


def _response(
    stream_id: str, body: AsyncGenerator[bytes], live: LiveReader | None = None
) -> HttpResponse[AsyncGenerator[bytes]]:
    return HttpResponse(200, {**HEADERS, "X-Stream-Id": stream_id}, body, live)
