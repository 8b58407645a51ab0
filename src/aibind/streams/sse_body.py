"""A followed stream as server-sent events: aibind's own wire format (contract, section 5)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import lru_cache, partial

from .batch import EventBatch
from .position import END_ID
from .sse import PING, encode_message
from .store import StreamEnd

__all__ = ["announced", "announcement", "encode_batch", "encode_end", "encoder_of"]


def encode_end(end: StreamEnd, *, id: int | None = None) -> bytes:
    """Encode how a stream ended: ``error`` with its message, or ``stopped``; then always ``done``, with ``id``."""
    done = encode_message("", id=id, event="done")
    if end.state == "error":
        return encode_message(end.error or "error", event="error") + done
    return encode_message("", event="stopped") + done if end.state == "stopped" else done


def encode_batch(batch: EventBatch, *, end_id: int | None = END_ID) -> bytes:
    """Encode a batch: a message an event, then the end, with ``end_id``. An idle batch is a comment."""
    events, end = batch.events, batch.end
    if len(events) == 1 and end is None:  # a live token
        id_, event = events[0]
        return encode_message(event.data, id=id_, event=event.event)
    if batch.is_idle:
        return PING
    messages = [encode_message(event.data, id=id_, event=event.event) for id_, event in events]
    if end is not None:
        messages.append(encode_end(end, id=end_id))
    return b"".join(messages)


@lru_cache(maxsize=64)
def encoder_of(events: frozenset[str] | None, *, whole_chunks: bool = False) -> Callable[[EventBatch], bytes]:
    """Return the encoder of text, the end and the named ``events`` (None: all), as one object for equal arguments.

    Ids are those of the stream, so that a reader who resumes misses nothing of what it is sent, and receives none of it
    twice. A batch of which nothing is sent becomes empty bytes. With ``whole_chunks`` the end has no id, since it is
    not that of a chunk.
    """
    everything = partial(encode_batch, end_id=None) if whole_chunks else encode_batch
    if events is None:
        return everything

    def encode(batch: EventBatch) -> bytes:
        sent = tuple(item for item in batch.events if not item[1].event or item[1].event in events)
        if len(sent) == len(batch.events):
            return batch.share(encoder_of(None, whole_chunks=whole_chunks))
        if not sent and batch.end is None:
            return b""
        return everything(EventBatch(sent, batch.after, batch.position, batch.end))

    return encode


def announcement(stream_id: str) -> bytes:
    """Encode the message with a stream's id, which a new reply begins with."""
    return encode_message(stream_id, id=stream_id, event="stream-id")


async def announced(stream_id: str, body: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Put the stream's id before a body. Closing the result closes ``body``."""
    async with aclosing(body):
        yield announcement(stream_id)
        async for data in body:
            yield data
