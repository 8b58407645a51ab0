"""Leaving out the events that a reader has, from a stream that is read from its beginning."""

from __future__ import annotations

from dataclasses import dataclass

from .batch import EventBatch
from .events import StreamEvent
from .following import NOT_KEPT
from .position import Position
from .store import StreamEnd

__all__ = ["Skip"]


@dataclass(frozen=True, slots=True)
class Skip:
    """A function of a batch that begins at ``start``, whose reader has all that is before ``target``.

    Equal ones of followers at one position share their work: see :meth:`EventBatch.share`.
    """

    start: Position
    target: Position

    def __call__(self, batch: EventBatch, /) -> tuple[EventBatch, EventBatch | None]:
        """Return what of a batch the reader has, and what it does not have (None: nothing).

        An event that grows is cut at the character. A stream that was stopped before ``target``, since the last words
        that its reader has were not kept, ends as an error.
        """
        events, end, reached = batch.events, batch.end, self.start
        if end is None and Position.after(batch.position) <= self.target:
            return batch, None
        for place, (id_, event) in enumerate(events):
            if reached >= self.target:
                return EventBatch(events[:place], reached.id), EventBatch(events[place:], batch.position, end)
            following = Position.after(id_)
            if following > self.target and event.grows:
                had, left = self._cut(event, reached)
                seen = EventBatch((*events[:place], (self.target.id, had)), self.target.id)
                rest = ((id_, left), *events[place + 1 :]) if left.data else events[place + 1 :]
                return seen, EventBatch(rest, batch.position, end) if rest or end is not None else None
            reached = following
        if end is not None and end.state == "stopped" and Position.after(batch.position) < self.target:
            end = StreamEnd("error", NOT_KEPT)
        return EventBatch(events, batch.position), EventBatch((), batch.position, end) if end is not None else None

    def _cut(self, event: StreamEvent, start: Position) -> tuple[StreamEvent, StreamEvent]:
        chars = self.target.offset - (start.offset if start.seq == self.target.seq else 0)
        return StreamEvent(event.event, event.data[:chars]), StreamEvent(event.event, event.data[chars:])
