"""Conversation stores: the interface, and one in memory."""

from __future__ import annotations

from .memory import MemoryConversationStore
from .store import ConversationStore

__all__ = ["ConversationStore", "MemoryConversationStore"]
