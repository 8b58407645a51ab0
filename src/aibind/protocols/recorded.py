"""A response of any format, recorded: its bytes are stored as they were sent, and replayed so.

What a chunk of text holds unchanged is stored as text, so that small pieces share one. The messages of server-sent
events are told apart again when they are read. The rest, such as a piece with CR, is an event by itself.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from .._closing import close_iterator
from .._json import compact_json, is_object, scan_json
from ..streams.batch import EventBatch
from ..streams.events import StreamEvent
from ..streams.normalize import is_unfit
from ..streams.position import MAX_ID, Position
from ..streams.sse import PING, encode_message

__all__ = ["ID_PREFIX", "MessageReader", "Recorded", "RecordedEncoder", "record", "source_id"]

_HEAD_EVENT = "response"
_BODY_EVENT = "body"

ID_PREFIX = "aibind:"
"""The beginning of our ids, which are added to messages without one."""

_to_json = json.JSONEncoder().encode  # json.dumps() looks at its options each time, which takes longer than the rest

_PIECES = (str, bytes, bytearray, memoryview)
_END = "\n\n"  # of a message that is stored as text

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


async def record(response: Recorded, pieces: AsyncIterable[str | bytes]) -> AsyncGenerator[StreamEvent | str]:
    """Yield the events of a response: a message of server-sent events each, and any other body piece by piece.

    Closes ``pieces``. Raises TypeError for a piece that is neither text nor bytes.
    """
    yield response.event
    splitter = _Splitter() if response.is_sse else None
    iterator = aiter(pieces)
    try:
        async for piece in iterator:
            if not isinstance(piece, _PIECES):
                raise TypeError(
                    f"The source of a durable response yielded {type(piece).__name__}: it must yield str or bytes"
                )
            if splitter is None:
                if piece:
                    yield _event(piece)
                continue
            for message in splitter.feed(piece):
                yield _event(message)
        if splitter is not None and (rest := splitter.flush()):
            yield _event(rest)
    finally:
        await close_iterator(iterator)


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


def _event(piece: str | bytes | bytearray | memoryview) -> StreamEvent | str:
    if not isinstance(piece, str):
        data = bytes(piece)
        try:
            piece = data.decode()
        except UnicodeDecodeError:
            return StreamEvent(_BODY_EVENT, compact_json({"base64": base64.b64encode(data).decode()}))
    return StreamEvent(_BODY_EVENT, _to_json(piece)) if is_unfit(piece) else piece


@dataclass(frozen=True, slots=True)
class MessageReader:
    """A reader that tells the messages of recorded server-sent events apart, from one batch to the next.

    ``rest`` is text whose message has not ended yet, since a chunk was full in the middle of it.
    """

    rest: str = ""

    def read(self, batch: EventBatch) -> tuple[list[tuple[int | None, str]], MessageReader]:
        """Return the messages of a batch, each with the id after it (None: with none), and what reads the next one."""
        found: list[tuple[int | None, str]] = []
        rest, after = self.rest, batch.after
        for id, event in batch.events:
            if event.event == _BODY_EVENT:
                found.append((id, _bytes_of(event).decode("utf-8", "replace")))
            elif event.event:
                pass
            elif not rest and _is_message(event.data):
                found.append((id, event.data))
            else:
                seq, offset = Position.before(id, after)
                offset -= len(rest)
                *messages, (length, rest) = _split(rest + event.data, len(rest))
                for end, message in messages:
                    reached = id if end == length else Position(seq, offset + end).id
                    found.append((reached if reached <= MAX_ID else None, message))
            after = id
        if rest and batch.end is not None:
            found.append((batch.position, rest))
            rest = ""
        return found, self if rest == self.rest else MessageReader(rest)


def _is_message(text: str) -> bool:
    return text.find(_END) == len(text) - len(_END) >= 0


def _split(text: str, known: int) -> Iterator[tuple[int, str]]:
    """Yield the messages in a text, each with its end, and the rest. None ends in the first ``known`` characters."""
    begin, place = 0, max(0, known - 1)
    while (place := text.find(_END, place)) >= 0:
        place += len(_END)
        yield place, text[begin:place]
        begin = place
    yield len(text), text[begin:]


@dataclass(frozen=True, slots=True)
class RecordedEncoder:
    """The body of a recorded response, byte for byte.

    A message of server-sent events that has data and no id is given one, so that a client that comes back can say
    what it has. An error is told by a message ``error``; other formats have no place for one.
    """

    response: Recorded
    _reader: MessageReader = field(default=MessageReader(), repr=False)
    _is_sse: bool = field(init=False, repr=False, compare=False)  # asked for each event

    opening: ClassVar[bytes] = b""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_is_sse", self.response.is_sse)

    def __hash__(self) -> int:
        """Return the same for the encoders of all responses, which is found sooner than the hash of its headers."""
        return hash(self._reader.rest)

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
        if not self._is_sse:
            return b"".join([_bytes_of(event) for _, event in batch.events]), self
        if len(batch.events) == 1 and batch.end is None and not self._reader.rest:
            id, event = batch.events[0]
            if not event.event and _is_message(event.data):  # as most are, while the reply goes on
                return _with_id(event.data, id), self
        if batch.is_idle:
            return PING, self
        found, reader = self._reader.read(batch)
        messages = [text.encode() if id is None else _with_id(text, id) for id, text in found]
        if batch.end is not None and batch.end.state == "error":
            messages.append(encode_message(compact_json({"error": batch.end.error or "error"}), event="error"))
        return b"".join(messages), self if reader is self._reader else replace(self, _reader=reader)


def source_id(message: str) -> str | None:
    """Return the id that the source gave a message of server-sent events; None for one without."""
    found = re.findall(_ID_LINE, message)
    return found[-1] if found else None


def _with_id(message: str, id: int) -> bytes:
    if message.startswith("data:") and not ("\nid" in message or "\r" in message):  # as most are
        return f"id: {ID_PREFIX}{id}\n{message}".encode()
    mark = "\ufeff" if message.startswith("\ufeff") else ""
    message = message.removeprefix(mark)
    has_data_alone = re.search(_DATA_LINE, message) and not re.search(_ID_LINE, message)
    added = f"id: {ID_PREFIX}{id}\n" if has_data_alone else ""
    return f"{mark}{added}{message}".encode()


def _bytes_of(event: StreamEvent) -> bytes:
    if not event.event:
        return event.data.encode()
    if event.event != _BODY_EVENT:
        return b""
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
