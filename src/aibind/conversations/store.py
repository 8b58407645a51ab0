"""The interface of conversation stores."""

from __future__ import annotations

from typing import Protocol

from ..history import ChatHistory

__all__ = ["ConversationStore"]


class ConversationStore(Protocol):
    """Storage for conversations: one :class:`~aibind.history.ChatHistory` per session, kept for a limited time.

    The time to live starts at the last save. Section 7 of the contract page describes the stored format.
    """

    async def load(self, session_id: str) -> ChatHistory:
        """Return a conversation; an empty one when the session is unknown or has expired.

        Raises CorruptConversationError when what is stored is not a conversation.
        """
        ...

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store the whole conversation, all of it or nothing, and restart its time to live.

        A store may merge what others have saved meanwhile into ``chat`` (see :meth:`ChatHistory.merge`), so that no
        turn is lost. Raises ConversationTooLargeError when the conversation does not fit.
        """
        ...

    async def delete(self, session_id: str) -> None:
        """Delete a conversation. Deleting an unknown one does nothing."""
        ...
