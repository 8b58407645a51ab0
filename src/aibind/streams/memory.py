"""A stream store in this process's memory: for tests, for one process, and as the yardstick of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from .._time import now_ms, sleep, wait_for_event
from ..errors import StreamConflictError, StreamExistsError, StreamNotActiveError, StreamNotFoundError
from .follow import Signals, check_after_seq, chunks_of, follow_pages, grace_s
from .store import Pace, StreamChunk, StreamEnd, StreamPage, StreamStatus

__all__ = ["MemoryStreamStore"]

PAGE_CHUNKS = 1000


@dataclass(slots=True)
class _Stream:
    expires_at: int
    end: StreamEnd | None = None
    chunks: list[str] = field(default_factory=list[str])

    @property
    def status(self) -> StreamStatus:
        count, end = len(self.chunks), self.end
        if end is None:
            return StreamStatus("active", None, count, self.expires_at)
        return StreamStatus(end.state, end.error, count, self.expires_at)


class MemoryStreamStore:
    """Keeps streams in memory, for one event loop.

    An ended stream is kept for ``ttl_ms`` milliseconds; call ``cleanup`` now and then. ``lease_ms`` is how long a
    producer may be silent without renewing before it counts as lost.
    """

    def __init__(self, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> None:
        self._ttl_ms = ttl_ms
        self._lease_ms = lease_ms
        self._streams: dict[str, _Stream] = {}
        self._signals = Signals()

    @property
    def flush_pace(self) -> Pace:
        """Recommend to store each event at once: it costs nothing here."""
        return Pace(0)

    @property
    def lease_ms(self) -> int:
        """Tell how long a producer's lease is."""
        return self._lease_ms

    async def create(self, stream_id: str) -> None:
        """Begin a stream."""
        if stream_id in self._streams:
            raise StreamExistsError(stream_id)
        self._streams[stream_id] = _Stream(now_ms() + self._lease_ms)

    async def append(self, stream_id: str, chunk: str) -> int:
        """Store one chunk."""
        return (await self.append_many(stream_id, [chunk]))[0]

    async def append_many(
        self, stream_id: str, chunks: Sequence[str], *, first_seq: int | None = None, renew: bool = False
    ) -> list[int]:
        """Store chunks."""
        stream = self._get(stream_id)
        if stream.end is not None:
            raise StreamNotActiveError(stream_id, stream.end.state)
        seqs = self._append(stream_id, stream, chunks, first_seq)
        if renew:
            stream.expires_at = now_ms() + self._lease_ms
        self._signals.notify(stream_id)
        return seqs

    def read_from(self, stream_id: str, after_seq: int = 0) -> AsyncIterator[StreamChunk]:
        """Yield what is stored, then what comes."""
        return chunks_of(self.read_pages(stream_id, after_seq))

    async def read_pages(self, stream_id: str, after_seq: int = 0) -> AsyncIterator[StreamPage]:
        """Yield the same in pages."""
        with self._signals.watch(stream_id) as changed:
            reader = _Reader(self, stream_id, changed)
            async for page in follow_pages(stream_id, reader, after_seq=after_seq, lease_ms=self._lease_ms):
                yield page

    async def read_page(self, stream_id: str, after_seq: int = 0) -> StreamPage:
        """Return one page."""
        check_after_seq(after_seq)
        stream = self._get(stream_id)
        page = stream.chunks[after_seq : after_seq + PAGE_CHUNKS]
        chunks = tuple(StreamChunk(seq, data) for seq, data in enumerate(page, after_seq + 1))
        return StreamPage(stream.status, chunks, has_more=after_seq + len(page) < len(stream.chunks))

    async def get_status(self, stream_id: str) -> StreamStatus | None:
        """Tell how a stream is."""
        try:
            return self._get(stream_id).status
        except StreamNotFoundError:
            return None

    async def renew(self, stream_id: str) -> bool:
        """Start the lease anew."""
        stream = self._get(stream_id)
        if stream.end is not None:
            return False
        stream.expires_at = now_ms() + self._lease_ms
        return True

    async def stop(self, stream_id: str) -> None:
        """End a stream as stopped."""
        await self.finish(stream_id, StreamEnd("stopped"))

    async def complete(self, stream_id: str) -> None:
        """End a stream as done."""
        await self.finish(stream_id, StreamEnd("done"))

    async def fail(self, stream_id: str, error: str) -> None:
        """End a stream with an error."""
        await self.finish(stream_id, StreamEnd("error", error))

    async def finish(
        self, stream_id: str, end: StreamEnd, *, chunks: Sequence[str] = (), first_seq: int | None = None
    ) -> StreamEnd:
        """Store the last chunks and the end."""
        stream = self._get(stream_id)
        if stream.end is not None:
            return stream.end
        self._append(stream_id, stream, chunks, first_seq)
        stream.end = end
        stream.expires_at = now_ms() + self._ttl_ms
        self._signals.notify(stream_id)
        return end

    async def cleanup(self) -> int:
        """Remove what has expired. A producer whose lease has run out is given a moment to show progress."""
        expired = {
            stream_id: len(stream.chunks)
            for stream_id, stream in self._streams.items()
            if stream.expires_at <= now_ms()
        }
        if any(self._streams[stream_id].end is None for stream_id in expired):
            await sleep(grace_s(self._lease_ms))
        removed = 0
        for stream_id, count in expired.items():
            stream = self._streams.get(stream_id)
            if stream and stream.expires_at <= now_ms() and len(stream.chunks) == count:
                del self._streams[stream_id]
                self._signals.notify(stream_id)
                removed += 1
        return removed

    def _get(self, stream_id: str) -> _Stream:
        stream = self._streams.get(stream_id)
        if stream is None or (stream.end is not None and stream.expires_at <= now_ms()):
            raise StreamNotFoundError(stream_id)
        return stream

    def _append(self, stream_id: str, stream: _Stream, chunks: Sequence[str], first_seq: int | None) -> list[int]:
        seq = len(stream.chunks) + 1
        if chunks and first_seq is not None and first_seq != seq:
            raise StreamConflictError(stream_id, first_seq)
        stream.chunks += chunks
        return list(range(seq, seq + len(chunks)))


class _Reader:
    def __init__(self, store: MemoryStreamStore, stream_id: str, changed: asyncio.Event) -> None:
        self._store = store
        self._stream_id = stream_id
        self._changed = changed

    async def read_page(self, after_seq: int) -> StreamPage:
        self._changed.clear()
        return await self._store.read_page(self._stream_id, after_seq)

    async def wait(self, most_s: float, progressed: bool) -> None:  # noqa: ARG002 - a wake-up needs no pace
        await wait_for_event(self._changed, most_s)
