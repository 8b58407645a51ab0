"""The buffer of a live stream, shared by its producer, its writer and its followers in this process."""

from __future__ import annotations

import asyncio

from .batch import EventBatch
from .events import PACK_NAME, StreamEvent, encode_chunk
from .packs import MAX_PACKED_CHARS, OpenPack, events_after, length_of
from .parts import SHORT_CHARS, split_event
from .position import Position
from .store import NOT_KEPT, StreamEnd

__all__ = ["BATCH_CHARS", "MAX_CHUNK_CHARS", "StreamBuffer"]

MAX_CHUNK_CHARS = 64 * 1024
"""Characters at which a growing chunk is closed."""

WHOLE_CHUNK_CHARS = 4 * 1024
"""Characters at which a growing chunk is closed that readers are sent as one message."""

WINDOW_CHARS = 512 * 1024
"""Stored characters that are kept for followers that are behind; older text they read from the store."""

BATCH_CHARS = 64 * 1024
"""About the number of characters in one batch."""

CROWD = 6
"""Chunks that events may begin, one soon after the other, before they are packed."""

MAX_SHARED = 64
"""Positions whose batches are kept for other followers until the next change."""


class StreamBuffer:
    """Events gathered into numbered chunks, for any number of followers to read.

    Adjacent text grows one open chunk until the writer takes it; any other event is a chunk by itself. With ``packs``
    small events that crowd, text among them, are one chunk: until the writer takes a single event again. A follower is
    a :class:`Position` and nothing more: all that lies between it and the end is handed out at once, so a slow follower
    gets fewer, larger batches. With ``store_first`` each event is a chunk by itself, which followers see once it is
    stored. With ``whole_chunks`` they see any chunk once it is stored, as one event; with ``shows_stored`` too, as its
    parts. Of a stream that another producer may take over, ids are ``anchored``: each counts from a chunk that is
    stored, so that it is that of the same character however the events after it are cut into chunks again. A stream
    that was taken over goes on from the chunk after ``saved_seq``.
    """

    def __init__(
        self,
        *,
        store_first: bool = False,
        packs: bool = False,
        whole_chunks: bool = False,
        shows_stored: bool = False,
        anchored: bool = False,
        saved_seq: int = 0,
    ) -> None:
        self.store_first = store_first
        self.whole_chunks = whole_chunks
        self._shows_stored = store_first or whole_chunks or shows_stored
        self._is_anchored = anchored and not self._shows_stored
        self._max_chars = WHOLE_CHUNK_CHARS if whole_chunks else MAX_CHUNK_CHARS
        self._packs = packs and not store_first
        self._pack = OpenPack()
        self._crowd = 0  # chunks that were begun since the writer took a single event
        self.end: StreamEnd | None = None
        self.has_moved = False
        self.saved_seq = saved_seq
        self._chunks: list[StreamEvent] = []  # closed; the first has seq _first
        self._first = saved_seq + 1
        self._window = 0  # characters in the saved chunks
        self._unsaved = 0  # characters in the others
        self._open = ""
        self._open_name: str = ""
        self._waiters: dict[asyncio.Future[bool], None] = {}  # in order, and each can be removed
        self._batches: dict[Position, tuple[EventBatch | None, Position]] = {}  # shared by followers at one position

    # --- the producer's side ---

    def push(self, event: StreamEvent) -> None:
        """Add an event, joining adjacent text."""
        self._unsaved += len(event.data)
        continues = self._open != "" and event.event == self._open_name  # which is the name of one that grows
        if not continues and self.is_crowded and len(event.data) <= MAX_PACKED_CHARS:
            if self._open:
                self.close_chunk()
            self._pack.add(event)
            if self._pack.chars >= MAX_CHUNK_CHARS:
                self.close_chunk()
        elif self.store_first or not event.grows:
            self._begin_chunk()
            self._chunks.append(event)
        else:
            if not continues:
                self._begin_chunk()
                self._open_name = event.event
            self._open += event.data
            while len(self._open) >= self._max_chars:
                self._chunks.append(StreamEvent(self._open_name, self._open[: self._max_chars]))
                self._open = self._open[self._max_chars :]
        if not self._shows_stored:
            self._wake()

    def _begin_chunk(self) -> None:
        self.close_chunk()
        self._crowd += 1

    def finish(self, end: StreamEnd) -> None:
        """Note that the stream has ended. Text that was delivered but could not be stored stays readable here."""
        self.close_chunk()
        self.end = end
        self._wake()

    def move(self) -> None:
        """Note that another producer goes on with the stream: its followers read on in the store."""
        self.has_moved = True
        self._wake()

    # --- the writer's side ---

    @property
    def shows_unsaved(self) -> bool:
        """Whether followers see events before they are stored."""
        return not self._shows_stored

    @property
    def unsaved_chars(self) -> int:
        """The number of characters that are not stored yet."""
        return self._unsaved

    @property
    def next_seq(self) -> int:
        """The seq of the open chunk, or of the next to be opened."""
        return self._first + len(self._chunks)

    @property
    def last_seq(self) -> int:
        """The seq of the last chunk, the open one included; 0 when there is none."""
        return self.next_seq if self._open or self._pack.events else self.next_seq - 1

    @property
    def has_unsaved(self) -> bool:
        """Whether anything waits to be stored."""
        return self.last_seq > self.saved_seq

    @property
    def is_crowded(self) -> bool:
        """Whether small events are packed at the moment."""
        return self._packs and self._crowd >= CROWD

    def close_chunk(self) -> None:
        """Close the growing chunk, so that it can be stored."""
        if self._open:
            self._chunks.append(StreamEvent(self._open_name, self._open))
            self._open = ""
        elif self._pack.events:
            chars = self._pack.chars
            self._chunks.append(self._pack.close())
            self._unsaved += len(self._chunks[-1].data) - chars

    def unsaved_chunks(self) -> list[str]:
        """Close the open chunk and return all that is not stored, encoded; the first has seq ``saved_seq + 1``."""
        self.close_chunk()
        skip = self.saved_seq - self._first + 1
        chunks = self._chunks[skip:]
        if len(chunks) == 1 and chunks[0].event != PACK_NAME:
            self._crowd = 0
        return [encode_chunk(chunk) for chunk in chunks]

    def mark_saved(self, seq: int) -> None:
        """Note that all chunks up to ``seq`` are stored, and drop the oldest beyond the window."""
        for i in range(self.saved_seq - self._first + 1, seq - self._first + 1):
            chars = len(self._chunks[i].data)
            self._unsaved -= chars
            self._window += chars
        self.saved_seq = seq
        if self._window > WINDOW_CHARS:
            self._drop(
                self._window - WINDOW_CHARS // 2
            )  # many at once, since deleting from a list's front moves the rest
        if self._shows_stored:
            self._wake()

    def _drop(self, chars: int) -> None:
        count = 0
        while chars > 0 and self._first + count <= self.saved_seq:
            size = len(self._chunks[count].data)
            chars -= size
            self._window -= size
            count += 1
        del self._chunks[:count]
        self._first += count

    # --- the followers' side ---

    def waiter(self) -> asyncio.Future[bool]:
        """Return a future that becomes True at the next change. The caller owns it, and may resolve or cancel it.

        A caller that stops waiting gives it back to :meth:`discard`.
        """
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        return waiter

    def discard(self, waiter: asyncio.Future[bool]) -> None:
        """Forget a future of :meth:`waiter`."""
        self._waiters.pop(waiter, None)

    def reaches(self, position: Position) -> bool:
        """Whether the buffer still holds what follows ``position``; what it dropped is in the store."""
        return position.seq >= self._first

    def read(self, position: Position) -> tuple[EventBatch | None, Position]:
        """Return what follows ``position``, about 64 Ki characters at most, and the position after it.

        The batch is None when there is nothing to read yet, and carries the end when it reaches it. Call this only for
        a position that the buffer :meth:`reaches`.
        """
        seq, offset = position
        in_open = seq == self._first + len(self._chunks) and not self._is_particular and self.end is None
        if in_open and offset == len(self._open):
            return None, position  # a follower that has everything, which each looks for after each token
        found = self._batches.get(position)
        if found is None:
            if len(self._batches) >= MAX_SHARED:
                self._batches.clear()  # readers who resume a silent stream at many positions must not fill the memory
            found = self._batches[position] = (
                self._read_open(position) if in_open and not self._is_anchored else self._build(position)
            )
        return found

    def anchored(self, position: Position) -> Position:
        """Return a position as one that counts from the first chunk that is not stored."""
        anchor = self.saved_seq + 1
        if position.seq <= anchor:
            return position
        unsaved = self._chunks[anchor - self._first : position.seq - self._first]
        return Position(anchor, position.offset + sum(map(length_of, unsaved)))

    def _build(self, position: Position) -> tuple[EventBatch | None, Position]:
        batch, reached = self._cut(position)
        if not self._is_anchored or batch is None or reached.seq <= self.saved_seq + 1:
            return batch, reached
        events = tuple((self.anchored(Position.after(id_)).id, event) for id_, event in batch.events)
        return EventBatch(events, self.anchored(position).id, self.anchored(reached).id, batch.end), reached

    def _read_open(self, position: Position) -> tuple[EventBatch | None, Position]:
        """Return what follows a position in the open chunk, where most followers are."""
        seq, offset = position
        if offset > len(self._open):
            return None, position
        event = StreamEvent(self._open_name, self._open[offset:] if offset else self._open)
        reached = Position(seq, len(self._open))
        last_id = reached.id
        if len(event.data) > SHORT_CHARS:
            return EventBatch(tuple(split_event(event, last_id, position)), position.id, last_id), reached
        return EventBatch(((last_id, event),), position.id, last_id), reached

    def _cut(self, position: Position) -> tuple[EventBatch | None, Position]:
        seq, offset = position
        events: list[tuple[int, StreamEvent]] = []
        size = 0
        visible = self.saved_seq if self._shows_stored else self.next_seq - 1
        while seq <= visible and size < BATCH_CHARS:
            event = self._chunks[seq - self._first]
            if offset and (passed := length_of(event)) <= offset:
                seq, offset = seq + 1, offset - passed
                continue
            if event.event == PACK_NAME or (offset and not event.grows):
                events += events_after(seq, event, offset)
                size += len(event.data)
                seq, offset = seq + 1, 0
                continue
            if offset and event.grows:
                event = StreamEvent(event.event, event.data[offset:])
            chars = len(event.data)
            if chars > SHORT_CHARS and not self.whole_chunks:
                events += split_event(event, seq, Position(seq, offset))
            elif chars or not offset:
                events.append((seq, event))
            size += chars
            seq, offset = seq + 1, 0
        if seq <= visible or offset >= (len(self._pack) or len(self._open)) or self._shows_stored:
            reached = Position(seq, offset)
            end = self.end if seq > visible else None
            if end is not None and offset and end.state != "error":
                end = StreamEnd("error", NOT_KEPT)
            if not events and end is None:
                return None, reached
            return EventBatch(tuple(events), position.id, reached.id, end), reached
        if self._pack.events:
            reached = Position(seq, len(self._pack))
            return EventBatch((*events, *self._pack.after(seq, offset)), position.id, reached.id), reached
        batch, reached = self._read_open(Position(seq, offset))  # with an open chunk there is no end yet
        assert batch is not None
        return EventBatch((*events, *batch.events), position.id, reached.id), reached

    @property
    def _is_particular(self) -> bool:
        """Whether the end of what followers see is not that of the open chunk."""
        return self._shows_stored or bool(self._pack.events)

    def _wake(self) -> None:
        self._batches.clear()
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(True)
