"""Packs: several small events in one stored chunk, and the positions inside a chunk.

A pack is a chunk with the event name ``aibind-events``, whose data is a JSON array of ``[name, data]`` pairs. A
position in a chunk, packed or not, counts the characters of its text and reasoning, and 1 for each other event.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from typing import Any

from .._json import compact_json, is_list
from .events import PACK_NAME, StreamEvent
from .parts import split_event
from .position import Position

__all__ = ["MAX_PACKED_CHARS", "OpenPack", "events_after", "events_in", "length_of"]

MAX_PACKED_CHARS = 4 * 1024
"""Characters of an event's data above which it is a chunk by itself."""


class OpenPack:
    """The events of a chunk that is still growing. Adjacent pieces of text, and of reasoning, are joined."""

    def __init__(self) -> None:
        self.events = list[StreamEvent]()
        self.chars = 0
        self._ends = list[int]()  # of each event, as positions

    def __len__(self) -> int:
        """Return the position at the end."""
        return self._ends[-1] if self._ends else 0

    def add(self, event: StreamEvent) -> None:
        """Add an event."""
        self.chars += len(event.data)
        end = len(self) + _length(event)
        if self.events and event.grows and event.event == self.events[-1].event:
            self.events[-1] = StreamEvent(event.event, self.events[-1].data + event.data)
            self._ends[-1] = end
        else:
            self.events.append(event)
            self._ends.append(end)

    def after(self, seq: int, offset: int) -> list[tuple[int, StreamEvent]]:
        """Return the events after a position in the chunk ``seq``, each with the id of the position after it."""
        first = bisect_right(self._ends, offset)
        found: list[tuple[int, StreamEvent]] = []
        for event, end in zip(self.events[first:], self._ends[first:], strict=True):
            found += _parts(seq, event, end - _length(event), offset)
        return found

    def close(self) -> StreamEvent:
        """Return the event of the whole chunk, and begin another. A single event is not packed."""
        events = self.events
        self.events, self._ends = list[StreamEvent](), list[int]()
        self.chars = 0
        if len(events) == 1:
            return events[0]
        return StreamEvent(PACK_NAME, compact_json([[event.event, event.data] for event in events]))


def events_in(chunk: StreamEvent) -> list[StreamEvent]:
    """Return the events of a chunk. Data of a pack that cannot be read is one event, as it is."""
    if chunk.event != PACK_NAME:
        return [chunk]
    try:
        pairs: Any = json.loads(chunk.data)
    except (ValueError, RecursionError):
        return [chunk]
    if not is_list(pairs):
        return [chunk]
    events: list[StreamEvent] = []
    for pair in pairs:
        if not is_list(pair) or [type(item) for item in pair] != [str, str]:
            return [chunk]
        events.append(StreamEvent(*pair))
    return events


def length_of(chunk: StreamEvent) -> int:
    """Return the position at the end of a chunk."""
    return len(chunk.data) if chunk.grows else sum(map(_length, events_in(chunk)))


def events_after(seq: int, chunk: StreamEvent, offset: int) -> list[tuple[int, StreamEvent]]:
    """Return the events of chunk ``seq`` after a position in it, each with the id of the position after it."""
    found: list[tuple[int, StreamEvent]] = []
    end = 0
    for event in events_in(chunk):
        found += _parts(seq, event, end, offset)
        end += _length(event)
    if found:
        found[-1] = (seq, found[-1][1])
    return found


def _length(event: StreamEvent) -> int:
    """Return how far an event moves the position in its chunk."""
    return len(event.data) if event.grows else 1


def _parts(seq: int, event: StreamEvent, start: int, offset: int) -> list[tuple[int, StreamEvent]]:
    """Return what of an event that begins at ``start`` in the chunk ``seq`` is after a position in it, in parts."""
    end = start + _length(event)
    if offset >= end or end == start:
        return []
    if offset > start:
        event = StreamEvent(event.event, event.data[offset - start :])
    return split_event(event, Position(seq, end).id, Position(seq, max(start, offset)))
