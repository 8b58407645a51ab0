"""Conversation stores: the interface, and one in memory."""

from __future__ import annotations

from .._public import publish
from .memory import MemoryConversationStore
from .sessions import MessagePage, SessionInfo, SessionStore, StoredMessage
from .store import ConversationStore

__all__ = [
    "ConversationStore",
    "MemoryConversationStore",
    "MessagePage",
    "SessionInfo",
    "SessionStore",
    "StoredMessage",
]

publish(__name__, __all__)
