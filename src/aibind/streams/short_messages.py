"""Text in short messages, for connections that break before a message of the usual length has arrived."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from .batch import EventBatch
from .events import StreamEvent
from .parts import split_event
from .position import Position

__all__ = ["SHORT_BYTES", "in_short_messages"]

SHORT_BYTES = 64
"""The limit of a message's text on the wire: with its lines and id, a message is shorter than 150 bytes."""


async def in_short_messages(
    batches: AsyncGenerator[EventBatch], encode: Callable[[EventBatch], bytes]
) -> AsyncGenerator[bytes]:
    """Yield batches, encoded, with all text in short messages of an id each.

    Batches of which nothing is sent are left out. Closing the result closes ``batches``.
    """
    async with aclosing(batches):
        async for batch in batches:
            if data := encode(_shorten(batch)):
                yield data


def _shorten(batch: EventBatch) -> EventBatch:
    """Return a batch with its text in short parts."""
    events: list[tuple[int, StreamEvent]] = []
    after = batch.after
    for id_, event in batch.events:
        events += split_event(event, id_, Position.before(id_, after), SHORT_BYTES)
        after = id_
    return EventBatch(tuple(events), batch.after, batch.position, batch.end)
