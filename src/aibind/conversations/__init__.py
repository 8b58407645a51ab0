"""Conversation stores: the interface, and one in memory."""

from __future__ import annotations

from .._public import publish
from .files import FileReference, FileStore, StoredFile
from .memory import MemoryConversationStore
from .sessions import MessagePage, SessionInfo, SessionStore, StoredMessage
from .store import ConversationStore

__all__ = [
    "ConversationStore",
    "FileReference",
    "FileStore",
    "MemoryConversationStore",
    "MessagePage",
    "SessionInfo",
    "SessionStore",
    "StoredFile",
    "StoredMessage",
]

publish(__name__, __all__)
