"""The harness that the checks of stream stores take."""

from __future__ import annotations

from typing import Protocol

from ..streams.store import StreamStore

__all__ = ["StreamStoreHarness"]


class StreamStoreHarness(Protocol):
    """A source of stream stores over one set of data, which is empty at first.

    ``records_sessions`` tells whether the stores record the session of a stream, its owner and the time.
    """

    records_sessions: bool

    async def open(self, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> StreamStore:
        """Return a new store object over the same data, as another process would have. A check opens several."""
        ...
