"""A response of any format, recorded: its bytes are stored as they were sent, and replayed so."""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .._json import compact_json, is_object, scan_json
from ..streams.batch import EventBatch
from ..streams.events import StreamEvent
from ..streams.sse import PING, encode_message

__all__ = ["ID_PREFIX", "Recorded", "RecordedEncoder", "record", "source_id"]

_HEAD_EVENT = "response"
_BODY_EVENT = "body"

ID_PREFIX = "aibind:"
"""The beginning of our ids, which are added to messages without one."""

_ID_PREFIX = ID_PREFIX.encode()

_to_json = json.JSONEncoder().encode  # json.dumps() looks at its options each time, which takes longer than the rest

# Compiled when first used: a Worker's start-up is billed.
_BLANK_LINE = r"(?:\r\n|\n|\r(?!\n)){2}"
_ID_LINE = r"(?:^|[\r\n])id(?:: ?([^\r\n]*)|(?=[\r\n]))"
_DATA_LINE = r"(?:^|[\r\n])data[:\r\n]"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The status and headers of a recorded response, which are the first event of its stream."""

    status: int
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, event: StreamEvent) -> Recorded | None:
        """Return the response whose stream begins with an event; None for an event of another stream."""
        if event.event != _HEAD_EVENT:
            return None
        try:
            stored: Any = json.loads(event.data)
        except ValueError:
            return None
        if not is_object(stored) or type(stored.get("status")) is not int or not is_object(stored.get("headers")):
            return None
        return cls(stored["status"], tuple((name, str(value)) for name, value in stored["headers"].items()))

    @property
    def event(self) -> StreamEvent:
        """The event that stores it."""
        return StreamEvent(_HEAD_EVENT, compact_json({"status": self.status, "headers": dict(self.headers)}))

    @property
    def is_sse(self) -> bool:
        """Whether the body is server-sent events."""
        content_type = dict(self.headers).get("content-type", "")
        return content_type.partition(";")[0].strip().lower() == "text/event-stream"


async def record(response: Recorded, pieces: AsyncIterator[str | bytes]) -> AsyncGenerator[StreamEvent]:
    """Yield the events of a response: a message of server-sent events each, and any other body piece by piece.

    Raises TypeError for a piece that is neither text nor bytes.
    """
    yield response.event
    splitter = _Splitter() if response.is_sse else None
    async for piece in pieces:
        if not isinstance(piece, str | bytes | bytearray | memoryview):
            raise TypeError(
                f"The source of a durable response yielded {type(piece).__name__}: it must yield str or bytes"
            )
        if splitter is None:
            if piece:
                yield _event(piece)
            continue
        for message in splitter.feed(piece):
            yield StreamEvent(_BODY_EVENT, _to_json(message))
    if splitter is not None and (rest := splitter.flush()):
        yield StreamEvent(_BODY_EVENT, _to_json(rest))


class _Splitter:
    """Splits server-sent events after each blank line. The parts make up the whole."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, piece: str | bytes | bytearray | memoryview) -> list[str]:
        """Return the messages that a piece completes."""
        text = piece if isinstance(piece, str) else self._decoder.decode(bytes(piece))
        if not self._rest and text.endswith("\n\n") and "\r" not in text and text.find("\n\n") == len(text) - 2:
            return [text]
        text = self._rest + text
        messages: list[str] = []
        begin = 0
        for blank in re.finditer(_BLANK_LINE, text):
            if blank.end() == len(text) and text[-1] == "\r":
                break  # perhaps the first half of CR LF
            messages.append(text[begin : blank.end()])
            begin = blank.end()
        self._rest = text[begin:]
        return messages

    def flush(self) -> str:
        """Return what the end cut off."""
        return self._rest + self._decoder.decode(b"", final=True)


def _event(piece: str | bytes | bytearray | memoryview) -> StreamEvent:
    if not isinstance(piece, str):
        data = bytes(piece)
        try:
            piece = data.decode()
        except UnicodeDecodeError:
            return StreamEvent(_BODY_EVENT, compact_json({"base64": base64.b64encode(data).decode()}))
    return StreamEvent(_BODY_EVENT, _to_json(piece))


@dataclass(frozen=True, slots=True)
class RecordedEncoder:
    """The body of a recorded response, byte for byte.

    A message of server-sent events that has data and no id is given one, so that a client that comes back can say
    what it has. An error is told by a message ``error``; other formats have no place for one.
    """

    response: Recorded
    _is_sse: bool = field(init=False, repr=False, compare=False)  # asked for each event

    opening: ClassVar[bytes] = b""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_is_sse", self.response.is_sse)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the response."""
        return dict(self.response.headers)

    @property
    def replays(self) -> bool:
        """Whether the body is anything but server-sent events."""
        return not self._is_sse

    def __call__(self, batch: EventBatch, /) -> tuple[bytes, RecordedEncoder]:
        """Return the bytes of the batch; a comment for an idle batch of server-sent events."""
        body = [(id, _bytes_of(event)) for id, event in batch.events if event.event == _BODY_EVENT]
        if not self._is_sse:
            return b"".join([data for _, data in body]), self
        if batch.is_idle:
            return PING, self
        messages = [_with_id(data, id) for id, data in body]
        if batch.end is not None and batch.end.state == "error":
            messages.append(encode_message(compact_json({"error": batch.end.error or "error"}), event="error"))
        return b"".join(messages), self


def source_id(event: StreamEvent) -> str | None:
    """Return the id that the source gave a message of server-sent events; None for one without."""
    if event.event != _BODY_EVENT:
        return None
    found = re.findall(_ID_LINE, _bytes_of(event).decode("utf-8", "replace"))
    return found[-1] if found else None


def _with_id(message: bytes, id: int) -> bytes:
    if message.startswith(b"data:") and not (b"\nid" in message or b"\r" in message):  # as most are
        return b"id: %b%d\n%b" % (_ID_PREFIX, id, message)
    mark = codecs.BOM_UTF8 if message.startswith(codecs.BOM_UTF8) else b""
    message = message.removeprefix(mark)
    text = message.decode("utf-8", "replace")
    has_data_alone = re.search(_DATA_LINE, text) and not re.search(_ID_LINE, text)
    return mark + (f"id: {ID_PREFIX}{id}\n".encode() if has_data_alone else b"") + message


def _bytes_of(event: StreamEvent) -> bytes:
    try:
        stored, _ = scan_json(event.data, 0)
    except (ValueError, StopIteration):
        return b""
    if isinstance(stored, str):
        return stored.encode("utf-8", "replace")
    encoded: Any = stored.get("base64") if is_object(stored) else None
    try:
        return base64.b64decode(encoded) if isinstance(encoded, str) else b""
    except binascii.Error:
        return b""
