"""The body of an endpoint's answer, an event stream or one JSON text, read without I/O."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import ModelError
from ...streams.sse import SseMessage, SseParser
from ..model import ModelEvent
from .reply import EndpointReply, cut_off

__all__ = ["EndpointAnswer"]

_MAX_WHOLE_BYTES = 16 * 1024 * 1024
"""Bytes of an answer in one piece: about as many as one message of a stream may have."""


class EndpointAnswer:
    """The body of one successful answer, whose messages go to a :class:`EndpointReply`.

    ``content_type`` is the answer's header. JSON in place of a stream is one message. Anything else is parsed as an
    event stream, since some endpoints give that another type. Raises ModelError at once for a web page.
    """

    def __init__(self, content_type: str, reply: EndpointReply) -> None:
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "text/html":
            raise ModelError("The model's endpoint answered with a web page, not an event stream: check base_url")
        self._reply = reply
        self._parser = None if kind.endswith("json") else SseParser()
        self._whole = bytearray()

    def __repr__(self) -> str:
        return f"<EndpointAnswer {'JSON' if self._parser is None else 'event stream'} {self._reply!r}>"

    def take(self, part: bytes | None) -> Iterator[ModelEvent]:
        """Yield the events of the next part of the body, or of its end, which is None. Raises ModelError."""
        if self._parser is None:
            yield from self._take_json(part)
            return
        for message in self._messages(self._parser, part):
            if self._reply.done:
                return
            if part is not None:
                yield from self._reply.feed(message.data, message.event)
                continue
            try:
                yield from self._reply.feed(message.data, message.event)
            except ModelError as error:
                if error.code != "malformed_reply":
                    raise
                if not self._reply.finished:  # the connection was cut inside a message
                    raise cut_off() from None

    def _take_json(self, part: bytes | None) -> Iterator[ModelEvent]:
        if part is None:
            yield from self._reply.feed(self._whole.decode("utf-8", "replace"))
            self._reply.done = True
        else:
            self._whole += part
            if len(self._whole) > _MAX_WHOLE_BYTES:
                raise ModelError("The model's endpoint answered in one piece that is over 16 MiB")

    def _messages(self, parser: SseParser, part: bytes | None) -> list[SseMessage]:
        try:
            return parser.flush() if part is None else parser.feed(part)
        except ValueError as error:
            raise ModelError(f"The model's endpoint sent too much at once: {error}") from error
