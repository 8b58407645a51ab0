"""The interface of wire formats: an encoder is what a format knows at one position of a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import ClassVar, Protocol

from ..streams.batch import EventBatch
from ..streams.response import HttpResponse

__all__ = ["Encoder", "encoded", "respond"]


class Encoder(Protocol):
    """An encoder of a stream's events, at one position of the stream.

    It is a value: called with the next batch it returns the bytes of that batch and the encoder of the position after
    it, and stays as it is. Encoders are hashable, and equal when they would return the same, so that the followers of
    one position share the work (see :meth:`EventBatch.share`): frozen dataclasses are. A new one stands at the
    beginning of a stream.

    ``headers`` are those of a response. With ``replays`` a client that comes back is sent the stream from its
    beginning, with a new encoder; without, messages carry the ids of their events, and it is sent what follows the last
    id it has.

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


def respond(batches: AsyncGenerator[EventBatch], encoder: Encoder) -> HttpResponse[AsyncGenerator[bytes]]:
    """Return the response that follows a stream in a format.

    ::

        batches = await follow(store, stream_id, idle_s=15)
        response = respond(batches, UiMessageEncoder(stream_id))

    Follow from the beginning, unless the encoder says that its format does not replay.
    """
    return HttpResponse(200, encoder.headers, encoded(batches, encoder))
