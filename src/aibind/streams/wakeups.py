"""Waking the readers of a stream in this process, so that they need not poll for its changes."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["WakeupSignals"]


class WakeupSignals:
    """Events by stream id, set whenever this process has changed the stream. For one event loop."""

    def __init__(self) -> None:
        self._events: dict[str, list[asyncio.Event]] = {}
        self._watching = 0

    def __repr__(self) -> str:
        return f"<WakeupSignals watching={self._watching}>"

    @property
    def watching(self) -> int:
        """The number of watches that are open, over all streams."""
        return self._watching

    def notify(self, stream_id: str) -> None:
        """Set the event of each watch on this stream."""
        for event in self._events.get(stream_id, ()):
            event.set()

    @contextmanager
    def watch(self, stream_id: str) -> Generator[asyncio.Event]:
        """Yield an event that each change of the stream sets.

        Clear it before reading the stream, not after: a change in between would be missed.
        """
        event = asyncio.Event()
        events = self._events.setdefault(stream_id, [])
        events.append(event)
        self._watching += 1
        try:
            yield event
        finally:
            self._watching -= 1
            events.remove(event)
            if not events:
                self._events.pop(stream_id, None)
