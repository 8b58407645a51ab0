"""Conversations in Workers KV."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary

from .._time import sleep
from ..conversations.codec import decode_chat, encode_chat
from ..errors import (
    AibindError,
    ConversationConflictError,
    ConversationError,
    ConversationTooLargeError,
    OverloadedError,
    TransientError,
)
from ..history import ChatHistory
from . import ffi
from .attempts import attempt

__all__ = ["KVConversationStore"]

_T = TypeVar("_T")

MIN_TTL_SEC: Final = 60
MAX_TTL_SEC: Final = 2**31 - 1
MAX_KEY_BYTES: Final = 512
MAX_VALUE_BYTES: Final = 25 * 1024 * 1024

CACHE_TTL_SEC: Final = 30
"""Seconds that a location may answer from its cache: the minimum that KV accepts."""

RATE_WAIT_S: Final = 1.0
"""Seconds to wait after a 429: KV accepts one write a second for each key."""

MAX_VERIFY_S: Final = 60
MAX_TRIES: Final = 8
MAX_BACKOFF_S: Final = 2.0


class Version(NamedTuple):
    """A stored value, recognised by the length and the hash of its text."""

    session_id: str
    size: int
    hash: int


class KVConversationStore:
    """A conversation store in a KV namespace, ``env.CONVERSATIONS``, raw or as the SDK wraps it.

    The key is ``{prefix}:{session_id}``, the value the JSON that JavaScript writes too. KV removes a conversation
    ``ttl_sec`` seconds (at least 60) after its last save; None keeps conversations without a limit.

    KV has no compare-and-set, so a save reads first, merges what others have saved since the chat was loaded, and reads
    again ``verify_s`` seconds after it wrote (at most 60; None: not at all). When another save has overwritten it by
    then, both are merged and written again. KV is eventually consistent: a save may take a minute to become visible
    elsewhere, and for as long writers in different places can overwrite each other unnoticed. Where that matters, use
    a store on D1.

    KV accepts one write a second for each key: a save that comes sooner waits. Transient failures are retried for
    ``patience_s`` seconds; then TransientError, or OverloadedError, is raised.

    Raises ValueError for a ``ttl_sec`` that KV does not accept and for a ``verify_s`` out of bounds, RuntimeError
    outside a Worker, and TypeError for anything but a KV namespace.
    """

    def __init__(
        self,
        kv: object,
        *,
        prefix: str = "aibind:conv",
        ttl_sec: int | None = 1800,
        verify_s: float | None = 0.25,
        patience_s: float = 10.0,
    ) -> None:
        if ttl_sec is not None and not MIN_TTL_SEC <= ttl_sec <= MAX_TTL_SEC:
            raise ValueError(
                f"ttl_sec is {ttl_sec}: give at least {MIN_TTL_SEC} seconds and at most {MAX_TTL_SEC:,}, "
                "or None for no limit"
            )
        if verify_s is not None and not 0 <= verify_s <= MAX_VERIFY_S:
            raise ValueError(f"verify_s is {verify_s}: give 0 to {MAX_VERIFY_S} seconds, or None not to verify")
        self._kv = ffi.unwrap(kv, method="getWithMetadata", what="KVConversationStore")  # other bindings have put()
        self._prefix = prefix
        self._ttl_sec = None if ttl_sec is None else int(ttl_sec)
        self._verify_s = verify_s
        self._patience_s = patience_s
        self._versions: WeakKeyDictionary[ChatHistory, Version] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<KVConversationStore prefix={self._prefix!r} ttl_sec={self._ttl_sec}>"

    async def load(self, session_id: str, *, limit: int | None = None, leaf_id: str | None = None) -> ChatHistory:
        """Return a conversation; an empty one when the session is unknown or has expired.

        It is always all of it, since it is kept in one piece. Raises CorruptConversationError when the value is not a
        conversation; it is left as it is.
        """
        del limit, leaf_id
        text = await self._call(session_id, partial(self._get, self._key(session_id)))
        if text is None:
            return ChatHistory()
        chat = self._decode(session_id, text)
        self._versions[chat] = _version(session_id, text)
        return chat

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store the whole conversation and restart its time to live; merge it with what others saved meanwhile.

        After a conflict ``chat`` itself holds the turns of both sides, with its own path as the current one. The same
        happens to a chat that was not loaded from this store. Without a conflict, a save is a read, a write and, after
        ``verify_s`` seconds, another read.

        Raises ConversationTooLargeError when it has more than 25 MiB, MalformedTreeError when a message differs between
        the two sides, CorruptConversationError when what is stored cannot be read (what was stored stays), and
        ConversationConflictError when others keep overwriting it.
        """
        key = self._key(session_id)
        text = self._encode(session_id, chat)  # before KV is called: what it would refuse never reaches it
        known = self._versions.get(chat)
        if known is not None and known.session_id != session_id:
            known = None
        replaced: set[Version | None] = set()
        for number in range(MAX_TRIES):
            before, text = await self._call(session_id, partial(self._write, session_id, key, chat, text, known))
            replaced.add(before)
            self._versions[chat] = written = _version(session_id, text)
            if self._verify_s is None:
                return
            await sleep(self._verify_s)
            stored = await self._call(session_id, partial(self._get, key))
            if stored is None:
                return  # deleted meanwhile, or a cache that does not know the value yet
            known = _version(session_id, stored)
            # A value that was there before is a cache's. To write again because of it could drop what it does not show.
            if known == written or known in replaced:
                return
            theirs = self._decode(session_id, stored)
            is_complete = theirs.merge(chat) == 0
            chat.merge(theirs)
            self._versions[chat] = known
            if is_complete:
                return  # another save took ours in
            text = self._encode(session_id, chat)
            from random import random  # Workers refuse random numbers while modules are loaded

            # Spread, so that writers who found each other do not collide again.
            await sleep(random() * min(self._verify_s * 2**number, MAX_BACKOFF_S))
        raise ConversationConflictError(
            f'Conversation "{session_id}" was overwritten by others at every attempt: save it again', session_id
        )

    async def delete(self, session_id: str) -> None:
        """Delete a conversation. Deleting an unknown one does nothing."""
        await self._call(session_id, partial(ffi.settle, self._kv, "delete", self._key(session_id)))

    async def _get(self, key: str) -> str | None:
        options = ffi.to_js_object({"type": "text", "cacheTtl": CACHE_TTL_SEC})
        text = await ffi.settle(self._kv, "get", key, options)
        return None if ffi.is_nothing(text) else cast("str", text)

    async def _write(
        self, session_id: str, key: str, chat: ChatHistory, text: str, known: Version | None
    ) -> tuple[Version | None, str]:
        """Merge what is stored, unless it is ``known``, and write; return what was stored before, and what is now.

        A retry reads again, since others may have saved while it waited.
        """
        stored = await self._get(key)
        before = None if stored is None else _version(session_id, stored)
        if stored is not None and before != known and chat.merge(self._decode(session_id, stored)):
            text = self._encode(session_id, chat)
        options = {} if self._ttl_sec is None else {"expirationTtl": self._ttl_sec}
        await ffi.settle(self._kv, "put", key, text, ffi.to_js_object(options))
        return before, text

    async def _call(self, session_id: str, operation: Callable[[], Awaitable[_T]]) -> _T:
        # Everything here is safe to repeat: reads, deletions, and writes of a whole value that was just merged.
        return await attempt(operation, partial(map_error, session_id=session_id), patience_s=self._patience_s)

    def _encode(self, session_id: str, chat: ChatHistory) -> str:
        return encode_chat(session_id, chat, MAX_VALUE_BYTES, holder="a KV value")

    def _decode(self, session_id: str, text: str) -> ChatHistory:
        return decode_chat(session_id, text, place=f'KV key "{self._key(session_id)}"')

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


def _version(session_id: str, text: str) -> Version:
    return Version(session_id, len(text), hash(text))
