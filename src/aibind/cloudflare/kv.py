"""Conversations in Workers KV."""

from __future__ import annotations

import re
from functools import partial

from ..conversations.codec import decode_chat, encode_chat
from ..errors import AibindError, ConversationError, ConversationTooLargeError, OverloadedError, TransientError
from ..history import ChatHistory
from . import ffi
from .attempts import attempt

__all__ = ["KVConversationStore"]

MIN_TTL_SEC = 60
MAX_TTL_SEC = 2**31 - 1
MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 25 * 1024 * 1024

CACHE_TTL_SEC = 30
"""Seconds that a location may answer from its cache: the minimum that KV accepts."""

RATE_WAIT_S = 1.0
"""Seconds to wait after a 429: KV accepts one write a second for each key."""


class KVConversationStore:
    """A conversation store in a KV namespace, ``env.CONVERSATIONS``, raw or as the SDK wraps it.

    The key is ``{prefix}:{session_id}``, the value the JSON that JavaScript writes too. KV removes a conversation
    ``ttl_sec`` seconds (at least 60) after its last save, so there is nothing to clean up.

    KV is eventually consistent: a save may take a minute to become visible elsewhere, a session that was unknown a
    moment ago may stay unknown for as long, and the last save wins. That suits one reader in one place; where several
    write at once, use SqliteConversationStore on D1. KV accepts one write a second for each key: a save that comes
    sooner waits. Transient failures are retried for ``patience_s`` seconds; then TransientError, or OverloadedError, is
    raised.

    Raises ValueError for a ``ttl_sec`` that KV does not accept, RuntimeError outside a Worker, and TypeError for
    anything but a KV namespace.
    """

    def __init__(
        self, kv: object, *, prefix: str = "aibind:conv", ttl_sec: int = 1800, patience_s: float = 10.0
    ) -> None:
        if not MIN_TTL_SEC <= ttl_sec <= MAX_TTL_SEC:
            raise ValueError(f"ttl_sec is {ttl_sec}: give at least {MIN_TTL_SEC} seconds, and at most {MAX_TTL_SEC:,}")
        self._kv = ffi.unwrap(kv, method="getWithMetadata", what="KVConversationStore")  # other bindings have put()
        self._prefix = prefix
        self._ttl_sec = int(ttl_sec)
        self._patience_s = patience_s

    def __repr__(self) -> str:
        return f"<KVConversationStore prefix={self._prefix!r} ttl_sec={self._ttl_sec}>"

    async def load(self, session_id: str, *, limit: int | None = None, leaf_id: str | None = None) -> ChatHistory:
        """Return a conversation; an empty one when the session is unknown or has expired.

        It is always all of it, since it is kept in one piece. Raises CorruptConversationError when the value is not a
        conversation; it is left as it is.
        """
        del limit, leaf_id
        key = self._key(session_id)
        text = await self._call(session_id, "get", key, ffi.to_js_object({"type": "text", "cacheTtl": CACHE_TTL_SEC}))
        return ChatHistory() if ffi.is_nothing(text) else decode_chat(session_id, text, place=f'KV key "{key}"')

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store the whole conversation and restart its time to live.

        Raises ConversationTooLargeError when it has more than 25 MiB; what was stored stays.
        """
        key = self._key(session_id)
        text = encode_chat(session_id, chat, MAX_VALUE_BYTES, holder="a KV value")
        await self._call(session_id, "put", key, text, ffi.to_js_object({"expirationTtl": self._ttl_sec}))

    async def delete(self, session_id: str) -> None:
        """Delete a conversation. Deleting an unknown one does nothing."""
        await self._call(session_id, "delete", self._key(session_id))

    async def _call(self, session_id: str, method: str, *arguments: object) -> object:
        # Everything here is safe to repeat: reads, and writes of a whole value.
        return await attempt(
            partial(ffi.settle, self._kv, method, *arguments),
            partial(map_error, session_id=session_id),
            patience_s=self._patience_s,
        )

    def _key(self, session_id: str) -> str:
        key = f"{self._prefix}:{session_id}"
        try:
            size = len(key.encode())
        except UnicodeEncodeError as error:
            raise ConversationError(
                f"Session id {session_id!r} holds a lone surrogate (half of a character), which a KV key cannot hold: "
                "use another id",
                session_id,
            ) from error
        if size > MAX_KEY_BYTES:
            raise ConversationError(
                f'The KV key "{key[:40]}…" has {size} bytes, but a KV key holds at most {MAX_KEY_BYTES}: '
                "use shorter session ids, or a shorter prefix",
                session_id,
            )
        return key


def map_error(text: str, session_id: str) -> AibindError:
    """Return the error for what KV said, as in ``KV PUT failed: 429 Too Many Requests``."""
    found = re.search(r"failed: (\d{3})\b", text)
    status = int(found[1]) if found else 0
    if status == 429:
        overloaded = OverloadedError(f"{text} (KV accepts one write a second for each key)")
        overloaded.retry_after_s = RATE_WAIT_S
        return overloaded
    if status >= 500 or re.search(r"network connection lost|internal error|timed? ?out", text, re.IGNORECASE):
        return TransientError(text)
    if status == 413:
        return ConversationTooLargeError(text, session_id)
    return ConversationError(text, session_id)
