"""Recovering the last answer of a conversation from its stream, after its server was killed before saving it."""

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
from ..streams.leases import grace_s
from ..streams.store import StreamEnd, StreamStatus, StreamStore
from .exchanges import add_answer, is_kept, last_question, pending_stream

__all__ = ["Recovery", "StoredReply", "Unanswered", "read_reply", "recover_answer"]

OTHERS_SAVE_S = 0.25
"""Seconds that another process may take to save an answer after its stream has ended."""

LOST = StreamEnd("error", PRODUCER_LOST)

Unanswered: TypeAlias = Literal["no stream", "expired", "stopped", "failed"]
"""Why a question has no answer: it names no stream, its stream has expired, or the stream ended without text."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """The outcome of a conversation's last question.

    ``chat`` is the conversation as it is stored now, and ``recovered`` tells whether an answer was added to it just
    now. ``live_stream`` is the id of the stream that is producing the answer, in this process or another.
    ``unanswered`` is why there is no answer and none is coming, and ``error`` the message of a stream that failed.
    These three are None when no answer is missing.
    """

    chat: ChatHistory
    live_stream: str | None = None
    unanswered: Unanswered | None = None
    error: str | None = None
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A reply as its stream holds it: the text, the named events in order, and how it ended (None: not yet)."""

    text: str
    events: tuple[StreamEvent, ...]
    end: StreamEnd | None


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
    """Add the lost answer to a conversation's last question, and return what became of the question.

    The caller holds the conversation, so that no turn of this process changes it meanwhile. ``live`` has the ids of
    the streams whose answers this process will save itself. A stream whose producer is lost is ended as failed. Of the
    conversation the last ``limit`` messages are loaded (None: all).
    """
    chat = await conversations.load(session_id, limit=limit)
    while True:
        question = last_question(chat)
        if question is None:
            return Recovery(chat)
        stream_id = pending_stream(chat)
        if stream_id is None or streams is None:
            return Recovery(chat, unanswered=None if question.children else "no stream")
        if stream_id in live or DurableStream.find(streams, stream_id) is not None:
            return Recovery(chat, live_stream=stream_id)
        try:
            reply = await _read_ended(streams, stream_id)
        except StreamNotFoundError:
            return Recovery(chat, unanswered="expired")
        if reply.end is None:
            return Recovery(chat, live_stream=stream_id)
        if not is_kept(reply.text, reply.end):
            reason: Unanswered = "stopped" if reply.end.state == "stopped" else "failed"
            return Recovery(chat, unanswered=reason, error=reply.end.error)
        if reply.end != LOST:
            # A server that is alive stores the end of a stream and the answer side by side.
            await sleep(OTHERS_SAVE_S)
        chat = await conversations.load(session_id, limit=limit)
        if pending_stream(chat) == stream_id:
            add_answer(chat, question.id, reply.text, reply.end, stream_id)
            await conversations.save(session_id, chat)
            return Recovery(chat, recovered=True)


async def _read_ended(streams: StreamStore, stream_id: str) -> StoredReply:
    """Read a reply; when its producer is lost, end the stream as failed first, so that it is kept like any other."""
    reading = _Reading(streams, stream_id)
    await reading.read_on()
    if not reading.is_overdue:
        return reading.reply
    try:
        # Judged as followers judge it: a producer that does not renew its lease may still be writing.
        await sleep(grace_s(streams.lease_ms))
        if not await reading.read_on() and reading.is_overdue:
            await streams.fail(stream_id, PRODUCER_LOST)
            await reading.read_on()  # the producer may have ended it first, with more text
    except StreamNotFoundError:  # swept meanwhile: what was read is all that is left
        return StoredReply(reading.reply.text, reading.reply.events, LOST)
    return reading.reply


class _Reading:
    """A stream read page by page, as far as it goes, and further when it has grown."""

    def __init__(self, streams: StreamStore, stream_id: str) -> None:
        self._streams = streams
        self._stream_id = stream_id
        self._after_seq = 0
        self._text: list[str] = []
        self._events: list[StreamEvent] = []
        self._status: StreamStatus | None = None

    async def read_on(self) -> bool:
        """Read what is stored past the last chunk; return whether there was any."""
        began_at = self._after_seq
        while True:
            page = await self._streams.read_page(self._stream_id, self._after_seq)
            for chunk in page.chunks:
                event = chunk.event
                if event.is_text:
                    self._text.append(event.data)
                else:
                    self._events.append(event)
                self._after_seq = chunk.seq
            if not page.has_more:
                self._status = page.status
                return self._after_seq > began_at

    @property
    def is_overdue(self) -> bool:
        """Whether the producer's lease has run out."""
        return self._status is not None and self._status.is_active and self._status.expires_at <= now_ms()

    @property
    def reply(self) -> StoredReply:
        """What was read."""
        end = self._status.end if self._status is not None else None
        return StoredReply("".join(self._text), tuple(self._events), end)
