"""Starting replies: once for a request with an id, and in order where a session orders its turns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from .._offload import offload
from ..errors import RequestError, StreamExistsError
from ..models.model import Message
from ..streams.response import Body, HttpResponse
from ..streams.store import Pace
from .begun_replies import BegunReplies
from .busy import OnBusy, WaitingTurn
from .claims import Claim, lacks_question
from .generation import Generation
from .housekeeping import Housekeeping
from .load import Load
from .plain_replies import start_plain_reply
from .replies import DurableReplies
from .reply_events import ReplyEvent
from .requests import StreamBody, is_large
from .sessions import Session
from .shutdown import Shutdown
from .stream_ids import StreamIds
from .turns import Turn

__all__ = ["AskModel", "ReplyStarter"]

AskModel: TypeAlias = Callable[[Sequence[Message]], AsyncGenerator[ReplyEvent]]
"""A function from the messages of a turn to the model's answer."""

_B = TypeVar("_B")

MAX_CLAIM_ATTEMPTS = 5
"""Attempts to begin or to find a reply, each of which another request with the same id can cross."""


class ReplyStarter:
    """Starts the replies of a handler: durable ones in ``replies``, plain ones where that and ``begun`` are None."""

    def __init__(
        self,
        replies: DurableReplies | None,
        begun: BegunReplies | None,
        shutdown: Shutdown,
        housekeeping: Housekeeping,
        load: Load,
        ids: StreamIds,
        *,
        max_queued: int,
    ) -> None:
        self._replies = replies
        self._begun = begun
        self._shutdown = shutdown
        self._housekeeping = housekeeping
        self._load = load
        self._ids = ids
        self._max_queued = max_queued

    @property
    def is_resumable(self) -> bool:
        """Whether replies are durable streams."""
        return self._replies is not None

    @property
    def pace(self) -> Pace | None:
        """How often the store recommends to write; None where replies are not stored."""
        return None if self._replies is None else self._replies.pace

    async def read(
        self,
        endpoint: str,
        body: object,
        request_id: str | None,
        parse: Callable[[object], _B],
        *,
        owner: str | None,
    ) -> tuple[Claim | None, _B]:
        """Return the claim of a request (see :meth:`claim`) and its checked body."""

        def check() -> tuple[Claim | None, _B]:
            return self.claim(endpoint, body, request_id, owner=owner), parse(body)

        return await offload(check, is_large(body))

    def claim(self, endpoint: str, body: object, request_id: str | None, *, owner: str | None) -> Claim | None:
        """Return the claim of a request, None for one without an id. Raises RequestError for an id of no use."""
        claim = self._ids.claim(endpoint, body, request_id, owner=owner)
        if claim is not None and self._replies is None:
            raise RequestError(
                "This server's replies cannot be resumed, so a request cannot be repeated: leave out Idempotency-Key"
                " and requestId"
            )
        return claim

    async def once(
        self,
        claim: Claim | None,
        begin: Callable[[], Awaitable[HttpResponse[Body]]],
        check_question: Callable[[Claim], Awaitable[None]] | None = None,
        *,
        owner: str | None,
        events: Collection[str] | None = None,
    ) -> HttpResponse[Body]:
        """Return the reply that answers a request already, or begin it unless the handler is shut down.

        The response has the named ``events`` (None: all), here and in the other methods.
        """
        if claim is None:
            self._admit()
            return await begin()
        assert self._begun is not None
        for _ in range(MAX_CLAIM_ATTEMPTS):
            status = await self._begun.find(claim)
            if status is not None:
                if check_question is not None and lacks_question(status):
                    await check_question(claim)
                attached = await self._begun.attach(claim, owner, events=events)
                if attached is not None:
                    return attached
            self._admit()
            try:
                return await begin()
            except StreamExistsError:
                continue  # another request with this id was faster
        raise RequestError("Other requests with this id come and go: try again", 503)

    async def start(
        self,
        generation: Generation,
        turn: Turn | None,
        claim: Claim | None,
        *,
        owner: str | None,
        events: Collection[str] | None = None,
    ) -> HttpResponse[Body]:
        """Start a reply at once, and return the response that follows it."""
        if self._replies is None:
            return await start_plain_reply(
                generation, turn, self._shutdown.plain_reply(), self._load, owner=owner, events=events
            )
        return await self._replies.start(generation, turn, claim, owner=owner, events=events)

    async def start_in_order(
        self,
        session: Session,
        asked: StreamBody,
        claim: Claim | None,
        on_busy: OnBusy,
        ask: AskModel,
        *,
        structured: bool,
        again: Mapping[str, Any] | None,
        owner: str | None,
        events: Collection[str] | None = None,
    ) -> HttpResponse[Body]:
        """Begin a turn that makes other replies of its session stop, waits for them, or is refused for them."""
        assert self._replies is not None
        assert self._begun is not None
        if claim is not None:
            claim = replace(claim, waits=on_busy == "queue")
        stream_id = claim.stream_id if claim is not None else self._ids.new()
        turn = WaitingTurn(
            session,
            stream_id,
            on_busy,
            lambda: session.begin(asked, claim, stream_id),
            self._begun.stop,
            max_queued=self._max_queued,
        )

        async def answer_in_turn() -> AsyncGenerator[ReplyEvent]:
            async with aclosing(ask((await turn.start()).messages)) as answer:
                async for event in answer:
                    yield event

        async with session.starting():
            await turn.check()
            generation = Generation(answer_in_turn(), structured=structured, pace=self._replies.pace, turn=again)
            return await self._replies.start(generation, turn, claim, owner=owner, events=events)

    def _admit(self) -> None:
        self._shutdown.check()
        self._housekeeping.start()
