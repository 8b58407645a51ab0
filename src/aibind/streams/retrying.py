"""Write a stream to its store in attempts of which any may be lost, so that nothing is stored twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from .._retry import retry
from ..errors import StreamConflictError, StreamExistsError, TransientError
from .claims import ClaimableStreamStore
from .store import StreamEnd, StreamStatus, StreamStore

__all__ = ["OUTAGE_S", "RetryingStream"]

_T = TypeVar("_T")

OUTAGE_S = 600.0
"""Seconds to wait for a store that does not answer: the longest outage that a reply survives in memory."""


class RetryingStream:
    """One stream in its store, for its producer.

    An operation that fails with TransientError is retried for ten minutes, but not past ``deadline``. What a failed
    attempt did store is recognised by reading it back. Raises the other errors of the store. ``epoch`` is that of the
    producer, of a stream that can be claimed.
    """

    def __init__(self, store: StreamStore, stream_id: str, epoch: int | None = None) -> None:
        self.deadline: float | None = None  # of the last attempt, in seconds by the clock of the event loop
        self._store = store
        self._id = stream_id
        self._epoch = epoch
        # Given only where it matters: a store without claims knows nothing of them.
        self._fence: dict[str, Any] = {} if epoch is None else {"epoch": epoch}

    async def create(
        self,
        *,
        session_id: str | None,
        owner: str | None,
        request: str | None,
        question_id: str | None,
        continuation: str | None,
    ) -> None:
        """Create the stream, retrying for as long as a lease. Raises StreamExistsError when the id is taken."""
        attempts = 0
        claimable: dict[str, Any] = {} if continuation is None else {"continuation": continuation}

        async def create() -> None:
            nonlocal attempts
            attempts += 1
            try:
                await self._store.create(
                    self._id,
                    session_id=session_id,
                    owner=owner,
                    request=request,
                    question_id=question_id,
                    **claimable,
                )
            except StreamExistsError:
                if attempts == 1 or not await self._is_of(request):
                    raise  # else an attempt whose answer was lost created it

        await retry(create, patience_s=self._store.lease_ms / 1000)

    async def append(self, chunks: list[str], first_seq: int, must_renew: Callable[[float], bool]) -> float | None:
        """Store chunks; return when the lease was renewed with them, None if it was not.

        ``must_renew`` is asked before each attempt, with the time of the event loop.
        """
        attempts = 0
        renewed_at: float | None = None

        async def append() -> None:
            nonlocal attempts, renewed_at
            attempts += 1
            now = asyncio.get_running_loop().time()
            renew = must_renew(now)
            renewed_at = now if renew else None
            try:
                await self._store.append_many(self._id, chunks, first_seq=first_seq, renew=renew, **self._fence)
            except StreamConflictError:
                if attempts == 1 or await self._count_stored(chunks, first_seq) < len(chunks):
                    raise

        await self._retry(append)
        return renewed_at

    async def renew(self) -> bool:
        """Restart the lease; return False when the stream has ended."""
        return await self._retry(lambda: self._store.renew(self._id, **self._fence))

    async def set_reference(self, reference: str) -> None:
        """Store what the model's provider knows the answer by."""
        store, epoch = self._store, self._epoch
        if epoch is not None and isinstance(store, ClaimableStreamStore):
            await self._retry(lambda: store.set_reference(self._id, reference, epoch=epoch))

    async def get_status(self) -> StreamStatus | None:
        """Return the current state of the stream."""
        return await self._retry(lambda: self._store.get_status(self._id))

    async def finish(self, end: StreamEnd, chunks: list[str], first_seq: int) -> tuple[StreamEnd, int]:
        """Store the last chunks and the end; return how the stream ended, and the seq of the last chunk stored."""

        async def finish() -> StreamEnd:
            nonlocal chunks, first_seq
            try:
                return await self._store.finish(self._id, end, chunks=chunks, first_seq=first_seq, **self._fence)
            except StreamConflictError:
                count = await self._count_stored(chunks, first_seq)
                if not count:
                    raise
                chunks, first_seq = chunks[count:], first_seq + count
                return await self._store.finish(self._id, end, chunks=chunks, first_seq=first_seq, **self._fence)

        actual = await self._retry(finish)
        if actual is end or not chunks:
            return actual, first_seq + len(chunks) - 1
        # It had ended before: elsewhere, or by an attempt whose answer was lost.
        return actual, await self.last_stored(chunks, first_seq)

    async def last_stored(self, chunks: list[str], first_seq: int) -> int:
        """Return the seq of the last of these chunks that the store has; ``first_seq - 1`` when it has none."""
        return first_seq + await self._retry(lambda: self._count_stored(chunks, first_seq)) - 1

    def may_retry(self, _: TransientError) -> bool:
        """Return whether there is time for another attempt."""
        return self.deadline is None or asyncio.get_running_loop().time() < self.deadline

    async def _is_of(self, request: str | None) -> bool:
        """Return whether the stream that exists answers this request, as far as its store tells requests apart."""
        status = await self._store.get_status(self._id)
        return status is None or status.request == request or status.request is None

    async def _count_stored(self, chunks: list[str], first_seq: int) -> int:
        """Return how many of these chunks an attempt whose answer was lost has stored."""
        count = 0
        while count < len(chunks):
            page = await self._store.read_page(self._id, first_seq - 1 + count)
            stored = [chunk.data for chunk in page.chunks][: len(chunks) - count]
            if stored != chunks[count : count + len(stored)]:
                raise StreamConflictError(self._id, first_seq + count)
            if not stored:
                break
            count += len(stored)
        return count

    async def _retry(self, operation: Callable[[], Awaitable[_T]]) -> _T:
        return await retry(operation, patience_s=OUTAGE_S, may_repeat=self.may_retry)
