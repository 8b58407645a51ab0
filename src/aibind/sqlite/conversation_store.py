"""Conversations in SQLite, one row each (contract, section 7)."""

from __future__ import annotations

import json
from typing import Final, Literal, NamedTuple
from weakref import WeakKeyDictionary

from .._time import earliest_ms, latest_ms, sleep
from ..conversations.codec import decode_chat, encode_chat
from ..errors import ConversationConflictError
from ..history import ChatHistory
from .client import SqliteClient, SqliteRow, SqliteValue, WatchableSqliteClient
from .schema import CONVERSATIONS_TABLE, quote_identifier

__all__ = ["SqliteConversationStore"]

_REMOTE_MAX_BYTES: Final = 2_000_000  # the size of a row on D1
_SWEEP_SESSIONS: Final = 500

_NEVER_MS: Final = 253_402_300_799_999
"""The end of the year 9999, in milliseconds: the column is NOT NULL, and JavaScript reads this as a number."""

_MAX_TRIES: Final = 20
_FIRST_WAIT_S: Final = 0.02
_MAX_WAIT_S: Final = 1.0

_MAX_STEP_MS: Final = 1000
"""Milliseconds by which a stored expiry may be later and still be raised; beyond that the time to live is shorter."""

# JavaScript writers replace the row blindly, with a time that may equal the stored one or be lower. So a version is
# the time, the length and the end of the JSON, which holds the ids of the roots and of the active leaf: every turn
# changes the leaf. Comparing all of the data would send it twice.
_VERSION: Final = "expires_at, length(data) AS size, substr(data, -200) AS tail"


class _Version(NamedTuple):
    session_id: str
    expires_at: SqliteValue
    size: SqliteValue
    tail: SqliteValue


