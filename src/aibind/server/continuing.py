"""Turns that go on from a user's answers, and the claim that lets one process alone go on.

Answers are messages below the calls. The id of each follows from the message that it is below, so that a store has one
in each place: of several processes that add one, one succeeds, and the others find it there.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ..conversations.store import ConversationStore
from ..errors import AibindError, MalformedTreeError
from ..history import ChatHistory
from ..models.model import Message
from .attachments import PendingFiles
from .reply_events import AnsweredCall
from .turns import Turn, TurnSession

__all__ = ["AnswersTakenError", "ContinuingTurn", "add_below", "continuing_id"]

_PLACES = uuid.UUID("f2d3a0f4-93cf-4a39-8d0b-0f2f5b1f6c0e")
"""The name space of the ids of answers."""


class AnswersTakenError(AibindError):
    """Raised when another process was faster to add answers; look again."""


def continuing_id(parent_id: str) -> str:
    """Return the id of the answers below a message."""
    return str(uuid.uuid5(_PLACES, parent_id))


async def add_below(
    conversations: ConversationStore, session_id: str, parent_id: str, message: Message, metadata: Mapping[str, Any]
) -> bool:
    """Add answers below a message, and return whether they are there; False when others were there before.

    The conversation then ends with the answers. The caller holds it, so that no turn of this process changes it.
    """
    node_id = continuing_id(parent_id)
    chat = await conversations.load(session_id, limit=1, leaf_id=parent_id)
    if parent_id not in chat.tree:
        return False  # removed meanwhile
    if node_id not in chat.tree:
        chat.tree.add_child(parent_id, message, metadata, node_id=node_id)
        chat.tree.set_active_leaf(node_id)
        try:
            await conversations.save(session_id, chat)
        except MalformedTreeError:
            return False  # this store compares what is below one id
        chat = await conversations.load(session_id, limit=1, leaf_id=node_id)
    there = chat.tree.get(node_id)
    return there is not None and there.message == message and there.metadata == metadata


class ContinuingTurn(Turn):
    """A turn that goes on from answers, which take the place of its question.

    ``answered`` are all calls that are to be run or refused, and ``message`` has the answers that are not stored yet.
    """

    def __init__(
        self,
        session: TurnSession,
        conversations: ConversationStore,
        chat: ChatHistory,
        parent_id: str,
        stream_id: str,
        messages: Sequence[Message],
        *,
        message: Message,
        answered: Sequence[AnsweredCall],
        files: PendingFiles,
    ) -> None:
        super().__init__(
            session, chat, continuing_id(parent_id), stream_id, messages, is_new=True, files=files, answered=answered
        )
        self._conversations = conversations
        self._parent_id = parent_id
        self._message = message

    async def save_question(self) -> None:
        """Add the answers, which claims the calls. Raises AnswersTakenError when another turn has claimed them."""
        metadata = {"streamId": self.stream_id, "answered": [call.to_json() for call in self.answered]}
        async with self._session.changing():
            if not await add_below(self._conversations, self._session.id, self._parent_id, self._message, metadata):
                raise AnswersTakenError("These calls are answered already")
