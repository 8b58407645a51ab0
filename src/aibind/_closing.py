"""Closing the iterators of models and sources."""

from __future__ import annotations

import logging

from ._logging import log_fields
from ._time import timeout

__all__ = ["close_iterator"]

CLOSE_S = 5.0
"""Seconds to wait for an iterator to close before abandoning it."""

logger = logging.getLogger("aibind")


async def close_iterator(iterator: object) -> None:
    """Close an iterator if it has ``aclose()``, within 5 s; log a failure, since what it yielded stays valid."""
    close = getattr(iterator, "aclose", None)
    if close is None:
        return
    try:
        async with timeout(CLOSE_S):
            await close()
    except Exception as error:
        logger.warning(
            "%s did not close properly",
            type(iterator).__name__,
            exc_info=error,
            extra=log_fields("iterator.not_closed"),
        )
