"""A followed stream as server-sent events: aibind's own wire format (contract, section 5)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from .batch import EventBatch
from .sse import PING, encode_message
from .store import StreamEnd

__all__ = ["announced", "encode_batch", "encode_end"]


def encode_end(end: StreamEnd) -> bytes:
    """Encode how a stream ended: ``error`` with its message, or ``stopped``; then always ``done``."""
    done = encode_message("", event="done")
    if end.state == "error":
        return encode_message(end.error or "error", event="error") + done
    return encode_message("", event="stopped") + done if end.state == "stopped" else done


def encode_batch(batch: EventBatch) -> bytes:
    """Encode a batch: a message an event, then the end. An idle batch is a comment."""
    if batch.is_idle:
        return PING
    messages = [encode_message(event.data, id=id_, event=event.event) for id_, event in batch.events]
    if batch.end is not None:
        messages.append(encode_end(batch.end))
    return b"".join(messages)


async def announced(stream_id: str, body: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Put the stream's id before a body. Closing the result closes ``body``."""
    async with aclosing(body):
        yield encode_message(stream_id, id=stream_id, event="stream-id")
        async for data in body:
            yield data
