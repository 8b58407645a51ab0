"""Durable replies of this process: starting them, going on with lost ones, and ending them with the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from typing import TypedDict
from weakref import WeakSet

from ..errors import RequestError, StreamNotFoundError
from ..streams.claims import ClaimableStreamStore, StreamClaim
from ..streams.durable import DurableStream, KeepAlive, PrepareHook
from ..streams.events import StreamEvent
from ..streams.response import Body, HttpResponse
from ..streams.store import Pace, StreamEnd, StreamStore
from ..streams.writer import SHUT_DOWN
from .answers import Answer
from .busy import WaitingTurn
from .claims import Claim
from .continuation import Continuation
from .continuing import ContinuingTurn
from .generation import Generation
from .load import Load, Slot, followed
from .recovery import read_reply
from .stream_ids import StreamIds
from .turns import Turn

__all__ = ["DurableReplies", "shut_down_error"]

RETRY_AFTER_S = 1
"""Seconds after which a refused request is to come again: by then, connections lead to another process."""


def shut_down_error() -> RequestError:
    """Return the refusal of a reply that would begin during a shutdown."""
    return RequestError(SHUT_DOWN, 503, headers={"Retry-After": str(RETRY_AFTER_S)})


class _StreamOptions(TypedDict):
    flush_interval_ms: float | None
    pack_events: bool | None
    whole_chunks: bool
    heartbeat_ms: float


class DurableReplies:
    """The replies that this process produces, each a durable stream in ``store``.

    The options are those of :meth:`DurableStream.create`.
    """

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

        The response has the named ``events`` (None: all). The answer of the turn is stored as its rounds of tool calls
        end, and the rest at the end of the reply. With a ``claim`` the model is asked once the claim is ours and the
        question is stored, and so it is for a turn that waits. Raises StreamExistsError when the claim is taken, and
        SessionBusyError for a turn that is refused.
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

    async def wait_idle(self) -> None:
        """Wait until no reply is under way."""
        while under_way := [stream for stream in self._producing if stream.end is None]:
            for stream in under_way:
                await stream.wait_closed()

    async def aclose(self) -> None:
        """End the replies under way, store what there is of them, and refuse new ones."""
        self._closed = True
        await asyncio.gather(*(stream.abort(SHUT_DOWN) for stream in list(self._producing)))

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
