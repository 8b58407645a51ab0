"""The Worker in front of the objects: it asks who may do what, and leads each request to its object."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .._json import is_object
from .._logging import log_fields
from ..errors import AibindError, RequestError, StreamNotFoundError
from ..server import DEFAULT_PREFIX, Access, Authorize, HttpRequest, HttpResponse
from ..server.access import ask_authorize, owner_of
from ..server.bodies import MAX_BODY_BYTES
from ..server.browser_modules import CLIENT_NAME, module_response
from ..server.entrance import not_found
from ..server.failures import answer_or_refuse
from ..server.guard import Guard, check_content_type
from ..server.responses import json_response
from ..server.sent_events import lost_reply
from ..streams.response import Body
from . import ffi, ffi_http
from .object_access import ACCESS_HEADER, write_access
from .object_engine import read_limited
from .object_routes import Route, find_route
from .session_index import SessionIndex

__all__ = ["ObjectRouter"]

_NOT_FORWARDED = frozenset({ACCESS_HEADER, "authorization", "cookie", "origin", "sec-fetch-site", "content-length"})
"""Headers that the router has acted upon, and the header that it alone sets."""

logger = logging.getLogger("aibind")

_EMPTY: HttpResponse[Body] = HttpResponse(204, {}, b"")


@dataclass(frozen=True, slots=True)
class _Destination:
    name: str
    route: Route
    access: Access | None


class ObjectRouter:
    """Leads requests to the objects of ``namespace``, a binding of a class that derives from DurableStreamObject.

    ::

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return await ObjectRouter(self.env.CHATS).fetch(request)

    A conversation is in one object, and so is a reply without a conversation; from the id of a stream its object is
    found. The body of an object's response is passed on by the runtime, and does not come through Python. The router
    holds nothing: make one for each request.

    ``authorize`` is asked before each request whose it is: see :data:`~aibind.server.Authorize`. What it grants goes
    along to the object, so that the ``context`` of an Access must be JSON. ``prefix``, ``allowed_hosts`` and
    ``max_body_bytes`` are as in :func:`~aibind.server.create_app`; pages of ``allowed_origins`` may change something as
    well. ``index`` is the list of conversations, which no object knows; without one, ``GET sessions`` is refused.

    Raises RuntimeError outside a Worker, and TypeError for anything but a namespace of objects.
    """

    def __init__(
        self,
        namespace: object,
        *,
        authorize: Authorize | None = None,
        prefix: str = DEFAULT_PREFIX,
        allowed_hosts: Iterable[str] = (),
        allowed_origins: Iterable[str] = (),
        max_body_bytes: int = MAX_BODY_BYTES,
        index: SessionIndex | None = None,
    ) -> None:
        self._index = index
        self._namespace = ffi.namespace_of(namespace, what="ObjectRouter")
        self._authorize = authorize
        self._prefix = prefix.rstrip("/")
        self._guard = Guard(allowed_hosts, allowed_origins)
        self._max_body_bytes = max_body_bytes

    def __repr__(self) -> str:
        return f"<ObjectRouter prefix={self._prefix!r}>"

    async def fetch(self, request: object) -> Any:
        """Answer a request: by the object that it is for, or by a refusal."""
        asked = ffi_http.read_request(request)
        found: list[_Destination] = []

        async def find() -> HttpResponse[Body]:
            destination = await self._find(asked)
            if isinstance(destination, HttpResponse):
                return destination
            found.append(destination)
            return _EMPTY

        refusal = await answer_or_refuse(find())
        if found:
            return await self._forward(asked, found[0])
        assert isinstance(refusal.body, bytes)
        return ffi_http.make_response(refusal.status, refusal.headers, refusal.body)

    async def _find(self, asked: ffi_http.JsRequest) -> _Destination | HttpResponse[Body]:
        """Return where a request is to go, or the response when that is known here. Raises RequestError."""
        self._guard.check(asked.method, asked.headers)
        url = urlsplit(asked.url)
        segments = self._below_prefix(url.path)
        if segments is None:
            return not_found()
        if asked.method == "GET" and segments == [CLIENT_NAME]:
            return module_response(CLIENT_NAME, asked.headers)

        async def read_body() -> bytes:
            check_content_type(asked.headers)
            return await read_limited(asked, self._max_body_bytes)

        route = await find_route(asked.method, segments, url.query, read_body)
        if route is None:
            return not_found()
        access = await self._enter(asked, route, url.path, url.query)
        if route.action == "list":
            if self._index is None:
                raise RequestError("This server does not list sessions: give its ObjectRouter an index", 501)
            return await self._index.list_sessions(parse_qs(url.query), owner=owner_of(access))
        if route.action == "resume" and not route.stream_id:
            raise RequestError("id parameter is required")
        name = route.object_name(owner_of(access), asked.headers.get("idempotency-key"))
        if name is not None:
            return _Destination(name, route, access)
        if route.action == "stop":
            return json_response({"ok": True})  # as for any stream that is unknown
        assert route.stream_id is not None
        return lost_reply(RequestError(str(StreamNotFoundError(route.stream_id)), 404), asked.headers)

    async def _enter(self, asked: ffi_http.JsRequest, route: Route, path: str, query: str) -> Access | None:
        if self._authorize is None:
            return None
        request = HttpRequest(asked.method, path, query, asked.headers)
        return await ask_authorize(self._authorize, request, route.action, route.session_id, route.stream_id)

    async def _forward(self, asked: ffi_http.JsRequest, destination: _Destination) -> Any:
        headers: Mapping[str, str] = {
            name: value for name, value in asked.headers.items() if name not in _NOT_FORWARDED
        }
        if destination.access is not None:
            headers = {**headers, ACCESS_HEADER: write_access(destination.access)}
        response = await ffi_http.ask_object(self._namespace, destination.name, asked, headers, destination.route.data)
        if self._index is not None and response.status < 300:
            ffi.wait_until(self._note(self._index, destination))
        return response

    async def _note(self, index: SessionIndex, destination: _Destination) -> None:
        """Keep the list of conversations up to date, after what an object has done."""
        route, owner = destination.route, owner_of(destination.access)
        if route.session_id is None:
            return
        body: Mapping[str, Any] = route.body if is_object(route.body) else {}
        try:
            if route.action in ("stream", "structured", "import"):
                prompt = body.get("prompt")
                await index.note(route.session_id, prompt if isinstance(prompt, str) else None, owner=owner)
            elif route.action == "delete":
                await index.remove(route.session_id, owner=owner)
            elif route.action == "change" and "title" in body:
                await index.rename(route.session_id, body["title"], owner=owner)
        except AibindError:
            logger.exception(
                "The list of conversations lacks a change of %s",
                route.session_id,
                extra=log_fields("session.index_failed", session_id=route.session_id),
            )

    def _below_prefix(self, path: str) -> list[str] | None:
        """Return the segments of a path that follow the prefix, still encoded; None for a path elsewhere."""
        segments = path.split("/")
        count = self._prefix.count("/") + 1
        return segments[count:] if unquote("/".join(segments[:count])) == self._prefix else None
