"""Details of earlier replies that only their streams still hold: reasoning, tool calls, usage and errors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from .._json import is_object, load_json
from ..errors import StreamNotFoundError
from ..server.recovery import read_reply
from ..streams import StreamEvent
from ..streams.store import StreamStore

__all__ = ["ReplyDetails"]

MAX_KNOWN = 512


class ReplyDetails:
    """The details of replies by stream id, as the page shows them; those of streams that have ended are cached.

    They are ``reasoning``, ``tools``, ``usage`` and ``error``, as far as the reply has them.
    """

    def __init__(self, streams: StreamStore) -> None:
        self._streams = streams
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()

    async def read(self, stream_id: str) -> dict[str, Any]:
        """Return a reply's details; an empty dict when its stream has expired."""
        if stream_id in self._known:
            self._known.move_to_end(stream_id)
            return self._known[stream_id]
        try:
            reply = await read_reply(self._streams, stream_id)
        except StreamNotFoundError:
            return {}
        details = _details_of(reply.events)
        if reply.end is not None:
            if reply.end.error:
                details["error"] = reply.end.error
            self._known[stream_id] = details
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return details


def _details_of(events: Iterable[StreamEvent]) -> dict[str, Any]:
    details: dict[str, Any] = {}
    for event in events:
        if event.event == "reasoning":
            details["reasoning"] = details.get("reasoning", "") + event.data
        elif event.event in ("tool_call", "tool_result"):
            details.setdefault("tools", []).append({"event": event.event, **_json_object(event.data)})
        elif event.event == "usage":
            details["usage"] = _json_object(event.data)
    return details


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = load_json(text)
    except (ValueError, RecursionError):
        return {}
    return value if is_object(value) else {}
