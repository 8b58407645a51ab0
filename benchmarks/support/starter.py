"""The signal at which all models of a server begin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from .clocked import clocked_tokens

__all__ = ["Starter"]


class Starter:
    """Lets all models begin at once."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def tokens(self, prompt: str) -> AsyncIterator[str]:
        """Be a model."""
        count, rate, offset = prompt.split()
        await self.begun.wait()
        await asyncio.sleep(float(offset))
        async for token in clocked_tokens(int(count), float(rate), due=True):
            yield token

    def wrap(self, app: Any) -> Any:
        """Add ``/go`` to an app."""

        async def with_go(scope: Any, receive: Any, send: Any) -> None:
            if scope.get("path") != "/go":
                await app(scope, receive, send)
                return
            self.begun.set()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        return with_go
