"""Normalising text before it is stored or counted, so that every reader receives the same characters."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator

from .._text import SurrogateJoiner
from .events import StreamEvent, check_event_name

__all__ = ["EventNormalizer", "TextNormalizer", "is_unfit", "normalized"]

_UNFIT = re.compile("[\r\ud800-\udfff]")


def is_unfit(text: str) -> bool:
    """Whether normalising changes a text, or holds a part of it back."""
    return "\r" in text if text.isascii() else _UNFIT.search(text) is not None


class TextNormalizer:
    r"""Normalises the pieces of one text, in order, wherever they were cut.

    CR LF and CR become LF, because a server-sent line cannot hold CR. A lone surrogate becomes U+FFFD, because neither
    UTF-8 nor SQLite holds one. A surrogate pair that was cut in two, as JavaScript does, is joined: its first half is
    held back until the second arrives.
    """

    def __init__(self) -> None:
        self._surrogates = SurrogateJoiner()
        self._after_cr = False

    def clean(self, text: str) -> str:
        """Return the normalised piece, which is empty when it held nothing but half of something."""
        if not (self._surrogates.held or self._after_cr or is_unfit(text)):
            return text
        if not text:
            return text
        if self._after_cr:
            text = text.removeprefix("\n")
            self._after_cr = False
        if "\r" in text:
            self._after_cr = text.endswith("\r")
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return self._surrogates.join(text)

    def flush(self) -> str:
        """Return what was held back for a second half that did not arrive."""
        return self._surrogates.flush()


class EventNormalizer:
    """Normalises the events of one source. Text and reasoning are each one text that comes in pieces."""

    def __init__(self) -> None:
        self._normalizers: dict[str, TextNormalizer] = {}

    def clean(self, event: StreamEvent) -> StreamEvent | None:
        """Return the normalised event, or None for a piece without content. Raises ValueError for a bad event name."""
        if not event.grows:
            check_event_name(event.event)
            if not is_unfit(event.data):
                return event
            whole = TextNormalizer()
            return StreamEvent(event.event, whole.clean(event.data) + whole.flush())
        normalizer = self._normalizers.get(event.event)
        if normalizer is None:
            normalizer = self._normalizers[event.event] = TextNormalizer()
        text = normalizer.clean(event.data)
        if text is event.data and text:
            return event
        return StreamEvent(event.event, text) if text else None

    def flush(self) -> list[StreamEvent]:
        """Return what was held back for a second half that did not arrive."""
        return [StreamEvent(name, text) for name, one in self._normalizers.items() if (text := one.flush())]


async def normalized(events: AsyncIterable[StreamEvent]) -> AsyncIterator[StreamEvent]:
    """Yield the normalised events of one source. Raises ValueError for a bad event name."""
    normalizer = EventNormalizer()
    async for raw in events:
        event = normalizer.clean(raw)
        if event is not None:
            yield event
    for event in normalizer.flush():
        yield event
