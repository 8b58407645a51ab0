"""Recovering the last answer of a conversation from its stream, after its server was killed before saving all of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .._time import now_ms, sleep
from ..conversations.store import ConversationStore
from ..errors import PRODUCER_LOST, StreamNotFoundError
from ..history import ChatHistory
from ..streams.durable import DurableStream
from ..streams.events import StreamEvent
from ..streams.leases import has_run_out
from ..streams.lost import give_up_lost
from ..streams.store import StreamEnd, StreamStatus, StreamStore
from .answers import Answer
from .exchanges import OpenTurn, add_messages, count_stored, find_open_turn, is_kept

__all__ = ["Recovery", "StoredReply", "Unanswered", "complete_turn", "read_ended", "read_reply", "recover_answer"]

OTHERS_SAVE_S = 0.25
"""Seconds that another process may take to save an answer after its stream has ended."""

LOST = StreamEnd("error", PRODUCER_LOST)

_MORE_MESSAGES = 64
"""Messages to load first of an answer that is longer than what was loaded of the conversation."""

Unanswered: TypeAlias = Literal["no stream", "expired", "stopped", "failed"]
"""Why a question has no answer: it names no stream, its stream has expired, or the stream ended without text."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """The outcome of a conversation's last question.

    ``chat`` is the conversation as it is stored now, and ``recovered`` tells whether an answer, or the rest of one, was
    added to it just now. ``live_stream`` is the id of the stream that is producing the answer, in this process or
    another. ``unanswered`` is why there is no answer and none is coming, and ``error`` the message of a stream that
    failed. These three are None when no answer is missing.
    """

    chat: ChatHistory
    live_stream: str | None = None
    unanswered: Unanswered | None = None
    error: str | None = None
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A reply as its stream holds it: its events in order, how it ended (None: not yet), and how many chunks it has."""

    events: tuple[StreamEvent, ...]
    end: StreamEnd | None
    count: int = 0


async def read_reply(streams: StreamStore, stream_id: str) -> StoredReply:
    """Return what a stream holds now. Raises StreamNotFoundError when it has expired."""
    reading = _Reading(streams, stream_id)
    await reading.read_on()
    return reading.reply


async def recover_answer(
    session_id: str,
    conversations: ConversationStore,
    streams: StreamStore | None,
    live: Collection[str],
    *,
    limit: int | None,
) -> Recovery:
    """Add a lost answer, or what is lost of it, to a conversation's last question; return what became of the question.

    The caller holds the conversation, so that no turn of this process changes it meanwhile. ``live`` has the ids of
    the streams whose answers this process will save itself. A stream whose producer is lost is ended as failed. Of the
    conversation the last ``limit`` messages are loaded (None: all).
    """
    stored = _Stored(conversations, session_id, limit)
    await stored.load()
    while True:
        turn, stream_id = stored.turn, stored.turn.stream_id if stored.turn is not None else None
        if turn is None:
            return Recovery(stored.chat)
        if stream_id is None or streams is None:
            return Recovery(stored.chat, unanswered=None if turn.last.children else "no stream")
        if stream_id in live or DurableStream.find(streams, stream_id) is not None:
            return Recovery(stored.chat, live_stream=stream_id)
        try:
            reply = await read_ended(streams, stream_id)
        except StreamNotFoundError:
            if not turn.answered:
                return Recovery(stored.chat, unanswered="expired")
            reply = StoredReply((), LOST)
            is_read = False
        else:
            is_read = True
        if reply.end is None:
            return Recovery(stored.chat, live_stream=stream_id)
        answer = Answer(reply.events, turn.answered)
        if not is_read:
            answer.note_lost(turn.answered)
        if turn.is_unanswered and not is_kept(answer, reply.end):
            reason: Unanswered = "stopped" if reply.end.state == "stopped" else "failed"
            return Recovery(stored.chat, unanswered=reason, error=reply.end.error)
        if reply.end != LOST:
            # A server that is alive stores the end of a stream and the answer side by side.
            await sleep(OTHERS_SAVE_S)
        await stored.load()
        if stored.turn is not None and stored.turn.stream_id == stream_id:
            return Recovery(await stored.complete(stored.turn, answer, reply.end), recovered=True)


