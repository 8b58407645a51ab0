"""The UI message stream of Vercel's AI SDK, versions 5 to 7 (``x-vercel-ai-ui-message-stream: v1``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..streams.batch import EventBatch
from ..streams.events import StreamEvent
from ..streams.sse import PING
from .ui_chunks import KINDS, ChunkWriter, Place
from .values import json_bytes

__all__ = ["UiMessageEncoder"]

_DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class UiMessageEncoder:
    """The UI message stream of Vercel's AI SDK, which ``useChat`` reads.

    ``message_id`` is that of the message on the page; a replay must have the same. ``typed_tools`` are the names of the
    tools that the page knows by type, whose parts are ``tool-NAME``; those of all others are ``dynamic-tool``. A stream
    that continues a message comes after ``before``, the events that the message has from earlier streams; a page that
    has them, since it asked to go on, is not sent them (``sends_before``).

    Custom events named ``file`` and ``source`` (or ``citation``, ``annotation``) with a URL are files and sources, and
    any other is a part ``data-NAME``, which takes the place of an earlier one with the same ``id`` in its data. Usage
    is the message's metadata.
    """

    message_id: str
    typed_tools: frozenset[str] = frozenset()
    before: tuple[StreamEvent, ...] = ()
    sends_before: bool = True
    _place: Place | None = field(default=None, repr=False)

    replays: ClassVar[bool] = True
    headers: ClassVar[Mapping[str, str]] = {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-cache",
        "X-Vercel-AI-UI-Message-Stream": "v1",
        "X-Accel-Buffering": "no",
    }

    @property
    def opening(self) -> bytes:
        """The chunk that begins the message, and what the message has from earlier streams."""
        begun = self._begin().chunks if self.sends_before else ()
        return _encode([{"type": "start", "messageId": self.message_id}, *begun])

    def __call__(self, batch: EventBatch, /) -> tuple[bytes, UiMessageEncoder]:
        """Return the chunks of a batch; a comment for an idle one."""
        events, end = batch.events, batch.end
        place = self._place or self._begin().place
        if end is None and len(events) == 1 and place.kind:  # a live token, mostly
            event = events[0][1]
            if KINDS.get(event.event) == place.kind:
                kind = place.kind.encode()
                text = json_bytes(event.data)
                return b'data: {"type":"%b-delta","id":"%d","delta":%b}\n\n' % (kind, place.number, text), self
        if batch.is_idle:
            return PING, self
        writer = ChunkWriter(place, self.typed_tools)
        for _, event in events:
            writer.add(event)
        if end is None:
            return _encode(writer.chunks), self._at(writer.place)
        writer.finish(end)
        return _encode(writer.chunks) + _DONE, self._at(writer.place)

    def _at(self, place: Place) -> UiMessageEncoder:
        return UiMessageEncoder(self.message_id, self.typed_tools, _place=place)

    def _begin(self) -> ChunkWriter:
        writer = ChunkWriter(Place(), self.typed_tools)
        for event in self.before:
            writer.add(event)
        writer.close_step()
        return writer


def _encode(chunks: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join([b"data: %b\n\n" % json_bytes(chunk) for chunk in chunks])
