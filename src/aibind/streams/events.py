"""What a stream carries, and how one event is written into one stored chunk (contract §4)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["StreamEvent", "check_event_name", "decode_chunk", "encode_chunk"]

SEPARATOR = "\x01"
_FORBIDDEN = frozenset("\x00\x01\r\n")
_OURS = frozenset({"stream-id", "stopped", "done"})
_GROWING = frozenset({"", "reasoning"})


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Is one event of a stream: text when ``event`` is empty, else a named event such as ``usage``.

    Text, and ``reasoning``, come in pieces that a reader joins: neighbours may be stored and delivered as one.
    """

    event: str
    data: str

    @property
    def is_text(self) -> bool:
        """Say whether this is plain text."""
        return not self.event

    @property
    def grows(self) -> bool:
        """Say whether this is a piece of something longer, to be joined with its neighbours of the same name."""
        return self.event in _GROWING


def check_event_name(name: str) -> None:
    r"""Raise ValueError for a name that could not be read back, or would end the stream for its readers.

    Refused are ``\x01``, CR, LF and NUL, and the names ``stream-id``, ``stopped`` and ``done``.
    """
    if not _FORBIDDEN.isdisjoint(name):
        raise ValueError(f"Event name {name!r} holds a control character: use letters, digits, '-' and '_'")
    if name in _OURS:
        raise ValueError(f"Event name {name!r} is the protocol's own: give your event another one")


def encode_chunk(event: StreamEvent) -> str:
    r"""Write an event as a stored chunk: its name, ``\x01``, its data."""
    return event.event + SEPARATOR + event.data


def decode_chunk(chunk: str) -> StreamEvent:
    r"""Read a stored chunk. Only the first ``\x01`` separates; a chunk without one is plain text (old rows).

    So is one whose first line is no event name, for a name is a single line.
    """
    name, separator, data = chunk.partition(SEPARATOR)
    if not separator or not _FORBIDDEN.isdisjoint(name):
        return StreamEvent("", chunk)
    return StreamEvent(name, data)
