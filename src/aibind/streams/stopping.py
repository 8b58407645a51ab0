"""Stopping a stream that another process produces."""

from __future__ import annotations

import asyncio

from .._retry import retry
from .._time import sleep
from ..errors import StreamNotFoundError
from .store import Pace, StreamEnd, StreamStore

__all__ = ["stop_elsewhere"]

LOCAL_PATIENCE_S = 3.0
REMOTE_PATIENCE_S = 6.0
"""Seconds that a producer may take to end its stream: several times what it takes to notice."""

LOOK_PACE = Pace(20, 500)
"""Times between two looks at the stream: a producer that writes notices at its next write."""


async def stop_elsewhere(store: StreamStore, stream_id: str) -> StreamEnd:
    """Ask a stream's producer to stop, wait until it has, and return how the stream ended.

    A stream whose producer does not end it in time is stopped without it. Raises StreamNotFoundError when the stream is
    unknown or has expired, and the store's errors.
    """
    patience_s = REMOTE_PATIENCE_S if store.flush_pace.max_interval_ms else LOCAL_PATIENCE_S
    loop = asyncio.get_running_loop()
    began = loop.time()
    end = await retry(lambda: store.request_stop(stream_id), patience_s=patience_s)
    while end is None:
        waited_s = loop.time() - began
        if waited_s > patience_s:
            return await retry(lambda: store.finish(stream_id, StreamEnd("stopped")), patience_s=patience_s)
        await sleep(LOOK_PACE.delay_s(10 * waited_s))
        status = await retry(lambda: store.get_status(stream_id), patience_s=patience_s)
        if status is None:
            raise StreamNotFoundError(stream_id)
        end = status.end
    return end
