"""The action that a request asks for, and the ids that it names, before it is known who asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs, unquote

from ..errors import RequestError
from ..server.access import Action
from ..server.claims import claim_of
from ..server.json_body import parse_json
from ..server.requests import ids_in
from ..server.session_requests import check_session_id, imported_id
from ..server.session_routes import ReadBody
from .object_names import object_of_reply, object_of_session, object_of_stream, object_without_stream

__all__ = ["Route", "find_route"]

_STREAMS: Mapping[str, Action] = {"stream": "stream", "structured": "structured", "chat": "chat"}

_OTHERS: Mapping[str, Action] = {"complete": "complete", "title": "title", "compact": "compact"}

_OF_SESSION: Mapping[tuple[str, str], Action] = {
    ("GET", ""): "open",
    ("PATCH", ""): "change",
    ("DELETE", ""): "delete",
    ("GET", "stream"): "attach",
    ("GET", "socket"): "attach",
    ("GET", "export"): "export",
    ("GET", "approvals"): "approvals",
    ("POST", "approvals"): "approve",
}


@dataclass(frozen=True, slots=True)
class Route:
    """The purpose of a request. ``data`` is its body, ``body`` that as a value, and ``error`` what is wrong with it."""

    action: Action
    session_id: str | None = None
    stream_id: str | None = None
    data: bytes = b""
    body: Any = None
    error: RequestError | None = None

    def object_name(self, owner: str | None, request_id: str | None) -> str | None:
        """Return the name of the object to ask; None when the stream is in none. Raises RequestError as its body is."""
        if self.error is not None:
            raise self.error
        if self.stream_id is not None:
            return object_of_stream(self.stream_id)
        if self.session_id is not None:
            return object_of_session(self.session_id, owner)
        if self.action in _STREAMS:
            return object_of_reply(claim_of(self.action, self.body, request_id, owner=owner))
        return object_without_stream()


async def find_route(method: str, segments: list[str], query: str, read_body: ReadBody) -> Route | None:
    """Return what a request is for, by the percent-encoded segments of its path; None for nothing that is there."""
    fields = parse_qs(query, keep_blank_values=True)
    if segments[:1] == ["sessions"]:
        return await _session_route(method, segments[1:], fields, read_body)
    name = unquote("/".join(segments))
    endpoint, _, last = name.rpartition("/")
    if method == "GET" and last == "resume" and endpoint in _STREAMS:
        return Route("resume", stream_id=fields.get("id", [""])[0])
    if method != "POST":
        return None
    if last == "stop" and endpoint in _STREAMS:
        return await _read("stop", read_body)
    if last == "compact" and endpoint in _STREAMS:
        return await _read("compact", read_body)
    action = _STREAMS.get(name) or _OTHERS.get(name)
    return await _read(action, read_body) if action is not None else None


async def _session_route(
    method: str, segments: list[str], fields: Mapping[str, list[str]], read_body: ReadBody
) -> Route | None:
    if not segments:
        return Route("list") if method == "GET" else None
    if not segments[0] or len(segments) > 3:
        return None
    session_id = check_session_id(segments[0])
    if len(segments) == 3:
        return Route("file", session_id) if method == "GET" and segments[1] == "files" else None
    if method == "POST" and session_id == "import" and len(segments) == 1:
        named = imported_id(fields)
        if named is None:
            raise RequestError("sessionId is required: each session has its own object here")
        return Route("import", named, data=bytes(await read_body()))
    action = _OF_SESSION.get((method, segments[1] if len(segments) == 2 else ""))
    if action is None:
        return None
    if method == "PATCH":
        return await _read(action, read_body, session_id)
    return Route(action, session_id, data=bytes(await read_body()) if method == "POST" else b"")


async def _read(action: Action, read_body: ReadBody, session_id: str | None = None) -> Route:
    """Return the route of a request with a body; nobody is told what is wrong with it before they are known."""
    try:
        data = bytes(await read_body())
        body = await parse_json(data)
        found = ids_in(body, action=action) if session_id is None else (session_id, None)
    except RequestError as error:
        return Route(action, session_id, error=error)
    return Route(action, *found, data, cast("object", body))
