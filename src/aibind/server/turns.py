"""Turns: a question that waits for its answer, and the part of the answer that is stored."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from .._logging import log_fields
from ..history import ChatHistory
from ..models.model import Message
from ..streams.store import StreamEnd
from .answers import Answer
from .attachments import PendingFiles
from .exchanges import is_kept
from .reply_events import AnsweredCall

__all__ = ["AnswerPart", "Turn", "TurnSession"]

logger = logging.getLogger("aibind")


@dataclass(slots=True)
class AnswerPart:
    """The part of a turn's answer that is in the conversation.

    ``last_id`` is its last message (at first the question), ``stored_id`` the last one that a store has confirmed, and
    ``count`` how many there are. ``chat`` is what was saved last, or is still to be saved. ``is_again`` is whether the
    question had been asked before, and ``files`` are the question's. ``is_done`` is whether another process has stored
    the end of the answer, and ``has_end`` whether the end is in ``chat``.
    """

    chat: ChatHistory
    stream_id: str | None
    last_id: str
    stored_id: str
    is_again: bool
    files: PendingFiles
    count: int = 0
    is_done: bool = False
    has_end: bool = False


class TurnSession(Protocol):
    """The session of a turn, as the turn uses it."""

    @property
    def id(self) -> str:
        """The id of the conversation in the stores."""
        ...

    def changing(self) -> AbstractAsyncContextManager[None]:
        """Hold the conversation from before it is loaded until it is saved."""
        ...

    def list_stream(self, stream_id: str) -> None:
        """Add a stream to those that are live."""
        ...

    def unlist_stream(self, stream_id: str) -> None:
        """Remove a stream from those that are live, unless it was removed before."""
        ...

    async def save_question(self, chat: ChatHistory, files: PendingFiles) -> None:
        """Save the conversation with a new question."""
        ...

    async def save_messages(self, part: AnswerPart, messages: Sequence[Message], ending: dict[str, Any] | None) -> None:
        """Save messages of an answer below those that are there; ``ending`` is the last one's metadata, at the end."""
        ...


class Turn:
    """A question that waits for its answer.

    The question is stored before the answer, with the id of the answering stream in its metadata: a page that opens
    the conversation meanwhile can follow the stream, and the answer of a server that was killed can be recovered. Each
    round of tool calls is stored when it ends. Other turns of the conversation may run at the same time. ``messages``
    are what the model sees, the question last. ``answered`` are the calls of an earlier reply that it goes on from.
    """

    def __init__(
        self,
        session: TurnSession,
        chat: ChatHistory,
        question_id: str,
        stream_id: str | None,
        messages: Sequence[Message],
        *,
        is_new: bool,
        files: PendingFiles,
        answered: Sequence[AnsweredCall] = (),
    ) -> None:
        self.stream_id = stream_id
        self.answered = answered
        self.question_id = question_id
        self.messages = messages
        self._session = session
        self._chat = chat
        self._is_new = is_new
        self._part = AnswerPart(chat, stream_id, question_id, question_id, is_again=not is_new, files=files)
        self._saving: asyncio.Task[None] | None = None

    @property
    def session_id(self) -> str:
        """The id of the conversation in the stores."""
        return self._session.id

    def go_live(self) -> None:
        """List the turn's stream as live."""
        if self.stream_id is not None:
            self._session.list_stream(self.stream_id)

    async def save_question(self) -> None:
        """Store the conversation with its new question; a question that is asked again is stored already."""
        if self._is_new:
            await self._session.save_question(self._chat, self._part.files)

    def save_rounds(self, answer: Answer, is_stored: Callable[[], Awaitable[bool]] | None = None) -> None:
        """Begin to store the rounds of an answer that are whole, while the next one goes on.

        ``is_stored`` waits until the answer's stream holds what there is of it, and returns False when it never will:
        then nothing is stored here, since a conversation has no more of an answer than its stream. A round that cannot
        be stored is logged, and stored with the next or with the end of the answer.
        """
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save_rounds(answer, is_stored), name="aibind rounds of a turn")

    async def finish(self, answer: Answer, end: StreamEnd) -> None:
        """Store the answer: the whole of it, or as much as there was when it was stopped or failed.

        After a failure it may be called again, with the same answer.
        """
        try:
            if self._saving is not None:
                await asyncio.wait([self._saving])
            if not self._part.is_done and (self._part.count or is_kept(answer, end)):
                rest = answer.messages(end)[self._part.count :]
                if not rest and not self._part.has_end:
                    rest = Answer().messages()  # rounds were stored that their stream lost
                await self._session.save_messages(self._part, rest, answer.ending(end))
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Stop listing the turn's stream as live."""
        if self.stream_id is not None:
            self._session.unlist_stream(self.stream_id)

    async def _save_rounds(self, answer: Answer, is_stored: Callable[[], Awaitable[bool]] | None) -> None:
        part = self._part
        try:
            while not part.is_done and (rounds := answer.whole_rounds()[part.count :]):
                if is_stored is not None and not await is_stored():
                    return
                await self._session.save_messages(part, rounds, None)
        except Exception:
            logger.exception(
                "A round of a turn could not be stored yet",
                extra=log_fields("turn.round_not_stored", stream_id=self.stream_id, session_id=self.session_id),
            )
