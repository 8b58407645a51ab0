"""The interface of a place that keeps conversations (contract §7)."""

from __future__ import annotations

from typing import Protocol

from ..history import ChatHistory

__all__ = ["ConversationStore"]


class ConversationStore(Protocol):
    """Keeps one :class:`~aibind.history.ChatHistory` a session, for a limited time since its last save."""

    async def load(self, session_id: str) -> ChatHistory:
        """Load a conversation; an empty one when the session is unknown or has expired.

        Raises CorruptConversationError when something is stored that is not a conversation.
        """
        ...

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store the whole conversation, all of it or nothing, and start its time to live anew.

        A store may merge what others saved meanwhile into ``chat`` (see :meth:`ChatHistory.merge`), so that no turn is
        lost. Raises ConversationTooLargeError when it cannot fit.
        """
        ...

    async def delete(self, session_id: str) -> None:
        """Forget a conversation. Deleting an unknown one does nothing."""
        ...
