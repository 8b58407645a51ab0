"""The events of a reply that a client is sent: all when it asks for them, else those that the JavaScript clients know.

The JavaScript clients show the data of an event that they do not know as the text of the answer. They resume a reply
again, for seconds, after any status but 2xx, and then show no error.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import RequestError
from ..streams.response import Body, HttpResponse
from ..streams.sse import HEADERS
from ..streams.sse_body import encode_end
from ..streams.store import StreamEnd

__all__ = ["JAVASCRIPT_EVENTS", "events_for", "lost_reply"]

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


def lost_reply(error: RequestError, headers: Mapping[str, str]) -> HttpResponse[Body]:
    """Return the response that tells a JavaScript client that the stream to resume is unknown: a reply that has failed.

    A client is taken for one of JavaScript when its request comes from a ``fetch``, which adds ``Sec-Fetch-Mode``, and
    does not accept event streams. For any other client, and any other status than 404, ``error`` is raised.
    """
    if error.status != 404 or "sec-fetch-mode" not in headers or events_for("stream", headers) is None:
        raise error
    return HttpResponse(200, HEADERS, encode_end(StreamEnd("error", str(error))))