class _Stored:
    """A conversation as it is stored: the end of it, and the turn whose answer lacks its end."""

    def __init__(self, conversations: ConversationStore, session_id: str, limit: int | None) -> None:
        self._conversations = conversations
        self._session_id = session_id
        self._limit = limit
        self._below: ChatHistory | None = None
        self.chat = ChatHistory()
        self.turn: OpenTurn | None = None

    async def load(self) -> None:
        """Load the end of the current path, and find the turn that lacks its end."""
        self.chat = self._below = await self._conversations.load(self._session_id, limit=self._limit)
        self.turn = find_open_turn(self.chat)
        looked_at = self.chat.tree.active_leaf_id
        while self.turn is not None and self._below.is_partial and self.turn.last.id != looked_at:
            looked_at = self.turn.last.id  # the current path ends above the end of the answer
            self._below = await self._conversations.load(self._session_id, limit=1, leaf_id=looked_at)
            self.turn = find_open_turn(self._below, looked_at)

    async def complete(self, turn: OpenTurn, answer: Answer, end: StreamEnd) -> ChatHistory:
        """Add what the conversation lacks of an answer, and return the conversation."""
        assert self._below is not None
        chat = await complete_turn(self._conversations, self._session_id, self._below, turn, answer, end)
        if chat is not self.chat and chat.is_partial:
            return await self._conversations.load(self._session_id, limit=self._limit)
        return chat


async def complete_turn(
    conversations: ConversationStore,
    session_id: str,
    chat: ChatHistory,
    turn: OpenTurn,
    answer: Answer,
    end: StreamEnd,
    *,
    activate: bool = True,
) -> ChatHistory:
    """Store what a conversation lacks of an answer; return what was saved. ``chat`` is loaded as far as the turn."""
    count = count_stored(chat, turn)
    limit = _MORE_MESSAGES
    while count is None:
        chat = await conversations.load(session_id, limit=limit, leaf_id=turn.last.id)
        count = count_stored(chat, turn)
        limit *= 4
    # After the result of a tool an answer ends with a message of the model, if need be an empty one.
    lacking = answer.messages(end)[count:] or Answer().messages()
    add_messages(chat, turn.last.id, lacking, turn.stream_id, count=count, ending=answer.ending(end), activate=activate)
    await conversations.save(session_id, chat)
    return chat


async def read_ended(streams: StreamStore, stream_id: str) -> StoredReply:
    """Read a reply whose producer may be lost.

    This process then goes on with it, and it has no end yet; or it is ended as failed, and kept like any other.
    """
    reading = _Reading(streams, stream_id)
    await reading.read_on()
    status = reading.status
    if status is None or not status.is_active or not has_run_out(status, now_ms(), streams.lease_ms):
        return reading.reply
    try:
        # Judged as followers judge it: a producer that does not renew its lease may still be writing, and the clock of
        # one that does may be behind.
        await sleep(streams.grace_s)
        if not await reading.read_on() and reading.lease == status.expires_at:
            end = await give_up_lost(streams, stream_id, status.expires_at)
            await reading.read_on()  # the producer may have ended it first, with more text
            return StoredReply(reading.reply.events, reading.reply.end or end)
    except StreamNotFoundError:  # swept meanwhile: what was read is all that is left
        return StoredReply(reading.reply.events, LOST)
    return reading.reply


class _Reading:
    """A stream read page by page, as far as it goes, and further when it has grown."""

    def __init__(self, streams: StreamStore, stream_id: str) -> None:
        self._streams = streams
        self._stream_id = stream_id
        self._after_seq = 0
        self._events: list[StreamEvent] = []
        self.status: StreamStatus | None = None

    async def read_on(self) -> bool:
        """Read what is stored past the last chunk; return whether there was any."""
        began_at = self._after_seq
        while True:
            page = await self._streams.read_page(self._stream_id, self._after_seq)
            for chunk in page.chunks:
                self._events += chunk.events
                self._after_seq = chunk.seq
            if not page.has_more:
                self.status = page.status
                return self._after_seq > began_at

    @property
    def lease(self) -> int | None:
        """The end of the producer's lease, or None when the stream has ended."""
        return self.status.expires_at if self.status is not None and self.status.is_active else None

    @property
    def reply(self) -> StoredReply:
        """What was read."""
        end = self.status.end if self.status is not None else None
        return StoredReply(tuple(self._events), end, self._after_seq)
