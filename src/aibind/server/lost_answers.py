"""The answers of lost producers, wherever in a conversation they belong.

:func:`~aibind.server.recovery.recover_answer` looks at the question that a conversation ends with. A stream of a
producer that was killed knows its session and its question, so that its answer is found also on another branch, where
the question was asked again, and when the conversation has gone on since.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence

from .._logging import log_fields
from ..conversations.store import ConversationStore
from ..errors import ConversationConflictError, StreamNotFoundError
from ..history import ChatHistory
from ..streams.durable import DurableStream
from ..streams.store import StreamInfo, StreamStore
from .answers import Answer
from .exchanges import OpenTurn, find_open_turn, is_kept
from .recovery import StoredReply, complete_turn, read_ended

__all__ = ["find_lost", "keep_answer", "recover_lost"]

logger = logging.getLogger("aibind")


async def find_lost(session_id: str, streams: StreamStore | None, live: Collection[str]) -> list[StreamInfo]:
    """Return the lost streams of a session. ``live`` has the ids of those whose answers this process saves itself."""
    if streams is None:
        return []
    lost = await streams.lost_streams(session_id)
    return [one for one in lost if one.stream_id not in live and DurableStream.find(streams, one.stream_id) is None]


async def recover_lost(
    session_id: str, conversations: ConversationStore, streams: StreamStore, lost: Sequence[StreamInfo]
) -> int:
    """Add the answers of lost streams to their conversation, and return how many. The caller holds the conversation.

    An answer becomes a version of its question's answer; the current path stays, unless it ends with the question. A
    stream is settled when the conversation has all that it holds.
    """
    replies = await asyncio.gather(*(_read(streams, one.stream_id) for one in lost))
    recovered = 0
    for one, reply in zip(lost, replies, strict=True):
        if reply is None or reply.end is None:
            continue  # it has been removed, or its producer is alive after all
        recovered += await _complete(session_id, conversations, one.stream_id, one.status.question_id, reply)
        await streams.settle(one.stream_id)
    return recovered


async def _read(streams: StreamStore, stream_id: str) -> StoredReply | None:
    try:
        return await read_ended(streams, stream_id)
    except StreamNotFoundError:
        return None


async def keep_answer(
    session_id: str, conversations: ConversationStore, streams: StreamStore, stream_id: str, question_id: str
) -> None:
    """Add the answer of a stream that has ended to its conversation. The caller holds the conversation."""
    reply = await _read(streams, stream_id)
    if reply is not None and reply.end is not None:
        await _complete(session_id, conversations, stream_id, question_id, reply)


async def _complete(
    session_id: str, conversations: ConversationStore, stream_id: str, question_id: str | None, reply: StoredReply
) -> bool:
    """Store what the conversation lacks of one answer; return whether it lacked anything."""
    end = reply.end
    assert end is not None
    if question_id is None:
        return False
    chat, turn = await _find_turn(session_id, conversations, question_id, stream_id)
    answer = Answer(reply.events, turn.answered if turn is not None else ())
    if turn is None or (turn.is_unanswered and not is_kept(answer, end)):
        return False
    is_current = chat.tree.active_leaf_id == turn.last.id
    try:
        await complete_turn(conversations, session_id, chat, turn, answer, end, activate=is_current)
    except ConversationConflictError:
        logger.info(
            "The answer to a question that was removed meanwhile is not kept",
            extra=log_fields("turn.answer_dropped", session_id=session_id),
        )
        return False
    return True


async def _find_turn(
    session_id: str, conversations: ConversationStore, question_id: str, stream_id: str
) -> tuple[ChatHistory, OpenTurn | None]:
    """Load the end of a stream's answer, and return the turn if it lacks its end; None if not, or without question."""
    looked_at = question_id
    chat = await conversations.load(session_id, limit=1, leaf_id=question_id)
    if question_id not in chat.tree:
        return chat, None
    turn = find_open_turn(chat, question_id, stream_id)
    while turn is not None and chat.is_partial and turn.last.id != looked_at:
        looked_at = turn.last.id
        chat = await conversations.load(session_id, limit=1, leaf_id=looked_at)
        turn = find_open_turn(chat, looked_at, stream_id)
    return chat, turn
