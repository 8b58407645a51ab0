"""The streams that an object was producing when it was evicted or crashed: they have lost their producer."""

from __future__ import annotations

import logging

from .._logging import log_fields
from .object_store import ObjectStore

__all__ = ["end_orphans"]

logger = logging.getLogger("aibind")


async def end_orphans(store: ObjectStore) -> int:
    """End the streams that the object was producing when it was evicted or crashed, and return how many.

    Call it once, before the object begins a stream. Its streams have no other producer, so that each active one is an
    orphan at once: there is no lease to wait for.
    """
    orphans = await store.active_streams()
    for orphan in orphans:
        logger.warning(
            "Stream %s was cut off with its object",
            orphan.stream_id,
            extra=log_fields("stream.orphaned", stream_id=orphan.stream_id),
        )
        await store.streams.give_up(orphan.stream_id, lease=orphan.lease)
    return len(orphans)
