"""The events of a reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._json import load_json

__all__ = ["ReplyEvent"]


@dataclass(frozen=True, slots=True)
class ReplyEvent:
    """One event of a reply. ``event`` is empty for text; ``id`` is its place in the stream, None where it has none.

    The events are those of the wire protocol, without the id of the stream and the end of the reply, which the reply
    itself has.
    """

    event: str
    data: str
    id: int | None = None

    @property
    def text(self) -> str:
        """The text of the answer in this event; empty for any other event."""
        return "" if self.event else self.data

    @property
    def json(self) -> Any:
        """The value of an event whose data is JSON, such as ``tool_call``. Raises ValueError for any other."""
        return load_json(self.data)
