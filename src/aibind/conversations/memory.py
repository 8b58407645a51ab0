"""Conversations in this process's memory: for tests, and where losing them at a restart is fine."""

from __future__ import annotations

import time

from ..history import ChatHistory
from .codec import decode_chat, encode_chat

__all__ = ["MemoryConversationStore"]


class MemoryConversationStore:
    """Keeps conversations in memory, as the text that other stores would write; so each load is a copy of its own.

    ``ttl_ms`` is how long one is kept after its last save, in milliseconds. Expired ones are removed now and then as
    others are saved. Raises ValueError when it is not positive.
    """

    def __init__(self, *, ttl_ms: int = 1_800_000) -> None:
        if not ttl_ms > 0:
            raise ValueError(f"ttl_ms must be positive, not {ttl_ms}")
        self._ttl_s = ttl_ms / 1000
        self._stored: dict[str, tuple[str, float]] = {}
        self._next_sweep = time.monotonic() + self._ttl_s

    async def load(self, session_id: str) -> ChatHistory:
        """Load a conversation; an empty one when the session is unknown or has expired."""
        stored = self._stored.get(session_id)
        if stored is None or stored[1] <= time.monotonic():
            return ChatHistory()
        return decode_chat(session_id, stored[0])

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store the whole conversation in place of what was stored, and start its time to live anew."""
        now = time.monotonic()
        self._stored[session_id] = (encode_chat(session_id, chat), now + self._ttl_s)
        if now >= self._next_sweep:
            self._next_sweep = now + self._ttl_s
            await self.cleanup()

    async def delete(self, session_id: str) -> None:
        """Forget a conversation. Deleting an unknown one does nothing."""
        self._stored.pop(session_id, None)

    async def cleanup(self) -> int:
        """Remove conversations that have expired; return how many."""
        now = time.monotonic()
        expired = [session_id for session_id, stored in self._stored.items() if stored[1] <= now]
        for session_id in expired:
            del self._stored[session_id]
        return len(expired)
