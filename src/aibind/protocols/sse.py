"""aibind's own format: server-sent events with an id each (contract, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..streams.batch import EventBatch
from ..streams.sse import HEADERS, encode_message
from ..streams.sse_body import encode_batch

__all__ = ["SseEncoder"]


@dataclass(frozen=True, slots=True)
class SseEncoder:
    """aibind's server-sent events, after which a client resumes at the exact character.

    ``stream_id`` is announced first; leave it out for a client that comes back with an id.
    """

    stream_id: str | None = None

    replays: ClassVar[bool] = False
    headers: ClassVar[Mapping[str, str]] = HEADERS

    @property
    def opening(self) -> bytes:
        """The message that tells the stream's id."""
        if self.stream_id is None:
            return b""
        return encode_message(self.stream_id, id=self.stream_id, event="stream-id")

    def __call__(self, batch: EventBatch, /) -> tuple[bytes, SseEncoder]:
        """Return a message for each event, and for the end; a comment for an idle batch."""
        return batch.share(encode_batch), self
