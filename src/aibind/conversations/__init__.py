"""Where conversations are kept between turns (contract §7)."""

from __future__ import annotations

from .memory import MemoryConversationStore
from .store import ConversationStore

__all__ = ["ConversationStore", "MemoryConversationStore"]
