"""The ASGI app, to be mounted in Starlette or FastAPI, or served by itself."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import AbstractContextManager, aclosing
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

from ..errors import RequestError
from ..streams.response import Body, HttpResponse
from .access import Action, Authorize, Granted
from .bodies import BODY_TIMEOUT_S, MAX_BODY_BYTES, MAX_PENDING_BODY_BYTES, BodyReader, ClientGoneError
from .endpoints import DEFAULT_PREFIX, Endpoints
from .entrance import Entrance
from .handler import StreamHandler

__all__ = [
    "App",
    "AsgiApp",
    "Receive",
    "Scope",
    "Send",
    "create_app",
    "raw_path",
    "serve_entrance",
    "with_http_exceptions",
]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def create_app(
    handler: StreamHandler,
    *,
    prefix: str = DEFAULT_PREFIX,
    cors_origins: Sequence[str] = (),
    max_body_bytes: int = MAX_BODY_BYTES,
    authorize: Authorize | None = None,
    allowed_hosts: Sequence[str] = (),
    body_timeout_s: float | None = BODY_TIMEOUT_S,
    max_pending_body_bytes: int | None = MAX_PENDING_BODY_BYTES,
) -> App:
    """Return the ASGI app of a handler.

    Mount it at the root (``app.mount("/", create_app(handler))``) or at its prefix
    (``app.mount("/__aibind__", create_app(handler))``): both serve ``/__aibind__/stream``. Pages of the
    ``cors_origins`` may call it from their browsers (``["*"]``: all pages); this needs Starlette, which the extra
    ``server`` installs. Requests to change something from pages of any other site are refused with 403.

    Refused as well are requests for a host that is not in ``allowed_hosts`` (421; without any, all hosts are allowed),
    a body of more than ``max_body_bytes`` (413), one that takes longer than ``body_timeout_s`` seconds to arrive (408),
    and one of more than 64 KiB while all that are arriving hold ``max_pending_body_bytes`` (429). None is no limit.

    ``authorize`` is asked before each endpoint whose request it is: see :data:`Authorize`. It is given Starlette's
    ``Request``, so that it sees the ``user`` and the ``session`` of middleware in front of the app, and may refuse with
    Starlette's or FastAPI's ``HTTPException`` too. It cannot read the body, whose ids it is given. This needs Starlette
    as well.

    Raises ValueError for an option out of bounds.
    """
    endpoints = Endpoints(
        handler,
        prefix=prefix,
        authorize=with_http_exceptions(authorize),
        allowed_hosts=allowed_hosts,
        allowed_origins=cors_origins,
    )
    return serve_entrance(endpoints, BodyReader(max_body_bytes, body_timeout_s, max_pending_body_bytes), cors_origins)


def serve_entrance(
    entrance: Entrance, bodies: BodyReader, cors_origins: Sequence[str], *, exposed: Sequence[str] = ()
) -> App:
    """Return the ASGI app of endpoints, whose pages of ``cors_origins`` may read the headers ``exposed`` as well."""
    app: App = AsgiApp(entrance, bodies)
    if not cors_origins:
        return app
    try:
        from starlette.middleware.cors import CORSMiddleware
    except ImportError as error:
        raise ImportError('cors_origins needs starlette: install it with pip install "aibind[server]"') from error

    return CORSMiddleware(
        app,
        allow_origins=list(cors_origins),
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=[
            "Content-Type",
            "Last-Event-ID",
            "Authorization",
            "If-Match",
            "If-None-Match",
            "Idempotency-Key",
        ],
        expose_headers=["X-Stream-Id", "ETag", "Content-Disposition", "Retry-After", *exposed],
    )


_NEEDS_STARLETTE = 'authorize needs starlette: install it with pip install "aibind[server]"'


class AsgiApp:
    """The endpoints as an ASGI app."""

    def __init__(self, endpoints: Entrance, bodies: BodyReader) -> None:
        self._endpoints = endpoints
        self._bodies = bodies
        self._request: Callable[[Scope], object] | None = None
        if endpoints.asks:
            self._request = _starlette_request()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await _serve_lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"aibind serves HTTP, not {scope['type']}")
        request = self._request(scope) if self._request is not None else None
        response = await self.answer(scope, receive, raw_path(scope), request)
        if response is not None:
            await self.send(response, receive, send)

    async def answer(self, scope: Scope, receive: Receive, path: str, request: object) -> HttpResponse[Body] | None:
        """Return the response to a request, which ``authorize`` sees as ``request``; None when its client has gone."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            return await self._endpoints.answer(
                scope["method"],
                path,
                scope["query_string"].decode("latin-1"),
                headers,
                lambda: self._bodies.read(receive, headers.get("content-length", "")),
                request=request,
            )
        except ClientGoneError:
            return None

    async def send(self, response: HttpResponse[Body], receive: Receive, send: Send) -> None:
        """Send a response, until it ends, its client goes or the handler is shut down."""
        await _send_response(response, receive, send, self._endpoints.responding)


def with_http_exceptions(authorize: Authorize | None) -> Authorize | None:
    """Return a function that may also refuse with Starlette's HTTPException, of which FastAPI's is one."""
    if authorize is None:
        return None
    try:
        from starlette.exceptions import HTTPException
    except ImportError as error:
        raise ImportError(_NEEDS_STARLETTE) from error

    async def refuse_as_we_do(
        request: object, action: Action, session_id: str | None, stream_id: str | None
    ) -> Granted:
        try:
            granted = authorize(request, action, session_id, stream_id)
            return await granted if inspect.isawaitable(granted) else granted
        except HTTPException as error:
            raise RequestError(str(error.detail), error.status_code, headers=error.headers) from error

    return refuse_as_we_do


def _starlette_request() -> Callable[[Scope], object]:
    from starlette.requests import Request

    return Request


def raw_path(scope: Scope) -> str:
    """Return the path as the request had it, percent-encoded.

    ``raw_path`` is optional in ASGI, and of no use where a framework has cut ``path`` at a mount. Without it a slash in
    a session id cannot be told from others.
    """
    raw = bytes(scope.get("raw_path") or b"").partition(b"?")[0].decode("latin-1")
    path: str = scope["path"]
    return raw if unquote(raw) == path else quote(path, errors="replace")


async def _send_response(
    response: HttpResponse[Body],
    receive: Receive,
    send: Send,
    responding: Callable[[asyncio.Future[Any], asyncio.Future[Any]], AbstractContextManager[None]],
) -> None:
    """Send a response, until it ends, its client goes or ``leaving``, which waits for that, is cancelled."""
    headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in response.headers.items()]
    if isinstance(response.body, bytes):
        if response.status not in (204, 304):  # neither has a body: RFC 9110, section 8.6
            headers.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})
        return
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    sending = asyncio.ensure_future(_send_body(response.body, send))
    leaving = asyncio.ensure_future(_wait_for_disconnect(receive))
    try:
        with responding(sending, leaving):
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
        is_cut = not sending.done() and leaving.cancelled()
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.wait([sending, leaving])
    if is_cut:  # between two messages: the client resumes elsewhere
        await send({"type": "http.response.body", "body": b""})


async def _send_body(body: AsyncGenerator[bytes], send: Send) -> None:
    async with aclosing(body):
        async for data in body:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _serve_lifespan(receive: Receive, send: Send) -> None:
    """Confirm startup and shutdown: nothing is opened in the lifespan, which Workers run for each request."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
