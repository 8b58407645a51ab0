"""The life of replies: starting, stopping and resuming them, and ending those under way with the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import TypedDict
from weakref import WeakSet

from .._logging import log_fields
from ..errors import RequestError, StreamNotFoundError
from ..protocols.encoder import Encoder, respond
from ..streams.claims import ClaimableStreamStore, StreamClaim
from ..streams.durable import DurableStream, KeepAlive, PrepareHook, follow
from ..streams.events import StreamEvent
from ..streams.response import Body, HttpResponse
from ..streams.short_messages import in_short_messages
from ..streams.sse import HEADERS
from ..streams.sse_body import encoder_of
from ..streams.store import Pace, StreamEnd, StreamStatus, StreamStore
from ..streams.writer import SHUT_DOWN
from .answers import Answer
from .busy import WaitingTurn
from .claims import Claim
from .continuation import Continuation
from .continuing import ContinuingTurn
from .generation import Generation
from .housekeeping import CLAIM_ID
from .load import Load, Slot, followed
from .recovery import read_reply
from .stream_ids import StreamIds
from .turns import Turn

__all__ = ["DurableReplies", "shut_down_error"]

RETRY_AFTER_S = 1
"""Seconds after which a refused request is to come again: by then, connections lead to another process."""

logger = logging.getLogger("aibind")


def shut_down_error() -> RequestError:
    """Return the refusal of a reply that would begin during a shutdown."""
    return RequestError(SHUT_DOWN, 503, headers={"Retry-After": str(RETRY_AFTER_S)})


class _StreamOptions(TypedDict):
    flush_interval_ms: float | None
    pack_events: bool | None
    whole_chunks: bool
    heartbeat_ms: float


class DurableReplies:
    """Replies that are durable streams in ``store``. The options are those of :meth:`DurableStream.create`."""

    def __init__(
        self,
        store: StreamStore,
        *,
        flush_interval_ms: float | None,
        pack_events: bool | None,
        whole_chunks: bool,
        heartbeat_ms: float,
        keep_alive: KeepAlive | None,
        load: Load,
        ids: StreamIds,
    ) -> None:
        self._store = store
        self._ids = ids
        self._load = load
        self._options: _StreamOptions = {
            "flush_interval_ms": flush_interval_ms,
            "pack_events": pack_events,
            "whole_chunks": whole_chunks,
            "heartbeat_ms": heartbeat_ms,
        }
        self._whole_chunks = whole_chunks
        self._heartbeat_ms = heartbeat_ms
        self._keep_alive = keep_alive
        self._producing: WeakSet[DurableStream] = WeakSet()  # a stream that has ended is let go
        self._closed = False

    @property
    def pace(self) -> Pace:
        """How often the store recommends to write."""
        return self._store.flush_pace

    async def start(
        self,
        generation: Generation,
        turn: Turn | WaitingTurn | None,
        claim: Claim | None = None,
        *,
        owner: str | None,
        events: Collection[str] | None = None,
    ) -> HttpResponse[Body]:
        """Start a reply of ``owner`` and store its turn's question, and return the response that follows the reply.

        The response has the named ``events`` (None: all), here and in the other methods.
        The answer of the turn is stored as its rounds of tool calls end, and the rest at the end of the reply. With a
        ``claim`` the model is asked once the claim is ours and the question is stored, and so it is for a turn that
        waits. Raises StreamExistsError when the claim is taken, and SessionBusyError for a turn that is refused.
        """
        if self._closed:
            raise shut_down_error()
        async with self._load.refusing(owner):
            following = self._load.follow(owner)
            try:
                stream = await self._begin_in_slot(generation, turn, claim, owner)
            except BaseException:
                following.release()
                raise
        if self._closed:  # meanwhile: aclose() did not see this stream
            await stream.abort(SHUT_DOWN)
        return followed(stream.response(events=events), following, self._load.first_follower(stream.id))

    async def _begin_in_slot(
        self, generation: Generation, turn: Turn | WaitingTurn | None, claim: Claim | None, owner: str | None
    ) -> DurableStream:
        slot = self._load.start(owner)
        try:
            return await self._begin(generation, turn, claim, owner, slot)
        except BaseException:
            slot.release()
            raise

    async def _begin(
        self,
        generation: Generation,
        turn: Turn | WaitingTurn | None,
        claim: Claim | None,
        owner: str | None,
        slot: Slot,
    ) -> DurableStream:
        if isinstance(turn, WaitingTurn):
            return await self._create(generation, turn, owner, slot, claim, turn.prepare)
        if claim is not None or isinstance(turn, ContinuingTurn):
            save = turn.save_question if turn is not None else _nothing
            return await self._create(generation, turn, owner, slot, claim, save)
        return await self._create_and_save(generation, turn, owner, slot)

    async def go_on(
        self,
        generation: Generation,
        events: AsyncGenerator[StreamEvent],
        stream_id: str,
        claim: StreamClaim,
        saved_seq: int,
        keep_answer: Callable[[], Awaitable[None]],
        let_go: Callable[[], None],
    ) -> None:
        """Go on with a reply that this process has claimed, with the ``events`` of ``generation``.

        ``keep_answer`` is awaited when its end is stored, and ``let_go`` is called when this process is not its
        producer any more. It takes no place of its owner's: it had one.
        """
        assert generation.continuation is not None
        continuation = generation.continuation
        created: asyncio.Future[DurableStream] = asyncio.get_running_loop().create_future()

        async def refer(reference: str) -> None:
            await (await created).set_reference(reference)

        async def finish(end: StreamEnd, _: bool) -> None:
            if end.state != "done":
                self._cancel(continuation)
            await keep_answer()
            let_go()

        continuation.store = refer
        stream = await DurableStream.go_on(
            self._store,
            events,
            stream_id=stream_id,
            claim=claim,
            saved_seq=saved_seq,
            shows_stored=_shows_stored(continuation),
            **self._options,
            keep_alive=self._keep_alive,
            on_end=finish,
            on_moved=let_go,
        )
        created.set_result(stream)
        self._producing.add(stream)
        if self._closed:
            await stream.abort(SHUT_DOWN)

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

    async def wait_idle(self) -> None:
        """Wait until no reply is under way."""
        while under_way := [stream for stream in self._producing if stream.end is None]:
            for stream in under_way:
                await stream.wait_closed()

    async def confirm_end(self, stream_id: str, owner: str | None = None) -> HttpResponse[Body]:
        """Return the response that tells an ``EventSource`` not to come back, as it has the whole reply.

        Raises RequestError for a reply that is unknown, not the owner's, or has expired.
        """
        if await self._store.get_status(stream_id, owner=owner) is None:
            raise RequestError(str(StreamNotFoundError(stream_id)), 404)
        return HttpResponse(204, {"Cache-Control": "no-store"}, b"")

    async def aclose(self) -> None:
        """End the replies under way, store what there is of them, and refuse new ones."""
        self._closed = True
        await asyncio.gather(*(stream.abort(SHUT_DOWN) for stream in list(self._producing)))

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

    def _cancel(self, continuation: Continuation) -> None:
        """End an answer at its provider, beside what the reply still has to do."""
        cancelling = continuation.cancel()
        if cancelling is not None and self._keep_alive is not None:
            self._keep_alive(cancelling)

    async def _create_and_save(
        self, generation: Generation, turn: Turn | None, owner: str | None, slot: Slot
    ) -> DurableStream:
        saving = turn.save_question() if turn is not None else asyncio.sleep(0)
        stream, failure = await asyncio.gather(
            self._create(generation, turn, owner, slot), saving, return_exceptions=True
        )
        if isinstance(stream, BaseException):
            raise stream
        if failure is not None:
            await stream.stop()
            raise failure
        return stream

    async def _create(
        self,
        generation: Generation,
        turn: Turn | WaitingTurn | None,
        owner: str | None,
        slot: Slot,
        claim: Claim | None = None,
        prepare: PrepareHook | None = None,
    ) -> DurableStream:
        created: asyncio.Future[DurableStream] = asyncio.get_running_loop().create_future()

        async def is_stored() -> bool:
            return await (await created).wait_stored()

        def record(event: StreamEvent) -> None:
            if generation.record(event) and turn is not None:
                turn.save_rounds(generation.answer, is_stored)

        continuation = generation.continuation if isinstance(self._store, ClaimableStreamStore) else None
        if isinstance(turn, WaitingTurn | ContinuingTurn):
            continuation = None  # its question is not known yet, or a user has allowed what must not run twice

        async def refer(reference: str) -> None:
            await (await created).set_reference(reference)

        async def finish_turn(end: StreamEnd, is_whole: bool) -> None:
            if generation.continuation is not None and end.state != "done":
                self._cancel(generation.continuation)
            if turn is not None:
                answer = generation.answer if is_whole else await self._read_answer(turn, generation.answer)
                await turn.finish(answer, end)
            slot.release()  # before readers are told, so that they may ask again

        def keep(producer: Awaitable[None]) -> None:
            asyncio.ensure_future(producer).add_done_callback(lambda _: slot.release())
            if self._keep_alive is not None:
                self._keep_alive(producer)

        generation.is_stored = is_stored
        if continuation is not None and continuation.text is not None:
            continuation.store = refer
        if turn is not None:
            turn.go_live()
        try:
            stream = await DurableStream.create(
                self._store,
                generation.stream(),
                stream_id=claim.stream_id if claim is not None else (turn and turn.stream_id) or self._ids.new(),
                session_id=turn.session_id if turn is not None else None,
                owner=owner,
                request=claim.mark if claim is not None else None,
                question_id=turn.question_id if turn is not None else None,
                continuation=None if continuation is None else continuation.text,
                shows_stored=_shows_stored(continuation),
                **self._options,
                keep_alive=keep,
                prepare=prepare,
                on_event=record,
                on_end=finish_turn,
                on_moved=turn.abandon if turn is not None else None,
            )
        except BaseException:
            created.cancel()
            if turn is not None:
                turn.abandon()
            raise
        created.set_result(stream)
        self._producing.add(stream)
        return stream

    async def _read_answer(self, turn: Turn | WaitingTurn, produced: Answer) -> Answer:
        """Return the answer as its stream holds it; all that was produced when the stream is no longer there."""
        assert turn.stream_id is not None
        try:
            return Answer((await read_reply(self._store, turn.stream_id)).events, turn.answered)
        except StreamNotFoundError:
            return produced


def _shows_stored(continuation: Continuation | None) -> bool:
    """Return whether readers must see stored events alone, since another process would go on with other words."""
    return continuation is not None and continuation.text is not None and not continuation.repeats_exactly


async def _nothing() -> None:
    """Prepare nothing: the stream is created before its model is asked."""
