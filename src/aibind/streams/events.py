"""The events of a stream, and the encoding of one event as one stored chunk (contract, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PACK_NAME", "StreamEvent", "check_event_name", "decode_chunk", "encode_chunk"]

PACK_NAME = "aibind-events"
"""The event name of a chunk that holds several events."""

SEPARATOR = "\x01"
_FORBIDDEN = frozenset("\x00\x01\r\n")
_RESERVED = frozenset({"stream-id", "stopped", "done", PACK_NAME})
_GROWING = frozenset({"", "reasoning"})


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a stream: text when ``event`` is empty, else a named event such as ``usage``.

    Text and ``reasoning`` arrive in pieces that a reader joins, so adjacent pieces may be stored and delivered as one.
    """

    event: str
    data: str

    @property
    def is_text(self) -> bool:
        """Whether this is plain text."""
        return not self.event

    @property
    def grows(self) -> bool:
        """Whether this is a piece of something longer, to be joined with adjacent pieces of the same name."""
        return self.event in _GROWING


def check_event_name(name: str) -> None:
    r"""Raise ValueError for a name that could not be read back, or that would end the stream for its readers.

    Refused are ``\x01``, CR, LF and NUL, and the names ``stream-id``, ``stopped``, ``done`` and
    ``aibind-events``.
    """
    if not _FORBIDDEN.isdisjoint(name):
        raise ValueError(f"Event name {name!r} holds a control character: use letters, digits, '-' and '_'")
    if name in _RESERVED:
        raise ValueError(f"Event name {name!r} is reserved by the protocol: choose another name")


def encode_chunk(event: StreamEvent) -> str:
    r"""Encode an event as a stored chunk: its name, ``\x01``, its data."""
    return event.event + SEPARATOR + event.data


def decode_chunk(chunk: str) -> StreamEvent:
    r"""Decode a stored chunk. Only the first ``\x01`` separates; a chunk without one is plain text (old rows).

    A chunk whose first part is not a valid event name, for instance because it spans lines, is plain text as well.
    """
    name, separator, data = chunk.partition(SEPARATOR)
    if not separator or not _FORBIDDEN.isdisjoint(name):
        return StreamEvent("", chunk)
    return StreamEvent(name, data)
