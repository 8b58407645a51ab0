"""Sources of events, as models are: paced, and telling when they were closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from aibind.streams import SseMessage, SseParser, StreamEvent


class Source:
    """Yields ``items`` at ``rate`` a second (0: at once). ``closed`` is set when it is closed, however that happens."""

    def __init__(self, items: Sequence[StreamEvent | str | Exception], *, rate: float = 0) -> None:
        self._items = items
        self._rate = rate
        self.given = 0
        self.closed = asyncio.Event()

    async def stream(self) -> AsyncIterator[StreamEvent | str]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            for number, item in enumerate(self._items):
                if self._rate:
                    await asyncio.sleep(max(0.0, began + number / self._rate - loop.time()))
                if isinstance(item, Exception):
                    raise item
                self.given += 1
                yield item
        finally:
            await asyncio.sleep(0)
            self.closed.set()


def tokens(count: int) -> list[str]:
    """Make numbered words, some with characters that need care."""
    odd = ["\n", "é", "👋", "\n\n", '"', "\u2028", " ", "\\"]
    return [f"{number}{odd[number % len(odd)] if number % 3 == 0 else ' '}" for number in range(count)]


async def read_all(body: AsyncIterator[bytes]) -> list[SseMessage]:
    """Read an answer to its end."""
    parser = SseParser()
    return [message async for data in body for message in parser.feed(data)]


def text_of(messages: list[SseMessage]) -> str:
    """Join the text of an answer."""
    return "".join(message.data for message in messages if not message.event)
