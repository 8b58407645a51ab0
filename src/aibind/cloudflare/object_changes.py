"""The changes of an object's streams, for readers in Workers to wait for."""

from __future__ import annotations

import asyncio

from .._time import now_ms, wait_for_event

__all__ = ["Changes"]


class Changes:
    """A number that every change increases, and those that wait for the next."""

    def __init__(self) -> None:
        self.version = now_ms()  # another one than before the object was evicted
        self._changed = asyncio.Event()

    def note(self) -> None:
        """Note a change."""
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, version: int, timeout_s: float) -> int:
        """Wait while the version is this one, ``timeout_s`` seconds at most, and return it."""
        if self.version == version:
            await wait_for_event(self._changed, timeout_s)
        return self.version
