"""One change at a time to a stored conversation, among all the turns that a handler does in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

__all__ = ["Session", "Sessions"]


class Session:
    """Is what the turns of one conversation share.

    A store saves a conversation whole, so between loading one and saving it nobody else may save, or a turn is lost.
    ``changes`` counts: who finds it higher than when they loaded has to load once more.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.lock = asyncio.Lock()

    @asynccontextmanager
    async def changing(self) -> AsyncGenerator[None]:
        """Hold the conversation for as long as it takes to change and save it."""
        async with self.lock:
            try:
                yield
            finally:
                self.changes += 1


class Sessions:
    """Finds what the turns of a conversation share; that lives for as long as one of them has it."""

    def __init__(self) -> None:
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()

    def find(self, session_id: str) -> Session:
        """Find it, or make it for the first of them."""
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = Session()
        return session
