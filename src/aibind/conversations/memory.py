"""Conversations in this process's memory: for tests, and where losing them at a restart is fine."""

from __future__ import annotations

import math
import time
from typing import NamedTuple
from weakref import WeakKeyDictionary

from ..history import ChatHistory
from .codec import decode_chat, encode_chat

__all__ = ["MemoryConversationStore"]


class _Stored(NamedTuple):
    text: str
    expires_at: float
    version: object
    """A value that no other save has."""


class _Version(NamedTuple):
    session_id: str
    version: object


class MemoryConversationStore:
    """A conversation store in memory. It keeps the text that other stores would write, so every load is a copy.

    ``ttl_ms`` is the time to live after the last save, in milliseconds; None keeps conversations without a limit.
    Saving removes expired conversations once every ``ttl_ms``. When a chat was saved since another was loaded, saving
    the other merges both sides. Raises ValueError when ``ttl_ms`` is not positive.
    """

    def __init__(self, *, ttl_ms: int | None = 1_800_000) -> None:
        if ttl_ms is not None and not ttl_ms > 0:
            raise ValueError(f"ttl_ms is {ttl_ms}: give a positive number of milliseconds, or None for no limit")
        self._ttl_ms = ttl_ms
        self._ttl_s = math.inf if ttl_ms is None else ttl_ms / 1000
        self._stored: dict[str, _Stored] = {}
        self._versions: WeakKeyDictionary[ChatHistory, _Version] = WeakKeyDictionary()
        self._next_sweep = time.monotonic() + self._ttl_s

    def __repr__(self) -> str:
        return f"<MemoryConversationStore conversations={len(self._stored)} ttl_ms={self._ttl_ms}>"

    async def load(self, session_id: str, *, limit: int | None = None, leaf_id: str | None = None) -> ChatHistory:
        """Return a conversation, always all of it; an empty one when the session is unknown or has expired."""
        del limit, leaf_id
        stored = self._find(session_id)
        if stored is None:
            return ChatHistory()
        chat = decode_chat(session_id, stored.text, place="memory")
        self._versions[chat] = _Version(session_id, stored.version)
        return chat

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store the whole conversation and restart its time to live; merge it with what others saved meanwhile.

        After a conflict ``chat`` itself holds the turns of both sides, with its own path as the current one. The same
        happens to a chat that was not loaded from this store.

        Raises MalformedTreeError when a message differs between the two sides, and CorruptConversationError when what
        is stored cannot be read. What was stored stays then.
        """
        now = time.monotonic()
        stored = self._find(session_id)
        if stored is not None and self._versions.get(chat) != (session_id, stored.version):
            chat.merge(decode_chat(session_id, stored.text, place="memory"))
        version = object()
        self._stored[session_id] = _Stored(encode_chat(session_id, chat), now + self._ttl_s, version)
        self._versions[chat] = _Version(session_id, version)
        if now >= self._next_sweep:
            self._next_sweep = now + self._ttl_s
            await self.cleanup()

    async def delete(self, session_id: str) -> None:
        """Delete a conversation. Deleting an unknown one does nothing."""
        self._stored.pop(session_id, None)

    async def cleanup(self) -> int:
        """Remove the conversations that have expired and return their number."""
        now = time.monotonic()
        expired = [session_id for session_id, stored in self._stored.items() if stored.expires_at <= now]
        for session_id in expired:
            del self._stored[session_id]
        return len(expired)

    def _find(self, session_id: str) -> _Stored | None:
        stored = self._stored.get(session_id)
        return None if stored is None or stored.expires_at <= time.monotonic() else stored
