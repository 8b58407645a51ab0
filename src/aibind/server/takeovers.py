"""Going on with replies whose process has died: claimed by one process, through the model's own means."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from .._logging import log_fields
from .._time import sleep
from ..errors import AibindError, ModelError, ProducerLostError
from ..models.resuming import can_resume
from ..streams.claims import ClaimableStreamStore, StreamClaim
from ..streams.events import StreamEvent
from ..streams.lost import set_take_over
from ..streams.store import StreamStore
from .access import Access
from .answers import Answer
from .asking import Asking
from .continuation import Continuation, ResumedModel, Task, open_round_of, read_reference
from .generation import Generation
from .lost_answers import keep_answer
from .recovery import read_reply
from .replies import DurableReplies
from .sessions import Session, Sessions
from .shutdown import Shutdown
from .tools import Tool

__all__ = ["MAX_TAKEOVERS", "Takeovers"]

MAX_TAKEOVERS = 5
"""Times that a reply is gone on with: one that ends every process which takes it over must not end them all."""

logger = logging.getLogger("aibind")


class _NotContinuedError(AibindError):
    """Raised when a reply cannot be gone on with, after its stream was claimed."""


class Takeovers:
    """Goes on with the replies of lost producers in ``store``; a store without claims has none.

    Followers, the next turn of a session and sweeps come to a lost stream, and call :meth:`take_over` through the
    store. ``tools_of`` returns the tools of a toolset by its name.
    """

    def __init__(
        self,
        store: StreamStore | None,
        replies: DurableReplies | None,
        sessions: Sessions | None,
        asking: Asking,
        tools_of: Callable[[str | None], Sequence[Tool]],
        shutdown: Shutdown,
    ) -> None:
        self._store = store if isinstance(store, ClaimableStreamStore) else None
        self._replies = replies
        self._sessions = sessions
        self._asking = asking
        self._tools_of = tools_of
        self._shutdown = shutdown
        if self._store is not None:
            set_take_over(self._store, self.take_over)

    async def take_over(self, stream_id: str, lease: int) -> bool | None:
        """Claim a stream whose producer is lost, and go on with it; return False when this process cannot.

        None leaves it to other processes, since this one is shutting down.
        ``lease`` is the ``expires_at`` that was seen unchanged. Raises the store's errors.
        """
        store = self._store
        if store is None or self._replies is None or not self._asking.can_resume:
            return False
        if self._shutdown.has_begun:
            return None
        claim = await store.claim(stream_id, lease=lease, max_takeovers=MAX_TAKEOVERS)
        if claim is None:
            return False
        fields = log_fields("stream.taken_over", stream_id=stream_id, takeovers=claim.epoch)
        try:
            await self._go_on(store, self._replies, stream_id, claim)
        except Exception as error:
            logger.warning(
                "Stream %s, whose producer was lost, could not be gone on with: it is ended",
                stream_id,
                exc_info=error,
                extra=fields,
            )
            await store.give_up(stream_id, lease=claim.lease)
            return False
        logger.warning(
            "This process goes on with stream %s, whose producer was lost (takeover %d)",
            stream_id,
            claim.epoch,
            extra=fields,
        )
        return True

    async def sweep(self) -> int:
        """Go on with the replies of all lost producers, and return with how many.

        A producer whose lease has run out has the store's ``grace_s`` to renew it.
        """
        store = self._store
        if store is None or not self._asking.can_resume:
            return 0
        lost = await store.orphans()
        if lost:
            await sleep(store.grace_s)
        found = await asyncio.gather(*(self.take_over(one.stream_id, one.status.expires_at) for one in lost))
        return sum(map(bool, found))

    async def cancel(self, stream_id: str, owner: str | None) -> None:
        """End at its provider what a stream was answered with, of a stopped stream whose producer was lost.

        A producer that is alive does it itself: call this for those of other processes, where it may come twice.
        """
        if self._store is None or not self._asking.can_resume:
            return
        status = await self._store.get_status(stream_id, owner=owner)
        if status is None or status.state != "stopped" or status.reference is None:
            return
        reference, _, key = read_reference(status.reference)
        model = self._asking.pick(key)
        if reference is not None and can_resume(model):
            await model.cancel(reference)

    async def _go_on(
        self, store: ClaimableStreamStore, replies: DurableReplies, stream_id: str, claim: StreamClaim
    ) -> None:
        try:
            task = Task.from_text(claim.continuation)
        except (ValueError, RecursionError) as error:
            raise _NotContinuedError("The store holds no task for it") from error
        model = self._asking.pick(task.model)
        reply = await read_reply(store, stream_id)
        open_round = open_round_of(reply.events)
        if open_round is None or not can_resume(model):
            raise _NotContinuedError("A tool may have been running, or its model cannot go on with an answer")
        so_far, results = open_round
        reference, results_before, key = read_reference(claim.reference)
        if results_before != results or key != task.model:
            reference = None  # of an earlier round
        session, messages = await self._messages(task, claim)
        access = None if claim.owner is None else Access(claim.owner)
        request = self._asking.request(messages, access, task.model, task.session_id, system=task.system)
        tools = self._tools_of(task.toolset)
        said = Answer(reply.events).whole_rounds()
        events = self._asking.answer_from(
            ResumedModel(model, so_far, reference), request, tools, task.max_steps, said, so_far
        )
        continuation = Continuation(claim.continuation, model, task.model, results, reference)
        generation = Generation(events, continuation=continuation)

        async def keep() -> None:
            if session is not None and claim.question_id is not None and self._sessions is not None:
                async with session.changing():
                    await keep_answer(session.id, self._sessions.conversations, store, stream_id, claim.question_id)

        if session is not None:
            session.list_stream(stream_id)
        try:
            await replies.go_on(
                generation,
                _lost_if_refused(generation, stream_id),
                stream_id,
                claim,
                reply.count,
                keep,
                (lambda: session.unlist_stream(stream_id)) if session is not None else lambda: None,
            )
        except BaseException:
            if session is not None:
                session.unlist_stream(stream_id)
            raise

    async def _messages(self, task: Task, claim: StreamClaim) -> tuple[Session | None, Sequence[dict[str, object]]]:
        """Return the session of a reply, and the messages that its model was asked with."""
        if task.messages is not None:
            return None, task.messages
        if claim.session_id is None or claim.question_id is None or self._sessions is None:
            raise _NotContinuedError("Its conversation is not known")
        session = self._sessions.find(claim.session_id)
        messages = await session.messages_to(claim.question_id)
        if not messages:
            raise _NotContinuedError("Its question is not stored")
        return session, messages


async def _lost_if_refused(generation: Generation, stream_id: str) -> AsyncGenerator[StreamEvent]:
    """Yield a reply's events; where the model says that it cannot go on, the producer is lost after all."""
    async with aclosing(generation.stream()) as events:
        try:
            async for event in events:
                yield event
        except ModelError as error:
            if error.code != "not_resumable":
                raise
            logger.warning(
                "The model cannot go on with stream %s: %s",
                stream_id,
                error,
                extra=log_fields("stream.not_resumable", stream_id=stream_id),
            )
            raise ProducerLostError(stream_id) from error
