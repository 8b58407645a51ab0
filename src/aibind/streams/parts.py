"""Cutting the text of a long chunk into parts with ids, so that a connection that breaks early has brought some."""

from __future__ import annotations

from collections.abc import Iterator

from .events import StreamEvent
from .position import MAX_ID, Position

__all__ = ["SHORT_CHARS", "split_event"]

PART_CHARS = 512
"""The limit of a part, in characters."""

PART_BYTES = 768
"""The limit of a part on the wire, in bytes of UTF-8: with its lines and id, a part is shorter than 1,000 bytes."""

_LINE_BYTES = len("\ndata: ")

SHORT_CHARS = PART_BYTES // _LINE_BYTES
"""Characters that are within both limits, whatever they are."""


def split_event(
    event: StreamEvent, last_id: int, start: Position, part_bytes: int = PART_BYTES
) -> list[tuple[int, StreamEvent]]:
    """Return the parts of an event that begins at ``start``, each with the id of the position after it.

    A part has ``part_bytes`` bytes at most on the wire, beside its id. The last one has ``last_id``. An event that does
    not grow is not cut, because its readers need it whole.
    """
    seq, offset = start
    if not event.grows or not event.data or Position(seq, offset + len(event.data)).id > MAX_ID:
        return [(last_id, event)]
    parts: list[tuple[int, StreamEvent]] = []
    for text in _cut(event.data, part_bytes):
        offset += len(text)
        parts.append((Position(seq, offset).id, StreamEvent(event.event, text)))
    parts[-1] = (last_id, parts[-1][1])
    return parts


def _cut(text: str, part_bytes: int) -> Iterator[str]:
    begin, chars = 0, PART_CHARS
    while begin < len(text):
        part = text[begin : begin + chars]
        size = _size(part)
        if size > part_bytes:
            chars //= 2
            continue
        if part[-1] == "\r" and text.startswith("\n", begin + len(part)):
            part = part[:-1]  # CR LF is one line end; only other producers store it
        yield part
        begin += len(part)
        if 2 * size <= part_bytes:
            chars = min(2 * chars, PART_CHARS)


def _size(text: str) -> int:
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return size + (_LINE_BYTES - 1) * (text.count("\n") + text.count("\r"))
