"""Conversations in this process's memory: for tests, and where losing them at a restart is fine."""

from __future__ import annotations

import time

from ..history import ChatHistory
from .codec import decode_chat, encode_chat

__all__ = ["MemoryConversationStore"]


class MemoryConversationStore:
    """A conversation store in memory. It keeps the text that other stores would write, so every load is a copy.

    ``ttl_ms`` is the time to live after the last save, in milliseconds. Saving removes expired conversations once
    every ``ttl_ms``. Raises ValueError when ``ttl_ms`` is not positive.
    """

    def __init__(self, *, ttl_ms: int = 1_800_000) -> None:
        if not ttl_ms > 0:
            raise ValueError(f"ttl_ms is {ttl_ms}: give a positive number of milliseconds")
        self._ttl_s = ttl_ms / 1000
        self._stored: dict[str, tuple[str, float]] = {}
        self._next_sweep = time.monotonic() + self._ttl_s

    def __repr__(self) -> str:
        return f"<MemoryConversationStore conversations={len(self._stored)} ttl_ms={self._ttl_s * 1000:g}>"

    async def load(self, session_id: str, *, limit: int | None = None, leaf_id: str | None = None) -> ChatHistory:
        """Return a conversation, always all of it; an empty one when the session is unknown or has expired."""
        del limit, leaf_id
        stored = self._stored.get(session_id)
        if stored is None or stored[1] <= time.monotonic():
            return ChatHistory()
        return decode_chat(session_id, stored[0], place="memory")

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store the whole conversation, replacing what was stored, and restart its time to live."""
        now = time.monotonic()
        self._stored[session_id] = (encode_chat(session_id, chat), now + self._ttl_s)
        if now >= self._next_sweep:
            self._next_sweep = now + self._ttl_s
            await self.cleanup()

    async def delete(self, session_id: str) -> None:
        """Delete a conversation. Deleting an unknown one does nothing."""
        self._stored.pop(session_id, None)

    async def cleanup(self) -> int:
        """Remove the conversations that have expired and return their number."""
        now = time.monotonic()
        expired = [session_id for session_id, stored in self._stored.items() if stored[1] <= now]
        for session_id in expired:
            del self._stored[session_id]
        return len(expired)
