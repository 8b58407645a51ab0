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
    batches: AsyncGenerator[EventBatch], position: Position, encode: Callable[[EventBatch], bytes]
) -> AsyncGenerator[bytes]:
    """Yield batches that were followed from ``position``, encoded, with all text in short messages of an id each.

    Batches of which nothing is sent are left out. Closing the result closes ``batches``.
    """
    async with aclosing(batches):
        async for batch in batches:
            batch, position = _shorten(batch, position)
            if data := encode(batch):
                yield data


def _shorten(batch: EventBatch, position: Position) -> tuple[EventBatch, Position]:
    """Return a batch that begins at a position with its text in short parts, and the position after it."""
    events: list[tuple[int, StreamEvent]] = []
    for id_, event in batch.events:
        reached = Position.after(id_)
        seq = reached.seq if reached.offset else reached.seq - 1
        # A position counts the characters of text, in a growing chunk and in one of several events alike.
        events += split_event(event, id_, position if position.seq == seq else Position(seq), SHORT_BYTES)
        position = reached
    return EventBatch(tuple(events), batch.position, batch.end), position
