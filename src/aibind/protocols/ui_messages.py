"""The UI message stream of Vercel's AI SDK, versions 5 to 7 (``x-vercel-ai-ui-message-stream: v1``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..streams.batch import EventBatch
from ..streams.events import StreamEvent
from ..streams.position import END_ID
from ..streams.sse import PING
from .ui_chunks import KINDS, ChunkWriter, Place
from .values import json_bytes

__all__ = ["UiMessageEncoder"]

_DONE = b"id: %d\ndata: [DONE]\n\n" % END_ID


@dataclass(frozen=True, slots=True)
class UiMessageEncoder:
    """The UI message stream of Vercel's AI SDK, which ``useChat`` reads.

    ``message_id`` is that of the message on the page; a replay must have the same. ``typed_tools`` are the names of the
    tools that the page knows by type, whose parts are ``tool-NAME``; those of all others are ``dynamic-tool``. A stream
    that continues a message comes after ``before``, the events that the message has from earlier streams; a page that
    has them, since it asked to go on, is not sent them (``sends_before``).

    The last chunk that an event becomes carries the event's id, the opening 0, and ``[DONE]`` that of the end. A client
    that has all up to an id continues after it (see :func:`respond`), and drops the chunks that it has beyond it.

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
        return _encode([{"type": "start", "messageId": self.message_id}, *begun], 0)

    def __call__(self, batch: EventBatch, /) -> tuple[bytes, UiMessageEncoder]:
        """Return the chunks of a batch; a comment for an idle one."""
        events, end = batch.events, batch.end
        place = self._place or self._begin().place
        if end is None and len(events) == 1 and place.kind:  # a live token, mostly
            id_, event = events[0]
            if KINDS.get(event.event) == place.kind:
                kind = place.kind.encode()
                text = json_bytes(event.data)
                delta = b'id: %d\ndata: {"type":"%b-delta","id":"%d","delta":%b}\n\n' % (id_, kind, place.number, text)
                return delta, self
        if batch.is_idle:
            return PING, self
        writer = ChunkWriter(place, self.typed_tools)
        messages: list[bytes] = []
        for id_, event in events:
            writer.add(event)
            messages.append(_encode(writer.take(), id_))
        if end is not None:
            writer.finish(end)
            messages += [_encode(writer.take()), _DONE]
        return b"".join(messages), self._at(writer.place)

    def _at(self, place: Place) -> UiMessageEncoder:
        return UiMessageEncoder(self.message_id, self.typed_tools, _place=place)

    def _begin(self) -> ChunkWriter:
        writer = ChunkWriter(Place(), self.typed_tools)
        for event in self.before:
            writer.add(event)
        writer.close_step()
        return writer


def _encode(chunks: Iterable[Mapping[str, Any]], id_: int | None = None) -> bytes:
    """Return the messages of chunks that belong together; the last one carries the id of the position after them."""
    messages = [b"data: %b\n\n" % json_bytes(chunk) for chunk in chunks]
    if messages and id_ is not None:
        messages[-1] = b"id: %d\n%b" % (id_, messages[-1])
    return b"".join(messages)
