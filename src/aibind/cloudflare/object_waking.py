"""The streams that an object was producing when it was evicted or crashed: they have lost their producer."""

from __future__ import annotations

import logging

from .._logging import log_fields
from ..server import StreamHandler
from .object_store import ObjectStore

__all__ = ["settle_orphans"]

logger = logging.getLogger("aibind")


async def settle_orphans(store: ObjectStore, handler: StreamHandler) -> int:
    """Go on with the streams that the object was producing when it was evicted or crashed, or end them.

    Call it once, before the object begins a stream; it returns how many were ended. The object's streams have no other
    producer, so that each active one is an orphan at once: there is no lease to wait for.
    """
    ended = 0
    for orphan in await store.active_streams():
        if await handler.continue_reply(orphan.stream_id, lease=orphan.lease):
            continue
        logger.warning(
            "Stream %s was cut off with its object",
            orphan.stream_id,
            extra=log_fields("stream.orphaned", stream_id=orphan.stream_id),
        )
        await store.streams.give_up(orphan.stream_id, lease=orphan.lease)
        ended += 1
    return ended
