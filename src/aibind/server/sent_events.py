"""The events that a client is sent: all of them when it asks, else those that the JavaScript clients know.

The JavaScript clients show the data of an event that they do not know as the text of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["JAVASCRIPT_EVENTS", "events_for"]

JAVASCRIPT_EVENTS: Mapping[str, frozenset[str]] = {
    "stream": frozenset({"usage"}),
    "structured": frozenset({"partial", "data", "usage"}),
    "chat": frozenset({"tool_call", "usage"}),
}
"""The named events that the JavaScript client of each endpoint knows, beside ``stream-id`` and those of the end."""


def events_for(endpoint: str, headers: Mapping[str, str]) -> frozenset[str] | None:
    """Return the names of the events to send from an endpoint; None for all, to a client that accepts event streams.

    A client says so with ``Accept: text/event-stream``, as a browser's ``EventSource`` does by itself and a ``fetch``
    without headers does not.
    """
    ranges = headers.get("accept", "").split(",")
    if any(media_range.partition(";")[0].strip().lower() == "text/event-stream" for media_range in ranges):
        return None
    return JAVASCRIPT_EVENTS[endpoint]
