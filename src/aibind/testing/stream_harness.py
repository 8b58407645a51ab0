"""What a stream store's checks are given."""

from __future__ import annotations

from typing import Protocol

from ..streams.store import StreamStore

__all__ = ["StreamStoreHarness"]


class StreamStoreHarness(Protocol):
    """Makes stores over one set of data, which begins empty."""

    async def open(self, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> StreamStore:
        """Make a store. Each call makes a new object over the same data, as another process would have."""
        ...
