"""Claiming a stream whose producer is lost, so that another process goes on with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .store import StreamEnd, StreamInfo, StreamStore

__all__ = ["ClaimableStreamStore", "StreamClaim"]


@dataclass(frozen=True, slots=True)
class StreamClaim:
    """A claimed stream, with what its new producer needs to go on with it.

    ``epoch`` is how often the stream has been claimed, this time included: it fences the earlier producers. ``lease``
    is the ``expires_at`` that the claim has given it. ``continuation`` is the text that the stream was created with,
    ``reference`` what the model's provider knows the answer by (None: it was not known yet), and the rest is as in
    :class:`StreamStatus`.
    """

    epoch: int
    lease: int
    continuation: str
    reference: str | None = None
    session_id: str | None = None
    owner: str | None = None
    question_id: str | None = None


@runtime_checkable
class ClaimableStreamStore(StreamStore, Protocol):
    """A stream store in which another process can go on with the stream of a lost producer.

    ``epoch`` is how often a stream had been claimed when the caller became its producer, 0 for its creator
    (None: it is not checked). Once the stream has been claimed again, a call with that epoch stores nothing and raises
    StreamConflictError.
    """

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
        """Begin a stream, with what another process needs to go on with it (None: none can)."""
        ...

    async def append_many(
        self,
        stream_id: str,
        chunks: Sequence[str],
        *,
        first_seq: int | None = None,
        renew: bool = False,
        epoch: int | None = None,
    ) -> list[int]:
        """Store chunks at the end, all or none, and return their seqs."""
        ...

    async def renew(self, stream_id: str, *, epoch: int | None = None) -> bool:
        """Restart the producer's lease; return False when the stream has ended."""
        ...

    async def finish(
        self,
        stream_id: str,
        end: StreamEnd,
        *,
        chunks: Sequence[str] = (),
        first_seq: int | None = None,
        epoch: int | None = None,
    ) -> StreamEnd:
        """Store a stream's last chunks and its end in one transaction, and return how it really ended."""
        ...

    async def set_reference(self, stream_id: str, reference: str, *, epoch: int) -> None:
        """Store what the model's provider knows the answer of an active stream by, for the next :meth:`claim`.

        Raises as ``append_many`` does.
        """
        ...

    async def claim(self, stream_id: str, *, lease: int, max_takeovers: int) -> StreamClaim | None:
        """Become the producer of a stream whose producer is lost, and begin a lease; None when that is not possible.

        ``lease`` is the ``expires_at`` that the caller has seen unchanged for so long that the producer is lost. Of
        several callers one succeeds, and nothing that an earlier producer writes is stored from then on. A stream that
        has ended, was asked to stop, was created without a ``continuation``, or has been claimed ``max_takeovers``
        times is not claimed. A call whose answer was lost may have claimed it: then nobody produces it for a lease.
        """
        ...

    async def orphans(self, *, before: int | None = None) -> Sequence[StreamInfo]:
        """Return the active streams that can be claimed, oldest first, at most 500.

        Their leases have run out, or run out ``before`` a time in milliseconds since the epoch.
        """
        ...
