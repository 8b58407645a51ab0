"""Conversations in SQLite, one row each (contract, section 7)."""

from __future__ import annotations

import json
from typing import Final, Literal

from .._time import now_ms
from ..conversations.codec import decode_chat, encode_chat
from ..history import ChatHistory
from .client import SqliteClient, WatchableSqliteClient
from .schema import CONVERSATIONS_TABLE, quote_identifier

__all__ = ["SqliteConversationStore"]

_REMOTE_MAX_BYTES: Final = 2_000_000  # the size of a row on D1
_SWEEP_SESSIONS: Final = 500


class SqliteConversationStore:
    """A conversation store in the table ``aibind_conversations``, or another with the same columns.

    ``ttl_ms`` is the time to live after the last save, in milliseconds. ``max_bytes`` is the size above which a
    conversation is refused, and None is no limit; the default is no limit on a local file and 2,000,000, the size of a
    row on D1, on any other database. The last save wins.

    Raises ValueError for an invalid table name and for limits that are not positive. Every method also raises the
    ``Sqlite…`` errors of its client.
    """

    def __init__(
        self,
        client: SqliteClient,
        *,
        table: str = CONVERSATIONS_TABLE,
        ttl_ms: int = 1_800_000,
        max_bytes: int | Literal["auto"] | None = "auto",
    ) -> None:
        if not ttl_ms > 0:
            raise ValueError(f"ttl_ms must be positive, not {ttl_ms}")
        if max_bytes == "auto":
            max_bytes = None if isinstance(client, WatchableSqliteClient) else _REMOTE_MAX_BYTES
        if max_bytes is not None and not max_bytes > 0:
            raise ValueError(f"max_bytes must be positive, or None for no limit, not {max_bytes}")
        self._client = client
        self._ttl_ms = ttl_ms
        self._max_bytes = max_bytes
        self._table = table
        name = quote_identifier(table)
        self._select = f"SELECT data FROM {name} WHERE session_id = ? AND expires_at > ?"
        self._upsert = (
            f"INSERT INTO {name} (session_id, data, expires_at) VALUES (?, ?, ?) ON CONFLICT (session_id) "
            "DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at"
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

    async def load(self, session_id: str) -> ChatHistory:
        """Return the conversation of a session; an empty one when the session is unknown or has expired.

        Raises CorruptConversationError when the row does not hold a conversation; the row is left unchanged.
        """
        rows = (await self._client.execute(self._select, (session_id, now_ms()))).rows
        return decode_chat(session_id, rows[0]["data"], place=f'table "{self._table}"') if rows else ChatHistory()

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store the whole conversation in one statement and restart its time to live.

        Raises ConversationTooLargeError when it has more than ``max_bytes``; the stored version is kept then.
        """
        text = encode_chat(session_id, chat, self._max_bytes)
        await self._client.execute(self._upsert, (session_id, text, now_ms() + self._ttl_ms))

    async def delete(self, session_id: str) -> None:
        """Delete a conversation; an unknown one is not an error."""
        await self._client.execute(self._remove, (session_id,))

    async def cleanup(self) -> int:
        """Remove expired conversations, and return their number.

        The search reads the whole table, so it runs outside any transaction; a conversation saved meanwhile is kept.
        """
        now = now_ms()
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
