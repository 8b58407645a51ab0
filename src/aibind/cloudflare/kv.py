"""Conversations in Workers KV (contract §7)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .._retry import retry
from ..errors import (
    AibindError,
    ConversationError,
    ConversationTooLargeError,
    CorruptConversationError,
    HistoryError,
    OverloadedError,
    TransientError,
)
from ..history import ChatHistory
from . import ffi

__all__ = ["KVConversationStore"]

_T = TypeVar("_T")

MIN_TTL_SEC = 60
MAX_TTL_SEC = 2**31 - 1
MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 25 * 1024 * 1024

CACHE_TTL_SEC = 30
"""How long, in seconds, a place may answer from its cache: the least that KV takes."""

RATE_WAIT_S = 1.0
"""How long to wait when KV says 429: it takes one write a second for each key."""


class KVConversationStore:
    """Keeps conversations in a KV namespace, ``env.CONVERSATIONS``, raw or as the SDK wraps it.

    The key is ``{prefix}:{session_id}``, the value the JSON that JavaScript writes too. KV removes a conversation
    ``ttl_sec`` seconds (at least 60) after its last save, so there is nothing to clean up.

    KV is eventually consistent: a save may take a minute to show elsewhere, a session that was unknown a moment ago may
    stay so for as long, and the last save wins. That suits one reader in one place; where several write at once, use
    SqliteConversationStore on D1. Writes of one key are limited to one a second: a save that comes sooner waits. What
    fails for a moment is tried again for ``patience_s`` seconds; then TransientError, or OverloadedError, is raised.

    Raises ValueError for a ``ttl_sec`` that KV does not take, RuntimeError outside a Worker and TypeError for anything
    that is no KV namespace.
    """

    def __init__(
        self, kv: object, *, prefix: str = "aibind:conv", ttl_sec: int = 1800, patience_s: float = 10.0
    ) -> None:
        if not MIN_TTL_SEC <= ttl_sec <= MAX_TTL_SEC:
            raise ValueError(
                f"ttl_sec is {ttl_sec}: KV keeps a value for {MIN_TTL_SEC} seconds at least, {MAX_TTL_SEC:,} at most"
            )
        self._kv = ffi.unwrap(kv, method="getWithMetadata", what="KVConversationStore")  # other bindings have put()
        self._prefix = prefix
        self._ttl_sec = int(ttl_sec)
        self._patience_s = patience_s

    async def load(self, session_id: str) -> ChatHistory:
        """Load a conversation; an empty one when the session is unknown or has expired.

        Raises CorruptConversationError when the value is no conversation; it is left as it is.
        """
        key = self._key(session_id)

        async def get() -> object:
            return await ffi.settle(self._kv, "get", key, ffi.to_js_object({"type": "text", "cacheTtl": CACHE_TTL_SEC}))

        text = await self._insist(get, session_id)
        if ffi.is_nothing(text):
            return ChatHistory()
        try:
            return ChatHistory.from_json(str(text))
        except HistoryError as error:
            raise CorruptConversationError(
                f'The value of KV key "{key}" is not a conversation: {error}. '
                "It was left as it is: mend it, or delete the key to begin anew",
                session_id,
            ) from error

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store the whole conversation, and start its time to live anew.

        Raises ConversationTooLargeError when it has more than 25 MiB; what was stored stays.
        """
        key = self._key(session_id)
        text = chat.to_json()
        if len(text) * 4 > MAX_VALUE_BYTES and (size := len(text.encode("utf-8", "surrogatepass"))) > MAX_VALUE_BYTES:
            raise ConversationTooLargeError(
                f'Conversation "{session_id}" has {size:,} bytes, but KV holds {MAX_VALUE_BYTES:,} at most: '
                "compact() it, or begin a new one; nothing was written",
                session_id,
            )

        async def put() -> None:
            await ffi.settle(self._kv, "put", key, text, ffi.to_js_object({"expirationTtl": self._ttl_sec}))

        await self._insist(put, session_id)

    async def delete(self, session_id: str) -> None:
        """Forget a conversation. Deleting an unknown one does nothing."""
        key = self._key(session_id)

        async def delete() -> None:
            await ffi.settle(self._kv, "delete", key)

        await self._insist(delete, session_id)

    def _key(self, session_id: str) -> str:
        key = f"{self._prefix}:{session_id}"
        try:
            size = len(key.encode())
        except UnicodeEncodeError as error:
            raise ConversationError(
                f"Session id {session_id!r} holds a lone surrogate (half of a character), which a KV key cannot hold",
                session_id,
            ) from error
        if size > MAX_KEY_BYTES:
            raise ConversationError(
                f'The KV key "{key[:40]}…" has {size} bytes, but KV takes {MAX_KEY_BYTES} at most: '
                "use shorter session ids, or a shorter prefix",
                session_id,
            )
        return key

    async def _insist(self, operation: Callable[[], Awaitable[_T]], session_id: str) -> _T:
        """Do something that may be repeated: a read, or a write of the whole value."""

        async def attempt() -> _T:
            try:
                return await operation()
            except Exception as error:
                text = ffi.failure_of(error)
                if text is None:
                    raise
                raise map_error(text, session_id) from error

        return await retry(attempt, patience_s=self._patience_s)


def map_error(text: str, session_id: str) -> AibindError:
    """Make our error out of what KV said, as in ``KV PUT failed: 429 Too Many Requests``."""
    found = re.search(r"failed: (\d{3})\b", text)
    status = int(found[1]) if found else 0
    if status == 429:
        overloaded = OverloadedError(f"{text} (KV takes one write a second for each key)")
        overloaded.retry_after_s = RATE_WAIT_S
        return overloaded
    if status >= 500 or re.search(r"network connection lost|internal error|timed? ?out", text, re.IGNORECASE):
        return TransientError(text)
    if status == 413:
        return ConversationTooLargeError(text, session_id)
    return ConversationError(text, session_id)
