"""The interface of stream stores, and the values that pass through it (contract, section 3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from .events import StreamEvent, decode_chunk
from .packs import events_in

__all__ = [
    "Pace",
    "StreamChunk",
    "StreamEnd",
    "StreamInfo",
    "StreamPage",
    "StreamState",
    "StreamStatus",
    "StreamStore",
    "TerminalState",
]

TerminalState: TypeAlias = Literal["done", "stopped", "error"]
"""The state of a stream that has ended. The first one that a stream reaches is final."""

StreamState: TypeAlias = Literal["active"] | TerminalState
"""The state of a stream: ``active`` until it ends."""


@dataclass(frozen=True, slots=True)
class StreamChunk:
    """A stored chunk. ``seq`` counts from 1 without gaps; ``data`` is the text of the row."""

    seq: int
    data: str

    @property
    def event(self) -> StreamEvent:
        """The event that the chunk encodes. Of several it is ``aibind-events``: see :attr:`events`."""
        return decode_chunk(self.data)

    @property
    def events(self) -> list[StreamEvent]:
        """The events that the chunk holds: one, unless small events were packed into it."""
        return events_in(decode_chunk(self.data))


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """The current state of a stream.

    ``total_chunks`` is the number of stored chunks, and ``error`` the message of a stream that ended as ``error``.
    ``expires_at``, in milliseconds since the epoch, is the end of the producer's lease while the stream is active;
    once the stream has ended, it is the end of its time to live. ``session_id`` and ``owner`` are those that it was
    created with, and ``created_at`` is when, in milliseconds since the epoch. ``request`` is a mark of the request that
    it answers, and ``question_id`` the message that it answers. Each is None where it is not known. ``stop_requested``
    is whether the producer of an active stream has been asked to end it. ``takeovers`` is how often the stream has been
    claimed, and ``reference`` what the model's provider knows the answer by; ``get_status`` alone tells these two.
    """

    state: StreamState
    error: str | None
    total_chunks: int
    expires_at: int
    session_id: str | None = None
    owner: str | None = None
    created_at: int | None = None
    request: str | None = None
    stop_requested: bool = False
    question_id: str | None = None
    takeovers: int = 0
    reference: str | None = None

    @property
    def is_active(self) -> bool:
        """Whether the stream still accepts chunks."""
        return self.state == "active"

    @property
    def end(self) -> StreamEnd | None:
        """How the stream ended, or None while it is active."""
        return None if self.state == "active" else StreamEnd(self.state, self.error)


NOT_KEPT = "The reply was ended elsewhere, and its last words are not kept"
"""The error that readers see who were given more of a reply than its store has."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The end of a stream: its terminal state and, for ``error``, the message for its readers."""

    state: TerminalState
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream in a list: its id and its current state."""

    stream_id: str
    status: StreamStatus


@dataclass(frozen=True, slots=True)
class StreamPage:
    """A consistent snapshot of a stream's state and of some of its chunks, in order.

    With ``has_more`` the page was full, so more chunks may be stored past it.
    """

    status: StreamStatus
    chunks: tuple[StreamChunk, ...]
    has_more: bool = False

    @property
    def is_last(self) -> bool:
        """Whether the stream has ended and no chunk is stored past this page."""
        return not self.has_more and not self.status.is_active

    @property
    def end(self) -> StreamEnd | None:
        """How the stream ended if this page :attr:`is_last`, otherwise None."""
        return None if self.has_more else self.status.end


@dataclass(frozen=True, slots=True)
class Pace:
    """A delay that stretches: between two writes of a writer, or two polls of a reader.

    The delay is ``interval_ms``; with ``max_interval_ms`` it grows up to that, to a fortieth of the
    time since the stream began. For a writer, an interval of 0 stores each event before it is delivered.
    """

    interval_ms: float
    max_interval_ms: float = 0

    def delay_s(self, elapsed_s: float) -> float:
        """Return the delay before the next write, in seconds, ``elapsed_s`` after the stream began."""
        interval = self.interval_ms / 1000
        return max(interval, min(elapsed_s / 40, self.max_interval_ms / 1000))


class StreamStore(Protocol):
    """Storage for streams. :class:`BaseStreamStore` supplies all but six of its methods.

    Every method is atomic and may be called concurrently, by several processes where the store allows it. The first
    terminal state of a stream wins: ``stop``, ``complete``, ``fail`` and ``finish`` change nothing in a stream that has
    ended, and nothing can be appended to it. A stream that is unknown, or that ended and has expired, raises
    StreamNotFoundError, except in ``get_status``. An operation that may succeed when it is repeated raises
    TransientError.
    """

    @property
    def flush_pace(self) -> Pace:
        """How often to write, after what a write costs here."""
        ...

    @property
    def lease_ms(self) -> int:
        """Milliseconds that a producer's lease lasts; one that neither writes nor renews for longer counts as lost."""
        ...

    @property
    def grace_s(self) -> float:
        """Seconds that a producer whose lease has run out has to show progress, by a chunk or by renewing it."""
        ...

    @property
    def shares_wakeups(self) -> bool:
        """Whether tasks that use this store object may wake each other.

        False in a Worker: its requests share memory, but what one request resumes in another is cut off. Followers then
        read the store, even when the producer is in the same process.
        """
        ...

    async def create(
        self,
        stream_id: str,
        *,
        session_id: str | None = None,
        owner: str | None = None,
        request: str | None = None,
        question_id: str | None = None,
    ) -> None:
        """Begin a stream, and its producer's lease. Raises StreamExistsError when the id is taken.

        ``session_id`` is the conversation that it belongs to, ``owner`` the user, ``request`` any text that tells the
        request that it answers from others, and ``question_id`` the message of the conversation that it answers; they
        are recorded with the time. The id of a stream that has expired is free.
        """
        ...

    async def append(self, stream_id: str, chunk: str) -> int:
        """Store one chunk at the end and return its seq. Raises StreamNotActiveError once the stream has ended."""
        ...

    async def append_many(
        self, stream_id: str, chunks: Sequence[str], *, first_seq: int | None = None, renew: bool = False
    ) -> list[int]:
        """Store chunks at the end, all or none, and return their seqs.

        ``first_seq`` is the seq that the first of them must get: when it is taken, StreamConflictError is raised and
        nothing is stored, so that a write whose answer was lost cannot be stored twice. ``renew`` restarts the lease in
        the same transaction. Raises StreamNotActiveError once the stream has ended.
        """
        ...

    def read_from(self, stream_id: str, after_seq: int = 0) -> AsyncIterator[StreamChunk]:
        """Yield the chunks past ``after_seq``, then those that arrive, until the stream ends.

        Raises ProducerLostError when the lease has run out and nothing more arrives, and ValueError for a negative
        ``after_seq``.
        """
        ...

    def read_pages(self, stream_id: str, after_seq: int = 0) -> AsyncIterator[StreamPage]:
        """Yield the same in pages of bounded size; the last one has ``is_last`` and holds how the stream ended."""
        ...

    async def read_page(self, stream_id: str, after_seq: int = 0) -> StreamPage:
        """Return one page of what is stored past ``after_seq``, without waiting."""
        ...

    async def get_status(self, stream_id: str, *, owner: str | None = None) -> StreamStatus | None:
        """Return the current state of a stream, or None if it is unknown.

        With ``owner``, a stream that was not created with this owner is unknown. Look up both at once, so that the time
        does not tell whether another's stream exists.
        """
        ...

    async def live_streams(self, session_id: str) -> Sequence[str]:
        """Return the ids of a session's streams that are active and whose lease has not run out, oldest first.

        A store that does not record sessions returns none.
        """
        ...

    async def renew(self, stream_id: str) -> bool:
        """Restart the producer's lease; return False when the stream has ended."""
        ...

    async def stop(self, stream_id: str) -> None:
        """End a stream as ``stopped``, at once. Its producer notices at its next write or renewal.

        What the producer has delivered and not stored by then is lost; after ``request_stop`` it is stored.
        """
        ...

    async def request_stop(self, stream_id: str) -> StreamEnd | None:
        """Ask the producer of a stream to end it as ``stopped``, and return how it has ended; None: not yet.

        The producer stores what it has delivered, and the end with it. Until then ``append_many`` stores no chunks and
        raises StreamNotActiveError, and ``finish`` works as before. A stream whose lease has run out, or whose producer
        cannot be asked, is stopped at once.
        """
        ...

    async def give_up(self, stream_id: str, *, lease: int | None = None) -> StreamEnd | None:
        """End a stream whose producer is lost as ``error``: ``producer lost``; return how it has ended.

        Nothing changes, and None is returned, when the lease has not run out by the clock. ``lease`` is the
        ``expires_at`` that the caller has seen unchanged for so long that the producer is lost, whatever the clock
        says: the stream is ended if it still has that. The end is final: a producer that is alive after all can write
        nothing more. A stream of a session is kept until ``settle``.
        """
        ...

    async def lost_streams(self, session_id: str | None = None) -> Sequence[StreamInfo]:
        """Return the streams of a session (None: of all) whose producer is lost and that wait for ``settle``.

        Oldest first; those whose lease has run out are among them. A store that does not record sessions returns none.
        """
        ...

    async def settle(self, stream_id: str) -> None:
        """Note that the answer of a lost stream is in its conversation, so that the stream may expire."""
        ...

    async def complete(self, stream_id: str) -> None:
        """End a stream as ``done``."""
        ...

    async def fail(self, stream_id: str, error: str) -> None:
        """End a stream as ``error``, with a message for its readers."""
        ...

    async def finish(
        self, stream_id: str, end: StreamEnd, *, chunks: Sequence[str] = (), first_seq: int | None = None
    ) -> StreamEnd:
        """Store a stream's last chunks and its end in one transaction, and return how it really ended.

        When it had ended before, nothing is stored and the earlier end is returned, so a call may be repeated. When
        this call has ended it, that is ``end`` itself. ``first_seq`` is as in ``append_many``.
        """
        ...

    async def discard(self, stream_id: str, *, request: str | None = None) -> None:
        """Remove an active stream that was not begun, so that its id is free; do nothing when there is none.

        With ``request`` it is removed only if it was created with that. A creation that was cancelled may take effect
        until then, but not afterwards.
        """
        ...

    async def cleanup(self) -> int:
        """Remove streams that have expired, ended or abandoned, and return how many.

        The producer of an active stream gets ``grace_s`` seconds to show progress first. An abandoned stream of a
        session is given up and kept: see ``give_up``.
        """
        ...
