"""The interface of wire formats: an encoder is what a format knows at one position of a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import ClassVar, Protocol

from ..streams.batch import EventBatch
from ..streams.position import Position
from ..streams.response import HttpResponse
from ..streams.skipping import Skip

__all__ = ["Encoder", "encoded", "respond"]


class Encoder(Protocol):
    """An encoder of a stream's events, at one position of the stream.

    It is a value: called with the next batch it returns the bytes of that batch and the encoder of the position after
    it, and stays as it is. Encoders are hashable, and equal when they would return the same, so that the followers of
    one position share the work (see :meth:`EventBatch.share`): frozen dataclasses are. A new one stands at the
    beginning of a stream.

    ``headers`` are those of a response. With ``replays`` a client that comes back is sent the stream from its
    beginning, with a new encoder; without, messages carry the ids of their events, what an event becomes does not
    depend on those before it, and the client is sent what follows the last id it has.

    How a batch was cut must not matter for what its events become, since live and stored events are cut differently:
    the pieces of one text may be joined, and nothing else may differ.
    """

    headers: ClassVar[Mapping[str, str]]
    replays: ClassVar[bool]

    @property
    def opening(self) -> bytes:
        """The bytes before the first event, which are sent at once; empty where a format has none."""
        ...

    def __call__(self, batch: EventBatch, /) -> tuple[bytes, Encoder]:
        """Return the encoded batch, and the encoder of what follows. An idle batch may become a heartbeat."""
        ...


async def encoded(batches: AsyncGenerator[EventBatch], encoder: Encoder) -> AsyncGenerator[bytes]:
    """Yield followed batches in a format, its opening first. Closing the result closes ``batches``."""
    async with aclosing(batches):
        if encoder.opening:
            yield encoder.opening
        async for batch in batches:
            data, encoder = batch.share(encoder)
            if data:
                yield data


async def encoded_after(
    batches: AsyncGenerator[EventBatch], encoder: Encoder, target: Position
) -> AsyncGenerator[bytes]:
    """Yield what follows a position, in a format, of batches from the beginning. Closing the result closes them."""
    skip: Skip | None = Skip(target)
    async with aclosing(batches):
        async for batch in batches:
            following: EventBatch | None = batch
            if skip is not None and not batch.is_idle:
                split = batch.share(skip)
                following, skip = split.rest, split.skip
                _, encoder = split.seen.share(encoder)
            if following is None:
                continue
            data, encoder = following.share(encoder)
            if data:
                yield data


def respond(
    batches: AsyncGenerator[EventBatch], encoder: Encoder, *, after: int | None = None
) -> HttpResponse[AsyncGenerator[bytes]]:
    """Return the response that follows a stream in a format.

    ::

        batches = await follow(store, stream_id, idle_s=15)
        response = respond(batches, UiMessageEncoder(stream_id))

    Follow from the beginning, unless the encoder says that its format does not replay. With ``after`` the body is what
    follows the message with this id, without the opening; ``batches`` begin at the beginning nevertheless, since what
    is left out decides what comes. Raises ValueError for an id out of range.
    """
    if after is None:
        return HttpResponse(200, encoder.headers, encoded(batches, encoder))
    return HttpResponse(200, encoder.headers, encoded_after(batches, encoder, Position.after(after)))
