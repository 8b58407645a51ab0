"""Plain text, and JSON lines: formats for scripts and for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..streams.batch import EventBatch
from ..streams.events import StreamEvent
from ..streams.position import END_ID
from ..streams.store import StreamEnd
from .values import json_bytes, value_of

__all__ = ["JsonLinesEncoder", "PlainTextEncoder"]


@dataclass(frozen=True, slots=True)
class PlainTextEncoder:
    """The text of a stream and nothing else. How it ended cannot be told: use JSON lines where it matters."""

    replays: ClassVar[bool] = True
    headers: ClassVar[Mapping[str, str]] = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache"}

    @property
    def opening(self) -> bytes:
        """Nothing."""
        return b""

    def __call__(self, batch: EventBatch, /) -> tuple[bytes, PlainTextEncoder]:
        """Return the text of the batch."""
        text = "".join(event.data for _, event in batch.events if event.is_text)
        return text.encode("utf-8", "replace"), self


@dataclass(frozen=True, slots=True)
class JsonLinesEncoder:
    """A JSON object in a line for each event, and one for the end.

    Text is ``{"id": 1, "text": "Hello"}``, a named event ``{"id": 2, "event": "usage", "data": {…}}``, and the end
    ``{"id": 9007199254740991, "end": "done"}``, with ``error`` when the stream failed. A client that comes back names
    the last id it has.
    """

    replays: ClassVar[bool] = False
    headers: ClassVar[Mapping[str, str]] = {"Content-Type": "application/x-ndjson", "Cache-Control": "no-cache"}

    @property
    def opening(self) -> bytes:
        """Nothing."""
        return b""

    def __call__(self, batch: EventBatch, /) -> tuple[bytes, JsonLinesEncoder]:
        """Return the lines of the batch."""
        lines = [json_bytes(_line(id_, event)) + b"\n" for id_, event in batch.events]
        if batch.end is not None:
            lines.append(json_bytes(_last_line(batch.end)) + b"\n")
        return b"".join(lines), self


def _line(id_: int, event: StreamEvent) -> dict[str, Any]:
    if event.is_text:
        return {"id": id_, "text": event.data}
    data = event.data if event.grows else value_of(event.data)
    return {"id": id_, "event": event.event, "data": data}


def _last_line(end: StreamEnd) -> dict[str, Any]:
    line: dict[str, Any] = {"id": END_ID, "end": end.state}
    return line if end.state != "error" else {**line, "error": end.error or "error"}
