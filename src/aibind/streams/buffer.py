"""What a live stream has said so far: the one buffer of its producer, its writer and its followers in this process."""

from __future__ import annotations

import asyncio

from .events import StreamEvent, encode_chunk
from .position import Position
from .sse import encode_message
from .store import StreamEnd

__all__ = ["MAX_CHUNK_CHARS", "StreamBuffer"]

MAX_CHUNK_CHARS = 64 * 1024
"""Text is cut into chunks of at most so many characters."""

WINDOW_CHARS = 512 * 1024
"""How much of what is stored already is kept for followers that are behind; older text they read from the store."""

MESSAGE_CHARS = 64 * 1024
"""About how much text one read hands to a follower."""


class StreamBuffer:
    """Gathers events into numbered chunks and lets any number of followers read them.

    Neighbouring text grows one open chunk until the writer takes it; any other event is a chunk of its own. A follower
    is a :class:`Position` and nothing more: whatever lies between it and the end is handed out at once, so a slow
    follower gets fewer, larger messages. With ``store_first`` each event is a chunk of its own, which followers see
    once it is stored.
    """

    def __init__(self, *, store_first: bool = False) -> None:
        self.store_first = store_first
        self.end: StreamEnd | None = None
        self.saved_seq = 0
        self._chunks: list[StreamEvent] = []  # closed; the first has seq _first
        self._first = 1
        self._window = 0  # characters in the chunks that are saved
        self._unsaved = 0  # characters in the others
        self._open = ""
        self._open_name = ""
        self._waiters: list[asyncio.Future[None]] = []
        self._encoded: dict[Position, tuple[bytes, Position]] = {}  # followers at one place share the work

    # --- the producer's side ---

    def push(self, event: StreamEvent) -> None:
        """Add an event. Neighbouring text is joined."""
        self._unsaved += len(event.data)
        if self.store_first or not event.grows:
            self.close_chunk()
            self._chunks.append(event)
        else:
            if event.event != self._open_name:
                self.close_chunk()
                self._open_name = event.event
            self._open += event.data
            while len(self._open) >= MAX_CHUNK_CHARS:
                self._chunks.append(StreamEvent(self._open_name, self._open[:MAX_CHUNK_CHARS]))
                self._open = self._open[MAX_CHUNK_CHARS:]
        if not self.store_first:
            self.changed()

    # --- the writer's side ---

    @property
    def unsaved_chars(self) -> int:
        """Tell how many characters wait to be stored."""
        return self._unsaved

    @property
    def next_seq(self) -> int:
        """Tell the seq of the chunk that is open, or the next to be opened."""
        return self._first + len(self._chunks)

    @property
    def has_unsaved(self) -> bool:
        """Say whether anything waits to be stored."""
        return bool(self._open) or self.next_seq - 1 > self.saved_seq

    def close_chunk(self) -> None:
        """End the chunk that grows, so that it can be stored."""
        if self._open:
            self._chunks.append(StreamEvent(self._open_name, self._open))
            self._open = ""

    def unsaved_chunks(self) -> list[str]:
        """Close the open chunk and return all that is not stored, encoded; the first has seq ``saved_seq + 1``."""
        self.close_chunk()
        skip = self.saved_seq - self._first + 1
        return [encode_chunk(self._chunks[i]) for i in range(skip, len(self._chunks))]

    def mark_saved(self, seq: int) -> None:
        """Note that all chunks up to ``seq`` are stored, and let go of what no follower should need."""
        for i in range(self.saved_seq - self._first + 1, seq - self._first + 1):
            chars = len(self._chunks[i].data)
            self._unsaved -= chars
            self._window += chars
        self.saved_seq = seq
        if self._window > WINDOW_CHARS:
            self._let_go(self._window - WINDOW_CHARS // 2)  # many at once: taking from a list's front moves the rest
        if self.store_first:
            self.changed()

    def finish(self, end: StreamEnd) -> None:
        """Note that the stream has ended. Text that could not be stored, but was delivered, stays readable here."""
        self.close_chunk()
        self.end = end
        self.changed()

    def _let_go(self, chars: int) -> None:
        count = 0
        while chars > 0 and self._first + count <= self.saved_seq:
            size = len(self._chunks[count].data)
            chars -= size
            self._window -= size
            count += 1
        del self._chunks[:count]
        self._first += count

    # --- the followers' side ---

    def changed(self) -> None:
        """Wake every follower."""
        self._encoded.clear()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def waiter(self) -> asyncio.Future[None]:
        """Return a future that is done at the next change. It belongs to its caller, who may cancel it."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def reaches(self, position: Position) -> bool:
        """Say whether this log still holds what follows ``position``; what it does not, the store does."""
        return position.seq >= self._first

    def read(self, position: Position) -> tuple[bytes, Position]:
        """Encode what follows ``position``, about 64 Ki characters at most, and return where it ends.

        Call only where the log :meth:`reaches`. Empty at the end of what there is so far.
        """
        found = self._encoded.get(position)
        if found is None:
            found = self._encoded[position] = self._encode(position)
        return found

    def _encode(self, position: Position) -> tuple[bytes, Position]:
        seq, offset = position
        out: list[bytes] = []
        size = 0
        visible = self.saved_seq if self.store_first else self.next_seq - 1
        while seq <= visible and size < MESSAGE_CHARS:
            event = self._chunks[seq - self._first]
            data = event.data[offset:] if event.grows else event.data
            if data or not offset:
                out.append(encode_message(data, id=seq, event=event.event))
                size += len(data)
            seq, offset = seq + 1, 0
        if seq == self.next_seq and offset < len(self._open) and not self.store_first:
            data = self._open[offset:]
            offset = len(self._open)
            position = Position(seq, offset)
            out.append(encode_message(data, id=position.id, event=self._open_name))
        return b"".join(out), Position(seq, offset)
