"""Busy sessions: what becomes of a request while another reply of its session is under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias, cast, get_args

from ..errors import RequestError, SessionBusyError
from ..streams.store import StreamEnd
from .answers import Answer
from .sessions import Session
from .turns import Turn

__all__ = ["MAX_QUEUED", "OnBusy", "WaitingTurn", "check_on_busy", "choose_on_busy"]

OnBusy: TypeAlias = Literal["branch", "interrupt", "queue", "reject"]
"""The treatment of a request in a session that has a reply under way, the strictest last.

``branch`` answers it at once, beside the other; ``interrupt`` stops the other first, ``queue`` waits for its end, and
``reject`` refuses the request.
"""

MAX_QUEUED = 8
"""The default limit of the requests that wait in one session."""

_BY_STRICTNESS: tuple[str, ...] = get_args(OnBusy)


def check_on_busy(on_busy: str, max_queued: int, *, resumable: bool) -> None:
    """Raise ValueError for options of a handler that are not known, or that do not go together."""
    if on_busy not in _BY_STRICTNESS:
        raise ValueError(f"on_busy is {on_busy!r}: use one of {', '.join(_BY_STRICTNESS)}")
    if on_busy != "branch" and not resumable:
        raise ValueError(f'on_busy="{on_busy}" needs replies that can be found: add resumable=True')
    if max_queued < 1:
        raise ValueError(f"max_queued is {max_queued}: use 1 or more")


def choose_on_busy(configured: OnBusy, body: object, *, resumable: bool) -> OnBusy:
    """Return what a request wants done, ``onBusy`` in its body, or else what is configured.

    Raises RequestError for a value that is not known, or less strict than what is configured.
    """
    asked: object = cast("Mapping[str, Any]", body).get("onBusy") if isinstance(body, dict) else None
    if asked is None:
        return configured
    if not isinstance(asked, str) or asked not in _BY_STRICTNESS:
        raise RequestError(f"onBusy must be one of {', '.join(_BY_STRICTNESS)}")
    if _BY_STRICTNESS.index(asked) < _BY_STRICTNESS.index(configured):
        allowed = ", ".join(_BY_STRICTNESS[_BY_STRICTNESS.index(configured) :])
        raise RequestError(f"onBusy is {asked}, which this server does not allow: use one of {allowed}")
    if asked != "branch" and not resumable:
        raise RequestError("This server's replies cannot be found while they are under way: leave out onBusy")
    return cast("OnBusy", asked)


class WaitingTurn:
    """A turn that begins when its session is free: its stream exists before its question is placed.

    ``begin`` loads the conversation, places the question and returns the turn. Streams of a session are in order in
    their store, so that several processes wait for each other; where a store does not record sessions, this process
    knows its own.
    """

    def __init__(
        self,
        session: Session,
        stream_id: str,
        on_busy: OnBusy,
        begin: Callable[[], Awaitable[Turn]],
        stop: Callable[[str], Awaitable[None]],
        *,
        max_queued: int,
    ) -> None:
        self.stream_id = stream_id
        self._session = session
        self._on_busy = on_busy
        self._begin = begin
        self._stop = stop
        self._max_queued = max_queued
        self._turn: Turn | None = None

    @property
    def session_id(self) -> str:
        """The id of the conversation."""
        return self._session.id

    @property
    def answered(self) -> tuple[()]:
        """The calls that the turn goes on from: a new question goes on from none."""
        return ()

    @property
    def question_id(self) -> str | None:
        """The id of the question, once it is placed; None while the turn waits."""
        return self._turn.question_id if self._turn is not None else None

    async def check(self) -> None:
        """Raise SessionBusyError when the request would be refused, before anything is written for it."""
        if self._on_busy in ("reject", "queue"):
            self._check(await self._session.streams_before(self.stream_id))

    async def prepare(self) -> None:
        """Make way for the turn, and begin it unless it has to wait. The stream exists, and so has its place.

        Raises SessionBusyError for a turn that is refused.
        """
        before = await self._session.streams_before(self.stream_id)
        if self._on_busy == "queue":
            self._check(before)
            if before:
                return
        elif self._on_busy == "reject":
            self._check(before)
        else:
            for stream_id in before:
                await self._stop(stream_id)
        await self.start()

    async def start(self) -> Turn:
        """Wait until it is the turn's time, begin it, store its question, and return it; once only."""
        if self._turn is None:
            await self._session.wait_until_first(self.stream_id)
            turn = await self._begin()
            await turn.save_question()
            self._turn = turn
        return self._turn

    # --- as a Turn ---

    def go_live(self) -> None:
        """List the turn's stream as live."""
        self._session.list_stream(self.stream_id)

    def save_rounds(self, answer: Answer, is_stored: Callable[[], Awaitable[bool]] | None = None) -> None:
        """Begin to store the rounds of an answer that are whole."""
        if self._turn is not None:
            self._turn.save_rounds(answer, is_stored)

    async def finish(self, answer: Answer, end: StreamEnd) -> None:
        """Store the answer. A turn that ends while it waits leaves nothing in the conversation."""
        try:
            if self._turn is not None:
                await self._turn.finish(answer, end)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Stop listing the turn's stream as live."""
        self._session.unlist_stream(self.stream_id)

    def _check(self, before: list[str]) -> None:
        if self._on_busy == "reject" and before:
            raise SessionBusyError(
                "Another reply of this session is under way: stop it, or wait for its end", before[0], 409
            )
        if len(before) > self._max_queued:
            raise SessionBusyError(
                f"{self._max_queued} requests wait in this session already, which is its limit (max_queued): try later",
                before[0],
                429,
            )
