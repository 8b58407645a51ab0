"""Replies that have begun, by the ids of their streams: followed, resumed and stopped, wherever they are produced."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager

from .._logging import log_fields
from ..errors import RequestError, StreamNotFoundError
from ..protocols.encoder import Encoder, respond
from ..streams.durable import DurableStream, follow
from ..streams.response import Body, HttpResponse
from ..streams.short_messages import in_short_messages
from ..streams.sse import HEADERS
from ..streams.sse_body import encoder_of
from ..streams.store import StreamStatus, StreamStore
from .claims import Claim
from .housekeeping import CLAIM_ID
from .load import Load, Slot, followed

__all__ = ["BegunReplies"]

logger = logging.getLogger("aibind")


class BegunReplies:
    """The replies that have begun in ``store``, of this process and of others.

    The options are those of :meth:`DurableStream.resume`. The responses have the named ``events`` (None: all).
    """

    def __init__(self, store: StreamStore, load: Load, *, whole_chunks: bool, heartbeat_ms: float) -> None:
        self._store = store
        self._load = load
        self._whole_chunks = whole_chunks
        self._heartbeat_ms = heartbeat_ms

    async def find(self, claim: Claim) -> StreamStatus | None:
        """Return the current state of the stream that answers a request already; None when there is none.

        Raises RequestError, with status 409, when the request had another body.
        """
        status = await self._store.get_status(claim.stream_id)
        if status is not None:
            claim.check(status.request)
        return status

    async def attach(
        self, claim: Claim, owner: str | None, *, events: Collection[str] | None = None
    ) -> HttpResponse[Body] | None:
        """Return the response of the stream that answers a request already, from its start; None when there is none."""
        return await self.follow(claim.stream_id, owner, events=events)

    async def follow(
        self, stream_id: str, owner: str | None, *, events: Collection[str] | None = None
    ) -> HttpResponse[Body] | None:
        """Return the response that follows a reply from its start, its id included; None when there is none."""
        try:
            async with self._load.opening(owner), self._following(stream_id, owner) as slot:
                return followed(await self._resume(stream_id, None, events), slot)
        except StreamNotFoundError:
            return None

    def produces(self, stream_id: str) -> bool:
        """Return whether this process produces a reply at the moment."""
        return DurableStream.find(self._store, stream_id) is not None

    async def stop(self, stream_id: str, owner: str | None = None) -> None:
        """Stop a reply, wherever it is produced; do nothing when it is unknown, not the owner's, or has ended."""
        if not await self._is_own(stream_id, owner):
            return
        try:
            await DurableStream.stop_by_id(self._store, stream_id)
        except StreamNotFoundError:
            logger.debug(
                "Stop of unknown stream %s", stream_id, extra=log_fields("stream.stop_unknown", stream_id=stream_id)
            )

    async def resume(
        self,
        stream_id: str,
        after: int,
        owner: str | None = None,
        *,
        events: Collection[str] | None = None,
        short: bool = False,
    ) -> HttpResponse[Body]:
        """Return the response that continues a reply after the message with id ``after`` (0: from the beginning).

        With ``short`` its text comes in short messages, unless each id must be that of a stored chunk.
        Raises RequestError for a reply that is unknown, not the owner's, or has expired, and for an id out of range.
        """
        async with self._load.opening(owner):
            await self._require_own(stream_id, owner)
            try:
                async with self._following(stream_id, owner) as slot:
                    resume = self._resume_short if short and not self._whole_chunks else self._resume
                    return followed(await resume(stream_id, after, events), slot)
            except ValueError as error:
                raise RequestError(str(error)) from error
            except StreamNotFoundError as error:
                raise RequestError(str(error), 404) from error

    async def follow_in(
        self, stream_id: str, encoder: Encoder, owner: str | None = None, *, after: int | None = None
    ) -> HttpResponse[AsyncGenerator[bytes]]:
        """Return the response that follows a reply in another format, from its beginning or after the id ``after``.

        Raises RequestError for a reply that is unknown, not the owner's, or has expired, and for an id out of range.
        """
        async with self._load.opening(owner):
            await self._require_own(stream_id, owner)
            try:
                async with self._following(stream_id, owner) as slot:
                    batches = await follow(self._store, stream_id, idle_s=self._heartbeat_ms / 1000)
                    return followed(respond(batches, encoder, after=after), slot)
            except ValueError as error:
                raise RequestError(str(error)) from error
            except StreamNotFoundError as error:
                raise RequestError(str(error), 404) from error

    async def confirm_end(self, stream_id: str, owner: str | None = None) -> HttpResponse[Body]:
        """Return the response that tells an ``EventSource`` not to come back, as it has the whole reply.

        Raises RequestError for a reply that is unknown, not the owner's, or has expired.
        """
        if await self._store.get_status(stream_id, owner=owner) is None:
            raise RequestError(str(StreamNotFoundError(stream_id)), 404)
        return HttpResponse(204, {"Cache-Control": "no-store"}, b"")

    async def _resume(
        self, stream_id: str, after: int | None, events: Collection[str] | None
    ) -> HttpResponse[AsyncGenerator[bytes]]:
        return await DurableStream.resume(
            self._store,
            stream_id,
            after,
            events=events,
            whole_chunks=self._whole_chunks,
            heartbeat_ms=self._heartbeat_ms,
        )

    async def _resume_short(
        self, stream_id: str, after: int, events: Collection[str] | None
    ) -> HttpResponse[AsyncGenerator[bytes]]:
        batches = await follow(self._store, stream_id, after, idle_s=self._heartbeat_ms / 1000)
        encode = encoder_of(None if events is None else frozenset(events))
        body = in_short_messages(batches, encode)
        return HttpResponse(200, {**HEADERS, "X-Stream-Id": stream_id}, body)

    @asynccontextmanager
    async def _following(self, stream_id: str, owner: str | None) -> AsyncGenerator[Slot]:
        """Take the place of a follower, and give it back when it cannot be opened."""
        slot = self._load.follow(owner, stream_id)
        try:
            yield slot
        except BaseException:
            slot.release()
            raise

    async def _require_own(self, stream_id: str, owner: str | None) -> None:
        if not await self._is_own(stream_id, owner):
            raise RequestError(str(StreamNotFoundError(stream_id)), 404)

    async def _is_own(self, stream_id: str, owner: str | None) -> bool:
        """Return whether a stream is the owner's (None: whether or not it exists).

        The store is asked about another's stream, even one of this process: it takes the time of an unknown one.
        """
        if stream_id == CLAIM_ID:
            return False  # of no reply
        if owner is None:
            return True
        producer = DurableStream.find(self._store, stream_id)
        if producer is not None and producer.owner == owner:
            return True
        return await self._store.get_status(stream_id, owner=owner) is not None
