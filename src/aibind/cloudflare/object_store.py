"""The streams and conversations in the SQLite of a Durable Object, and when something of them expires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from ..sqlite import SqliteMessageStore, SqliteStreamStore, migrate
from .durable_object import wrap_durable_object

__all__ = ["ActiveStream", "ObjectStore"]

_ACTIVE = "SELECT id, expires_at FROM aibind_stream_status WHERE state = 'active'"

_NEXT = """SELECT min(expires_at) AS due FROM (
  SELECT expires_at FROM aibind_stream_status UNION ALL
  SELECT expires_at FROM aibind_sessions WHERE expires_at IS NOT NULL)"""

_ANYTHING = (
    "SELECT EXISTS (SELECT 1 FROM aibind_stream_status) OR EXISTS (SELECT 1 FROM aibind_sessions) AS is_anything_there"
)


@dataclass(frozen=True, slots=True)
class ActiveStream:
    """A stream that has not ended, and the end of its producer's lease in milliseconds since the epoch."""

    stream_id: str
    lease: int


class ObjectStore:
    """The stores of one object, over its ``ctx.storage``."""

    def __init__(self, storage: object, *, stream_ttl_ms: int, session_ttl_ms: int | None) -> None:
        self._client = wrap_durable_object(storage)
        self.streams = SqliteStreamStore(self._client, ttl_ms=stream_ttl_ms)
        self.conversations = SqliteMessageStore(self._client, ttl_ms=session_ttl_ms)

    async def migrate(self) -> None:
        """Create the tables, or bring them to this version: one small read where that was done."""
        await migrate(self._client)

    async def active_streams(self) -> Sequence[ActiveStream]:
        """Return the streams that have not ended."""
        rows = (await self._client.execute(_ACTIVE)).rows
        return [ActiveStream(cast("str", row["id"]), cast("int", row["expires_at"])) for row in rows]

    async def next_due(self) -> int | None:
        """Return when a lease or a time to live ends next, in milliseconds since the epoch; None without any."""
        return cast("int | None", (await self._client.execute(_NEXT)).rows[0]["due"])

    async def is_empty(self) -> bool:
        """Return whether there is no stream and no conversation."""
        return not (await self._client.execute(_ANYTHING)).rows[0]["is_anything_there"]
