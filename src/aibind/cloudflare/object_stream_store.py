"""The streams in a Durable Object as a StreamStore, from a Worker."""

from __future__ import annotations

import asyncio

from ..sqlite import SqliteStreamStore
from ..streams.polling import PagePoller
from ..streams.store import StreamPage
from .object_client import ObjectSqliteClient

__all__ = ["DurableObjectStreamStore"]

MAX_WAIT_S = 10.0
"""Seconds of one wait in the object: it stays awake for a reader that has gone for no longer."""


class DurableObjectStreamStore(SqliteStreamStore):
    """Streams in the SQLite of one object, whose class derives from :class:`DurableStreamObject`, for any Worker.

    ``namespace`` is the binding of the class, and ``name`` that of the object. Producers may be anywhere: in Workers,
    over this store, and in the object. An operation is one remote call. Readers wait in the object for the next change,
    and poll nothing. ``ttl_ms`` and ``lease_ms`` are as in :class:`~aibind.sqlite.SqliteStreamStore`. ``patience_s`` is
    how long, in seconds, a call is repeated that fails and is safe to repeat.

    To run models in objects and to reach each conversation's own, use :class:`ObjectRouter`. The ids of streams that
    Workers produce must not begin with the object's name and a dot, which tells the object's own streams.

    Raises RuntimeError outside a Worker, and TypeError for anything but a namespace of objects.
    """

    def __init__(
        self,
        namespace: object,
        name: str = "streams",
        *,
        ttl_ms: int = 300_000,
        lease_ms: int = 30_000,
        patience_s: float = 5.0,
    ) -> None:
        self._object = ObjectSqliteClient(namespace, name, patience_s=patience_s, what=type(self).__name__)
        super().__init__(self._object, ttl_ms=ttl_ms, lease_ms=lease_ms)

    def __repr__(self) -> str:
        return f"<DurableObjectStreamStore {self._object.name!r}>"

    def make_poller(self, stream_id: str, wakeup: asyncio.Event) -> PagePoller:
        """Return how one reader polls: once the object tells it of a change."""
        return _WokenPoller(super().make_poller(stream_id, wakeup), self._object)


class _WokenPoller:
    def __init__(self, poller: PagePoller, client: ObjectSqliteClient) -> None:
        self._poller = poller
        self._client = client
        self._version = 0

    async def read_page(self, after_seq: int) -> StreamPage:
        self._version = self._client.version  # before the read, so that no change is missed
        return await self._poller.read_page(after_seq)

    async def wait(self, timeout_s: float, *, progressed: bool) -> None:  # noqa: ARG002
        await self._client.wait_for_change(self._version, min(timeout_s, MAX_WAIT_S))
