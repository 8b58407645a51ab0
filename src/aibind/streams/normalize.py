"""Makes a model's text fit to be stored and sent: the same characters on every way it takes."""

from __future__ import annotations

import re

from .._text import join_surrogates
from .events import StreamEvent, check_event_name

__all__ = ["EventNormalizer", "TextNormalizer"]

_UNFIT = re.compile("[\r\ud800-\udfff]")


class TextNormalizer:
    r"""Cleans the pieces of one text, in order, wherever they were cut.

    Two things cannot travel, so each is decided here, once, before the text is stored or counted: CR LF and CR become
    LF (a server-sent line cannot hold CR), and a lone surrogate becomes U+FFFD (neither UTF-8 nor SQLite holds one).
    A surrogate pair that was cut in two, as JavaScript does it, is joined: its first half waits for the second.
    """

    def __init__(self) -> None:
        self._high = ""  # the first half of a pair, waiting
        self._after_cr = False

    def clean(self, text: str) -> str:
        """Clean one piece. The result is empty when the piece held nothing but half of something."""
        if not (self._high or self._after_cr) and (text.isascii() or not _UNFIT.search(text)) and "\r" not in text:
            return text
        if not text:
            return text
        text = self._high + text
        self._high = ""
        if self._after_cr:
            text = text.removeprefix("\n")
            self._after_cr = False
        if "\r" in text:
            self._after_cr = text.endswith("\r")
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._high = text[-1]
            text = text[:-1]
        return join_surrogates(text)

    def flush(self) -> str:
        """Return what was waiting for a second half that will not come."""
        rest, self._high = self._high, ""
        return "\ufffd" if rest else ""


class EventNormalizer:
    """Cleans the events of one source; each kind of text that comes in pieces is a text of its own."""

    def __init__(self) -> None:
        self._cleaners: dict[str, TextNormalizer] = {}

    def clean(self, event: StreamEvent) -> StreamEvent | None:
        """Clean one event; None when it was a piece without content. Raises ValueError for a name that cannot be."""
        if not event.grows:
            check_event_name(event.event)
            whole = TextNormalizer()
            return StreamEvent(event.event, whole.clean(event.data) + whole.flush())
        cleaner = self._cleaners.get(event.event)
        if cleaner is None:
            cleaner = self._cleaners[event.event] = TextNormalizer()
        text = cleaner.clean(event.data)
        if text is event.data and text:
            return event
        return StreamEvent(event.event, text) if text else None

    def flush(self) -> list[StreamEvent]:
        """Return what was waiting for a second half that will not come."""
        return [StreamEvent(name, text) for name, cleaner in self._cleaners.items() if (text := cleaner.flush())]
