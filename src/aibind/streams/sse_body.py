"""A followed stream as server-sent events: aibind's own wire format (contract, section 5)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from .batch import EventBatch
from .sse import PING, encode_message
from .store import StreamEnd

__all__ = ["encode_batch", "encode_end", "sse_body"]


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


async def sse_body(batches: AsyncGenerator[EventBatch], announce: str | None = None) -> AsyncGenerator[bytes]:
    """Encode batches as they come, after a ``stream-id`` message when ``announce`` is the stream's id.

    Closing the body closes ``batches``.
    """
    async with aclosing(batches):
        if announce is not None:
            yield encode_message(announce, id=announce, event="stream-id")
        async for batch in batches:
            yield batch.share(encode_batch)
