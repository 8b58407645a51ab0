"""A stream store in this process's memory: for tests, for a single process, and to compare other stores with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from .. import _observing
from .._time import now_ms, sleep
from ..errors import StreamConflictError, StreamExistsError, StreamNotActiveError, StreamNotFoundError
from .base import BaseStreamStore, check_after_seq, check_limit, check_milliseconds
from .claims import StreamClaim
from .leases import MAX_WAIT_MS
from .store import Pace, StreamChunk, StreamEnd, StreamInfo, StreamPage, StreamStatus

__all__ = ["MemoryStreamStore"]

MAX_PAGE_CHUNKS = 1000

MAX_ORPHANS = 500


@dataclass(slots=True)
class _Stream:
    expires_at: int
    session_id: str | None
    owner: str | None
    created_at: int
    request: str | None = None
    question_id: str | None = None
    end: StreamEnd | None = None
    stop_requested: bool = False
    is_waiting: bool = False  # for its answer to be stored
    continuation: str | None = None
    reference: str | None = None
    takeovers: int = 0
    chunks: list[str] = field(default_factory=list[str])

    @property
    def status(self) -> StreamStatus:
        end = self.end
        return StreamStatus(
            "active" if end is None else end.state,
            None if end is None else end.error,
            len(self.chunks),
            self.expires_at,
            self.session_id,
            self.owner,
            self.created_at,
            self.request,
            end is None and self.stop_requested,
            self.question_id,
            self.takeovers,
            self.reference,
        )

    @property
    def is_expired(self) -> bool:
        return self.end is not None and self.expires_at <= now_ms()

    @property
    def can_be_claimed(self) -> bool:
        return self.end is None and not self.stop_requested and self.continuation is not None

    def check_fence(self, stream_id: str, epoch: int | None, first_seq: int | None = None) -> None:
        if epoch not in (None, self.takeovers):
            raise StreamConflictError(stream_id, first_seq or 0)


class MemoryStreamStore(BaseStreamStore):
    """Streams in memory, for one event loop. Each event is stored before it is delivered, since that costs nothing.

    An ended stream is kept for ``ttl_ms`` milliseconds, and removed by ``cleanup``. ``lease_ms`` is how long a producer
    may neither write nor renew before it counts as lost. Raises ValueError for a time that is not above 0.
    """

    def __init__(self, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> None:
        check_milliseconds("ttl_ms", ttl_ms)
        super().__init__(flush_pace=Pace(0), lease_ms=lease_ms, poll_interval_ms=None)
        self._ttl_ms = ttl_ms
        self._streams: dict[str, _Stream] = {}

    def __repr__(self) -> str:
        return f"<MemoryStreamStore streams={len(self._streams)} ttl_ms={self._ttl_ms} lease_ms={self._lease_ms}>"

    async def create(
        self,
        stream_id: str,
        *,
        session_id: str | None = None,
        owner: str | None = None,
        request: str | None = None,
        question_id: str | None = None,
        continuation: str | None = None,
    ) -> None:
        """Begin a stream."""
        there = self._streams.get(stream_id)
        if there is not None:
            if not there.is_expired:
                raise StreamExistsError(stream_id)
            del self._streams[stream_id]  # replacing it would keep its place in the order of creation
        now = now_ms()
        self._streams[stream_id] = _Stream(
            now + self._lease_ms, session_id, owner, now, request, question_id, continuation=continuation
        )

    async def append_many(
        self,
        stream_id: str,
        chunks: Sequence[str],
        *,
        first_seq: int | None = None,
        renew: bool = False,
        epoch: int | None = None,
    ) -> list[int]:
        """Store chunks at the end and return their seqs."""
        stream = self._get(stream_id)
        if stream.end is not None:
            raise StreamNotActiveError(stream_id, stream.end.state)
        stream.check_fence(stream_id, epoch, first_seq)
        if stream.stop_requested and chunks:
            raise StreamNotActiveError(stream_id, "stopping")
        seqs = self._append(stream_id, stream, chunks, first_seq)
        if renew:
            stream.expires_at = now_ms() + self._lease_ms
        if chunks:
            self.wake_readers(stream_id)
        return seqs

    async def read_page(self, stream_id: str, after_seq: int = 0) -> StreamPage:
        """Return one page of what is stored past ``after_seq``."""
        check_after_seq(after_seq)
        stream = self._get(stream_id)
        page = stream.chunks[after_seq : after_seq + MAX_PAGE_CHUNKS]
        chunks = tuple(StreamChunk(seq, data) for seq, data in enumerate(page, after_seq + 1))
        return StreamPage(stream.status, chunks, has_more=after_seq + len(page) < len(stream.chunks))

    async def finish(
        self,
        stream_id: str,
        end: StreamEnd,
        *,
        chunks: Sequence[str] = (),
        first_seq: int | None = None,
        epoch: int | None = None,
    ) -> StreamEnd:
        """Store the last chunks and the end, and return how the stream really ended."""
        stream = self._get(stream_id)
        if stream.end is not None:
            return stream.end
        stream.check_fence(stream_id, epoch, first_seq)
        self._append(stream_id, stream, chunks, first_seq)
        stream.end = end
        stream.expires_at = now_ms() + self._ttl_ms
        self.wake_readers(stream_id)
        return end

    async def request_stop(self, stream_id: str) -> StreamEnd | None:
        """Ask the producer of a stream to end it as ``stopped``; stop it when its lease has run out."""
        stream = self._get(stream_id)
        if stream.end is None and stream.expires_at > now_ms():
            stream.stop_requested = True
            return None
        return await self.finish(stream_id, StreamEnd("stopped"))

    async def give_up(self, stream_id: str, *, lease: int | None = None) -> StreamEnd | None:
        """End a stream whose lease has run out as lost; one of a session is kept until it is settled."""
        stream = self._get(stream_id)
        was_active = stream.end is None
        end = await super().give_up(stream_id, lease=lease)
        if was_active and end is not None and stream.session_id is not None:
            stream.is_waiting = True
            stream.expires_at = now_ms() + max(self._ttl_ms, MAX_WAIT_MS)
        return end

    async def renew(self, stream_id: str, *, epoch: int | None = None) -> bool:
        """Restart the producer's lease; return False when the stream has ended."""
        stream = self._get(stream_id)
        if stream.end is not None:
            return False
        stream.check_fence(stream_id, epoch)
        stream.expires_at = now_ms() + self._lease_ms
        return True

    async def set_reference(self, stream_id: str, reference: str, *, epoch: int) -> None:
        """Store what the model's provider knows the answer of an active stream by."""
        stream = self._get(stream_id)
        if stream.end is not None:
            raise StreamNotActiveError(stream_id, stream.end.state)
        stream.check_fence(stream_id, epoch)
        stream.reference = reference

    async def claim(self, stream_id: str, *, lease: int, max_takeovers: int) -> StreamClaim | None:
        """Become the producer of a stream whose producer is lost; None when that is not possible."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.can_be_claimed or stream.continuation is None:
            return None
        if stream.expires_at != lease or stream.takeovers >= max_takeovers:
            return None
        stream.takeovers += 1
        stream.expires_at = max(now_ms() + self._lease_ms, lease + 1)
        if _observing.observer is not None:
            _observing.observer.note_takeover("continued")
        return StreamClaim(
            stream.takeovers,
            stream.expires_at,
            stream.continuation,
            stream.reference,
            stream.session_id,
            stream.owner,
            stream.question_id,
        )

    async def orphans(self, *, before: int | None = None) -> Sequence[StreamInfo]:
        """Return the active streams that can be claimed, and whose lease has run out ``before``, oldest first."""
        now = now_ms() if before is None else before
        found = (
            StreamInfo(stream_id, stream.status)
            for stream_id, stream in self._streams.items()
            if stream.can_be_claimed and stream.expires_at <= now
        )
        return list(islice(found, MAX_ORPHANS))

    async def lost_streams(self, session_id: str | None = None) -> Sequence[StreamInfo]:
        """Return the streams of a session (None: of all) whose producer is lost, oldest first."""
        now = now_ms()
        return [
            StreamInfo(stream_id, stream.status)
            for stream_id, stream in self._streams.items()
            if stream.session_id is not None
            and session_id in (None, stream.session_id)
            and (stream.is_waiting or (stream.end is None and stream.expires_at <= now))
        ]

    async def settle(self, stream_id: str) -> None:
        """Let a lost stream expire, since its answer is stored."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.is_waiting:
            stream.is_waiting = False
            stream.expires_at = now_ms() + self._ttl_ms

    async def live_streams(self, session_id: str) -> Sequence[str]:
        """Return the ids of a session's streams that are active and whose lease has not run out, oldest first."""
        now = now_ms()
        return [
            stream_id
            for stream_id, stream in self._streams.items()  # in the order in which they were created
            if stream.session_id == session_id and stream.end is None and stream.expires_at > now
        ]

    async def list_streams(
        self,
        *,
        owner: str | None = None,
        session_id: str | None = None,
        since_ms: int | None = None,
        limit: int = 50,
    ) -> list[StreamInfo]:
        """Return the streams that have not expired, newest first, at most ``limit``.

        They can be limited to an ``owner``, to a session, and to those created at ``since_ms`` (milliseconds since the
        epoch) or later. Raises ValueError for a ``limit`` below 1.
        """
        check_limit(limit)
        found = (
            StreamInfo(stream_id, stream.status)
            for stream_id, stream in reversed(self._streams.items())
            if not stream.is_expired
            and owner in (None, stream.owner)
            and session_id in (None, stream.session_id)
            and (since_ms is None or stream.created_at >= since_ms)
        )
        return list(islice(found, limit))

    async def discard(self, stream_id: str, *, request: str | None = None) -> None:
        """Remove an active stream that was not begun."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.end is None and request in (None, stream.request):
            del self._streams[stream_id]
            self.wake_readers(stream_id)

    async def cleanup(self) -> int:
        """Remove streams that have expired, and return how many.

        An abandoned stream is removed a tenth of a lease later, unless it makes progress until then; one of a session
        is given up instead.
        """
        expired = {
            stream_id: len(stream.chunks)
            for stream_id, stream in self._streams.items()
            if stream.expires_at <= now_ms()
        }
        if any(self._streams[stream_id].end is None for stream_id in expired):
            await sleep(self.grace_s)
        removed = 0
        for stream_id, count in expired.items():
            stream = self._streams.get(stream_id)
            if stream is None or stream.expires_at > now_ms() or len(stream.chunks) != count:
                continue
            if stream.end is None and stream.session_id is not None:
                await self.give_up(stream_id)  # its conversation waits for it
            else:
                del self._streams[stream_id]
                self.wake_readers(stream_id)
                removed += 1
        return removed

    def _get(self, stream_id: str) -> _Stream:
        stream = self._streams.get(stream_id)
        if stream is None or stream.is_expired:
            raise StreamNotFoundError(stream_id)
        return stream

    def _append(self, stream_id: str, stream: _Stream, chunks: Sequence[str], first_seq: int | None) -> list[int]:
        seq = len(stream.chunks) + 1
        if chunks and first_seq is not None and first_seq != seq:
            raise StreamConflictError(stream_id, first_seq)
        stream.chunks += chunks
        return list(range(seq, seq + len(chunks)))
