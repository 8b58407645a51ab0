"""A model's answer, ended where a handler's limits end it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from .._closing import close_iterator
from .._time import Timer, call_later
from ..errors import ModelError, ModelTimeoutError
from ..models.model import ReasoningDelta, TextDelta, ToolCall, ToolCallDelta
from .limits import Limits
from .reply_events import ReplyEvent

__all__ = ["bounded"]


async def bounded(events: AsyncGenerator[ReplyEvent], limits: Limits) -> AsyncGenerator[ReplyEvent]:
    """Yield the events of an answer up to the limits, and close it.

    Raises ModelError after ``reply_chars`` characters, and ModelTimeoutError after ``reply_s`` seconds.
    """
    left = limits.reply_chars
    called: set[str] = set()
    deadline = _Deadline(limits.reply_s)
    try:
        while (event := await deadline.next(events)) is not None:
            if left is None:
                yield event
                continue
            size = _size(event, called)
            if size > left:
                if left and isinstance(event, TextDelta | ReasoningDelta):
                    yield replace(event, text=event.text[:left])
                raise ModelError(
                    f"The reply was ended after {limits.reply_chars:,} characters, which is this server's limit "
                    "(reply_chars)"
                )
            left -= size
            yield event
    finally:
        deadline.stop()
        await close_iterator(events)


def _size(event: ReplyEvent, called: set[str]) -> int:
    """Return the characters of an event; ``called`` are the calls whose arguments have been counted as they came."""
    if isinstance(event, TextDelta | ReasoningDelta):
        return len(event.text)
    if isinstance(event, ToolCallDelta):
        called.add(event.id)
        return len(event.arguments)
    return len(event.arguments) if isinstance(event, ToolCall) and event.id not in called else 0


class _Deadline:
    """A limit of the time in which events are waited for; one timer for all of them, set with the first."""

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s
        self._timer: Timer | None = None
        self._expired = False
        self._cancelled = False
        self._waiting: asyncio.Task[Any] | None = None

    async def next(self, events: AsyncGenerator[ReplyEvent]) -> ReplyEvent | None:
        """Return the next event, None at the end. Raises ModelTimeoutError when the time is over."""
        if self._limit_s is None:
            return await anext(events, None)
        if self._timer is None:
            self._timer = call_later(self._limit_s, self._expire)
        task = asyncio.current_task()
        assert task is not None
        if self._expired:
            raise self._error()
        cancelling = task.cancelling()
        self._waiting = task
        try:
            event = await anext(events, None)
        except BaseException as error:
            if self._cancelled and task.uncancel() <= cancelling:
                raise self._error() from error
            raise
        finally:
            self._waiting = None
        if self._cancelled:  # a model that ignores its cancellation
            task.uncancel()
            raise self._error()
        return event

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self._expired = True
        if self._waiting is not None:
            self._cancelled = True
            self._waiting.cancel()

    def _error(self) -> ModelTimeoutError:
        return ModelTimeoutError(
            f"The reply was ended after {self._limit_s:g} s, which is this server's limit (reply_s)"
        )
