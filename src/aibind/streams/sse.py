"""Server-sent events: an encoder of messages, and an incremental parser after the WHATWG algorithm.

Sections cited are those of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["HEADERS", "PING", "SseMessage", "SseParser", "encode_message"]

HEADERS: Mapping[str, str] = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
"""The headers of every response that is an event stream."""

PING = b": ping\n\n"
"""A comment (§9.2.5), which keeps a connection open and is ignored by parsers."""


def encode_message(data: str, *, id: int | str | None = None, event: str = "") -> bytes:
    r"""Encode one message, with LF line ends.

    Each line of ``data`` becomes a ``data:`` line. CR cannot travel inside a line, since the standard ends a line at
    CR, LF and CR LF alike (§9.2.5): all three are sent as line ends, and a reader finds LF in their place. A lone
    surrogate, which UTF-8 cannot carry, is sent as U+FFFD. Raises ValueError for an event name or id that holds CR, LF
    or (id) NUL.
    """
    if "\r" in data:
        data = data.replace("\r\n", "\n").replace("\r", "\n")
    if "\n" in data:
        data = data.replace("\n", "\ndata: ")
    head = ""
    if event:
        if "\n" in event or "\r" in event:
            raise ValueError(f"Event name {event!r} holds a line end: an event's name is one line")
        head = f"event: {event}\n"
    if id is not None:
        if isinstance(id, str) and not _ID_FORBIDDEN.isdisjoint(id):
            raise ValueError(f"Message id {id!r} holds a line end or NUL: readers would ignore it")
        head += f"id: {id}\n"
    message = f"{head}data: {data}\n\n"
    try:
        return message.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", message).encode()


@dataclass(frozen=True, slots=True)
class SseMessage:
    """One parsed message.

    ``event`` is empty for a plain message. ``id`` is the id that this message itself carried, or an empty string;
    ``last_event_id`` is the one in force after it, which a client sends as ``Last-Event-ID`` when it reconnects.
    """

    event: str
    data: str
    id: str
    last_event_id: str


class SseParser:
    """An incremental parser of an event stream, which may be cut anywhere, even inside a character (§9.2.6).

    ``retry_ms`` is the reconnection time that the server asked for, or None. A message or line longer than
    ``max_chars`` characters raises ValueError, so that a peer cannot fill the memory.
    """

    def __init__(self, *, max_chars: int = 16 * 1024 * 1024) -> None:
        self.retry_ms: int | None = None
        self.last_event_id = ""
        self._max_chars = max_chars
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_start = True
        self._after_cr = False
        self._line: list[str] = []  # pieces of a line that has not ended
        self._line_chars = 0
        self._data: list[str] = []
        self._data_chars = 0
        self._event = ""
        self._id = ""

    def __repr__(self) -> str:
        return f"<SseParser last_event_id={self.last_event_id!r}>"

    @property
    def is_inside_message(self) -> bool:
        """Whether a message has begun whose end has not arrived."""
        return bool(self._line or self._data or self._event or self._id)

    def feed(self, data: bytes) -> list[SseMessage]:
        """Parse more bytes and return the messages that they complete."""
        return self._take(self._decoder.decode(data))

    def flush(self) -> list[SseMessage]:
        """Return the message that the end of the stream cut off, if any.

        The standard discards it (§9.2.6). Call this only for a peer that does not end its last message with a blank
        line.
        """
        messages = self._take(self._decoder.decode(b"", final=True) + "\n\n")
        self._at_start = True
        return messages

    def _take(self, text: str) -> list[SseMessage]:
        if not text:
            return []
        if self._at_start:
            self._at_start = False
            text = text.removeprefix("\ufeff")
        if self._after_cr and text:
            self._after_cr = False
            text = text.removeprefix("\n")  # the second half of a CR LF whose CR ended the line already
        if "\r" in text:
            self._after_cr = text.endswith("\r")
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        *lines, rest = text.split("\n")
        messages: list[SseMessage] = []
        for line in lines:
            if self._line:
                line = "".join(self._line) + line
                self._line.clear()
                self._line_chars = 0
            self._take_line(line, messages)
        if rest:
            self._line.append(rest)
            self._line_chars += len(rest)
        if self._line_chars + self._data_chars > self._max_chars:
            raise ValueError(f"A server-sent message is longer than {self._max_chars} characters")
        return messages

    def _take_line(self, line: str, messages: list[SseMessage]) -> None:
        if not line:
            self._dispatch(messages)
            return
        field, _, value = line.partition(":")  # a comment is a field without a name, and ignored as such
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
            self._data_chars += len(value)
        elif field == "event":
            self._event = value
        elif field == "id":
            if "\0" not in value:
                self._id = self.last_event_id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value[:15])

    def _dispatch(self, messages: list[SseMessage]) -> None:
        if self._data:  # an event without data is not dispatched
            messages.append(SseMessage(self._event, "\n".join(self._data), self._id, self.last_event_id))
        self._data = []
        self._data_chars = 0
        self._event = self._id = ""


_ID_FORBIDDEN = frozenset("\0\r\n")
_SURROGATE = re.compile("[\ud800-\udfff]")