class SqliteConversationStore:
    """A conversation store in the table ``aibind_conversations``, or another with the same columns.

    ``ttl_ms`` is the time to live after the last save, in milliseconds; None keeps conversations without a limit.
    ``max_bytes`` is the size above which a conversation is refused, and None is no limit; the default is no limit on a
    local file and 2,000,000, the size of a row on D1, on any other database.

    A save is a compare-and-set: when another writer saved since the chat was loaded, both sides are merged. A writer in
    JavaScript replaces the row without comparing, so it can still drop turns that it did not load.

    Raises ValueError for an invalid table name and for limits that are not positive. Every method also raises the
    ``Sqlite…`` errors of its client.
    """

    def __init__(
        self,
        client: SqliteClient,
        *,
        table: str = CONVERSATIONS_TABLE,
        ttl_ms: int | None = 1_800_000,
        max_bytes: int | Literal["auto"] | None = "auto",
    ) -> None:
        if ttl_ms is not None and not ttl_ms > 0:
            raise ValueError(f"ttl_ms must be positive, or None for no limit, not {ttl_ms}")
        if max_bytes == "auto":
            max_bytes = None if isinstance(client, WatchableSqliteClient) else _REMOTE_MAX_BYTES
        if max_bytes is not None and not max_bytes > 0:
            raise ValueError(f"max_bytes must be positive, or None for no limit, not {max_bytes}")
        self._client = client
        self._ttl_ms = ttl_ms
        self._max_bytes = max_bytes
        self._table = table
        self._versions: WeakKeyDictionary[ChatHistory, _Version] = WeakKeyDictionary()
        name = quote_identifier(table)
        self._select = f"SELECT data, {_VERSION} FROM {name} WHERE session_id = ?"
        self._load = f"{self._select} AND expires_at > ?"
        self._insert = (
            f"INSERT INTO {name} (session_id, data, expires_at) VALUES (?, ?, ?) "
            f"ON CONFLICT (session_id) DO NOTHING RETURNING {_VERSION}"
        )
        self._update = (
            f"UPDATE {name} SET data = ?, expires_at = ? WHERE session_id = ? "
            f"AND expires_at = ? AND length(data) = ? AND substr(data, -200) = ? RETURNING {_VERSION}"
        )
        self._remove = f"DELETE FROM {name} WHERE session_id = ?"
        expired = f"SELECT session_id FROM {name} WHERE expires_at <= ?"
        page = f"ORDER BY session_id LIMIT {_SWEEP_SESSIONS}"
        self._first_expired = f"{expired} {page}"
        self._next_expired = f"{expired} AND session_id > ? {page}"
        self._remove_expired = (
            f"DELETE FROM {name} WHERE session_id IN (SELECT value FROM json_each(?)) AND expires_at <= ? RETURNING 1"
        )

    def __repr__(self) -> str:
        return f"<SqliteConversationStore table={self._table!r} client={self._client!r}>"

    async def load(self, session_id: str, *, limit: int | None = None, leaf_id: str | None = None) -> ChatHistory:
        """Return the conversation of a session; an empty one when the session is unknown or has expired.

        It is always all of it, since it is kept in one piece.

        Raises CorruptConversationError when the row does not hold a conversation; the row is left unchanged.
        """
        del limit, leaf_id
        found = (await self._client.execute(self._load, (session_id, earliest_ms()))).rows
        if not found:
            return ChatHistory()
        chat = self._decode(session_id, found[0])
        self._versions[chat] = _version(session_id, found[0])
        return chat

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store the whole conversation and restart its time to live; merge it with what others saved meanwhile.

        Without a conflict this is one statement. After one, ``chat`` itself holds the turns of both sides, with its own
        path as the current one. The same happens to a chat that was not loaded from this store. An expired conversation
        reads as absent until it is swept; a save before that merges with it.

        Raises ConversationTooLargeError when it has more than ``max_bytes``, MalformedTreeError when a message differs
        between the two sides, CorruptConversationError when what is stored cannot be read, and
        ConversationConflictError when others keep saving first. The stored version is kept then.
        """
        version = self._versions.get(chat)
        if version is not None and version.session_id != session_id:
            version = None
        for number in range(_MAX_TRIES):
            text = encode_chat(session_id, chat, self._max_bytes)
            expires_at = self._next_expiry(version)
            if version is None:
                result = await self._client.execute(self._insert, (session_id, text, expires_at))
            else:
                result = await self._client.execute(
                    self._update, (text, expires_at, session_id, version.expires_at, version.size, version.tail)
                )
            if result.rows:
                self._versions[chat] = _version(session_id, result.rows[0])
                return
            from random import random  # Workers refuse random numbers while modules are loaded

            # Before the read: time between a read and its write is time for others to save first.
            await sleep(random() * min(_FIRST_WAIT_S * 2**number, _MAX_WAIT_S))
            rows = (await self._client.execute(self._select, (session_id,))).rows
            version = None
            if rows:
                chat.merge(self._decode(session_id, rows[0]))
                version = _version(session_id, rows[0])
        raise ConversationConflictError(
            f'Conversation "{session_id}" was saved by others at every attempt. Nothing was written: save it again',
            session_id,
        )

    def _next_expiry(self, version: _Version | None) -> int:
        expires_at = _NEVER_MS if self._ttl_ms is None else latest_ms() + self._ttl_ms
        if version is None or not isinstance(version.expires_at, int | float):
            return expires_at
        stored = int(version.expires_at)
        # A shorter time to live applies; only a save within the same moment, or by a clock that is behind, steps up.
        if self._ttl_ms is None or stored - expires_at <= _MAX_STEP_MS:
            return max(expires_at, stored + 1)
        return expires_at

    def _decode(self, session_id: str, row: SqliteRow) -> ChatHistory:
        return decode_chat(session_id, row["data"], place=f'table "{self._table}"')

    async def delete(self, session_id: str) -> None:
        """Delete a conversation; an unknown one is not an error."""
        await self._client.execute(self._remove, (session_id,))

    async def cleanup(self) -> int:
        """Remove expired conversations, and return their number.

        The search reads the whole table, so it runs outside any transaction; a conversation saved meanwhile is kept.
        """
        now = earliest_ms()
        removed = 0
        rows = (await self._client.execute(self._first_expired, (now,))).rows
        while rows:
            found = [row["session_id"] for row in rows if isinstance(row["session_id"], str)]
            result = await self._client.execute(self._remove_expired, (json.dumps(found), now))
            removed += len(result.rows)
            if len(rows) < _SWEEP_SESSIONS:
                break
            rows = (await self._client.execute(self._next_expired, (now, rows[-1]["session_id"]))).rows
        return removed


def _version(session_id: str, row: SqliteRow) -> _Version:
    return _Version(session_id, row["expires_at"], row["size"], row["tail"])
