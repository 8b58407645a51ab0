"""Leaving out the events that a reader has, from a stream that is read from its beginning."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .batch import EventBatch
from .events import StreamEvent
from .packs import length_of
from .position import Position
from .store import NOT_KEPT, StreamEnd

__all__ = ["Skip", "Split"]


@dataclass(frozen=True, slots=True)
class Split:
    """A batch in two: what its reader has, and what it does not have (None: nothing).

    ``skip`` is what is to be done with the next batch (None: nothing any more).
    """

    seen: EventBatch
    rest: EventBatch | None
    skip: Skip | None


@dataclass(frozen=True, slots=True)
class Skip:
    """A function of a batch, whose reader has all that is before ``target``.

    ``passed`` is how far the events before the batch go beyond the beginning of the chunk that ``target`` counts from;
    they may be in several chunks. Equal ones of followers at one position share their work: see
    :meth:`EventBatch.share`.
    """

    target: Position
    passed: int = 0

    def __call__(self, batch: EventBatch, /) -> Split:
        """Split a batch; an event that grows is cut at the character.

        A stream that ends before ``target``, since the last words that its reader has were not kept, ends as an error.
        """
        events, passed, left = batch.events, self.passed, self.target.offset
        begin = Position(self.target.seq)
        for place, (id_, event) in enumerate(events):
            if Position.after(id_) <= begin:
                continue  # of an earlier chunk
            if passed == left:
                return self._split(batch, events[:place], events[place:])
            length = length_of(event)
            if passed + length > left:
                had, more = (StreamEvent(event.event, text) for text in _halves(event.data, left - passed))
                return self._split(batch, (*events[:place], (id_, had)), ((id_, more), *events[place + 1 :]))
            passed += length
        is_there = passed == left and Position.after(batch.position) >= begin
        seen = batch if batch.end is None else EventBatch(events, batch.after, batch.position)
        rest = None
        if batch.end is not None:
            rest = EventBatch.silent(batch.position, batch.end if is_there else self._short(batch.end))
        return Split(seen, rest, None if is_there else replace(self, passed=passed))

    def _split(
        self, batch: EventBatch, seen: tuple[tuple[int, StreamEvent], ...], rest: tuple[tuple[int, StreamEvent], ...]
    ) -> Split:
        reached = self.target.id
        return Split(EventBatch(seen, batch.after, reached), EventBatch(rest, reached, batch.position, batch.end), None)

    def _short(self, end: StreamEnd) -> StreamEnd:
        """Return how a stream ended that has less than its reader; an id of no character is not the reader's proof."""
        is_known = end.state == "stopped" or (end.state == "done" and self.target.offset > 0)
        return StreamEnd("error", NOT_KEPT) if is_known else end


def _halves(text: str, chars: int) -> tuple[str, str]:
    return text[:chars], text[chars:]
