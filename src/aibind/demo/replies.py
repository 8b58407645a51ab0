"""What streams still know of earlier replies: reasoning, tool calls, usage, errors, and text that was never saved."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, cast

from ..errors import StreamNotFoundError
from ..streams.store import StreamEnd, StreamStore

__all__ = ["StoredReplies", "StoredReply"]

_MOST = 512


@dataclass(frozen=True, slots=True)
class StoredReply:
    """Is a reply as its stream holds it. ``end`` is None while somebody produces it."""

    text: str
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    end: StreamEnd | None = None


class StoredReplies:
    """Reads streams once more, and remembers the details of those that have ended.

    A conversation holds what was said; ``reasoning``, ``tools``, ``usage`` and ``error`` are only in its streams.
    """

    def __init__(self, streams: StreamStore) -> None:
        self._streams = streams
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()

    async def details(self, stream_id: str) -> dict[str, Any]:
        """Return what there is beside the text; nothing when the stream has expired."""
        if stream_id in self._known:
            self._known.move_to_end(stream_id)
            return self._known[stream_id]
        reply = await self.read(stream_id)
        return reply.details if reply else {}

    async def read(self, stream_id: str) -> StoredReply | None:
        """Read a whole stream; None when it has expired. A producer whose lease ran out counts as lost."""
        pieces: list[str] = []
        details: dict[str, Any] = {}
        after_seq = 0
        try:
            page = await self._streams.read_page(stream_id)
            while True:
                for chunk in page.chunks:
                    event = chunk.event
                    if event.is_text:
                        pieces.append(event.data)
                    else:
                        _note(details, event.event, event.data)
                if not page.has_more:
                    break
                after_seq = page.chunks[-1].seq
                page = await self._streams.read_page(stream_id, after_seq)
        except StreamNotFoundError:
            return None
        end = page.status.end
        if end is None and page.status.expires_at <= time.time() * 1000:
            end = StreamEnd("error", "producer lost")
        if end is not None and end.error:
            details["error"] = end.error
        if end is not None:
            self._remember(stream_id, details)
        return StoredReply("".join(pieces), details, end)

    def _remember(self, stream_id: str, details: dict[str, Any]) -> None:
        self._known[stream_id] = details
        if len(self._known) > _MOST:
            self._known.popitem(last=False)


def _note(details: dict[str, Any], name: str, data: str) -> None:
    if name == "reasoning":
        details["reasoning"] = details.get("reasoning", "") + data
    elif name in ("tool_call", "tool_result"):
        details.setdefault("tools", []).append({"event": name, **_json_object(data)})
    elif name == "usage":
        details["usage"] = _json_object(data)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
