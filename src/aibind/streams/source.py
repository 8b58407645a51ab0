"""Sources of streams: checks that name a mistake, and the errors that readers may see."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterable, AsyncIterator

from .._kinds import kind_of
from .._logging import log_fields
from ..errors import AibindError, ModelError, SqliteError, TransientError
from .events import StreamEvent

__all__ = ["iterate", "message_for_readers", "wrong_item"]

FAILED = "The reply failed"
"""The error that readers see when a source raises an exception that is not meant for them."""

logger = logging.getLogger("aibind")


def iterate(source: AsyncIterable[StreamEvent | str]) -> AsyncIterator[StreamEvent | str]:
    """Return the source's iterator. Raises TypeError that names what was given when it has none."""
    if hasattr(source, "__aiter__"):
        return aiter(source)
    given: object = source
    hint = ""
    if inspect.iscoroutine(given):
        given.close()  # or Python warns that it was never awaited
        hint = ": await it first, or make it an async generator with yield"
    elif callable(given):
        hint = ": call it first"
    elif hasattr(given, "__iter__"):
        hint = ": make it an async generator"
    raise TypeError(
        f"source is {kind_of(given)}, but must be an async iterable of str or StreamEvent, such as an async "
        f"generator{hint}"
    )


def wrong_item(item: object) -> TypeError:
    """Return the error that names what a source yielded in place of text or an event."""
    return TypeError(
        f"The source yielded {type(item).__module__}.{type(item).__qualname__}, but must yield str or StreamEvent: "
        "convert it, for example to the text that it holds"
    )


def message_for_readers(error: Exception) -> str:
    """Return what a stream's readers may know of an error of its source; log what they may not."""
    if isinstance(error, ModelError):
        if error.for_clients != str(error):
            logger.warning("A model failed: %s", error, extra=log_fields("model.failed"))
        return error.for_clients
    if isinstance(error, AibindError) and not isinstance(error, SqliteError | TransientError):
        return str(error) or type(error).__name__
    logger.warning("The source of a stream failed: %s", error, exc_info=error, extra=log_fields("source.failed"))
    return FAILED
