"""The interface of conversation stores."""

from __future__ import annotations

from typing import Protocol

from ..history import ChatHistory

__all__ = ["ConversationStore"]


class ConversationStore(Protocol):
    """Storage for conversations: one :class:`~aibind.history.ChatHistory` per session, kept for a limited time.

    The time to live starts at the last save. Section 7 of the contract page describes the stored format.
    """

    async def load(self, session_id: str, *, limit: int | None = None, leaf_id: str | None = None) -> ChatHistory:
        """Return a conversation; an empty one when the session is unknown or has expired.

        ``limit`` asks for no more than that many messages, those at the end of the path to ``leaf_id`` (None: the
        current path), and for the messages below that one. A store that keeps a conversation in one piece ignores
        both and returns all of it; :attr:`ChatHistory.is_partial` tells.

        Raises CorruptConversationError when what is stored is not a conversation.
        """
        ...

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store the conversation, all that is new in it or nothing, and restart its time to live.

        What others have saved since the chat was loaded is kept: a store either adds to it, or merges it into ``chat``
        first (see :meth:`ChatHistory.merge`). Raises ConversationTooLargeError when the conversation does not fit.
        """
        ...

    async def delete(self, session_id: str) -> None:
        """Delete a conversation. Deleting an unknown one does nothing."""
        ...
