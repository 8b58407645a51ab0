"""Shutting a handler down: new turns are refused, replies under way get time to end, and the rest is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from .._time import call_later, timeout
from .replies import DurableReplies, shut_down_error

__all__ = ["GRACE_S", "Shutdown"]

GRACE_S = 20.0
"""Seconds that the replies under way have to end by default, when a server is told to end."""

FAREWELL_S = 0.5
"""Seconds that responses may take to send what their replies ended with, before they are cut short."""


class Shutdown:
    """The shutdown of a handler whose durable replies are in ``replies`` (None: it has none)."""

    def __init__(self, replies: DurableReplies | None) -> None:
        self._replies = replies
        self._deadline: float | None = None  # of the replies under way, once the shutdown has begun
        self._is_over = False
        self._plain: set[asyncio.Future[None]] = set()
        self._responses: dict[asyncio.Future[Any], asyncio.Future[Any]] = {}  # what is being sent, and its client

    def check(self) -> None:
        """Raise RequestError, with status 503 and ``Retry-After``, once the shutdown has begun."""
        if self._deadline is not None:
            raise shut_down_error()

    @property
    def has_begun(self) -> bool:
        """Whether the shutdown has begun."""
        return self._deadline is not None

    async def run(self, grace_s: float) -> None:
        """Refuse new turns, wait ``grace_s`` seconds for replies to end, end the others, and then all responses.

        Of several calls the shortest grace counts.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        self._deadline = deadline = deadline if self._deadline is None else min(deadline, self._deadline)
        try:
            async with timeout(max(0.0, deadline - loop.time())):
                await self._wait_idle()
        except TimeoutError:
            pass
        if self._replies is not None:
            await self._replies.aclose()
        await self._cut_short()

    @contextmanager
    def plain_reply(self) -> Generator[None]:
        """Count a reply that is no durable stream: it ends with its response, which is given the time to."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._plain.add(ended)
        try:
            yield
        finally:
            self._plain.discard(ended)
            if not ended.done():  # else the event loop is closing
                ended.set_result(None)

    @contextmanager
    def response(self, sending: asyncio.Future[Any], leaving: asyncio.Future[Any]) -> Generator[None]:
        """Note a response while it is sent. To cut it short, ``leaving``, which waits for its client, is cancelled."""
        self._responses[sending] = leaving
        if self._is_over:
            call_later(FAREWELL_S, leaving.cancel)
        try:
            yield
        finally:
            del self._responses[sending]

    async def _wait_idle(self) -> None:
        if self._replies is not None:
            await self._replies.wait_idle()
        while self._plain:
            await asyncio.wait(list(self._plain))

    async def _cut_short(self) -> None:
        """End the responses that are still being sent, such as those that follow replies of other processes."""
        self._is_over = True
        if self._responses:
            try:
                async with timeout(FAREWELL_S):
                    await asyncio.wait(list(self._responses))
            except TimeoutError:
                pass
        for leaving in list(self._responses.values()):
            leaving.cancel()
