"""The streams and conversations in the SQLite of a Durable Object, and when something of them expires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from ..sqlite import SqliteClient, SqliteMessageStore, SqliteStreamStore, migrate
from .durable_object import wrap_durable_object
from .object_changes import Changes

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


class _ObservedStreamStore(SqliteStreamStore):
    """A stream store that notes its changes and the ids of new streams."""

    def __init__(self, client: SqliteClient, *, ttl_ms: int, changes: Changes) -> None:
        super().__init__(client, ttl_ms=ttl_ms)
        self._changes = changes
        self.created: list[str] = []

    async def create(self, stream_id: str, **known: str | None) -> None:
        """Begin a stream."""
        await super().create(stream_id, **known)
        self.created.append(stream_id)
        self._changes.note()

    def wake_readers(self, stream_id: str) -> None:
        """Let the readers of a stream look at once, those in Workers included."""
        super().wake_readers(stream_id)
        self._changes.note()


class ObjectStore:
    """The stores of one object, over its ``ctx.storage``, whose own streams have ids that begin with ``prefix``."""

    def __init__(self, storage: object, *, stream_ttl_ms: int, session_ttl_ms: int | None, prefix: str) -> None:
        self._prefix = prefix
        self.changes = Changes()
        self.client = wrap_durable_object(storage)
        self._streams = _ObservedStreamStore(self.client, ttl_ms=stream_ttl_ms, changes=self.changes)
        self.conversations = SqliteMessageStore(self.client, ttl_ms=session_ttl_ms)

    @property
    def streams(self) -> SqliteStreamStore:
        """The stream store, whose changes are noted."""
        return self._streams

    def take_created(self) -> list[str]:
        """Return the ids of the streams that were created since the last call."""
        created, self._streams.created = self._streams.created, []
        return created

    async def migrate(self) -> None:
        """Create the tables, or bring them to this version: one small read where that was done."""
        await migrate(self.client)

    async def active_streams(self) -> Sequence[ActiveStream]:
        """Return the object's own streams that have not ended; those that Workers produce are not among them."""
        rows = (await self.client.execute(_ACTIVE)).rows
        found = [ActiveStream(cast("str", row["id"]), cast("int", row["expires_at"])) for row in rows]
        return [one for one in found if one.stream_id.startswith(self._prefix)]

    async def next_due(self) -> int | None:
        """Return when a lease or a time to live ends next, in milliseconds since the epoch; None without any."""
        return cast("int | None", (await self.client.execute(_NEXT)).rows[0]["due"])

    async def is_empty(self) -> bool:
        """Return whether there is no stream and no conversation."""
        return not (await self.client.execute(_ANYTHING)).rows[0]["is_anything_there"]
