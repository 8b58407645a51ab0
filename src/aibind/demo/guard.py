"""Security of the demo: headers of every response, and refusal of requests that the page did not make.

The demo has no login, and may hold a key that costs money. Other sites that its user visits must not be able to call
it: neither from the user's browser (a request from another origin), nor by a host name that they resolve to this
address (DNS rebinding, possible while the server listens on the loopback address).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from ..errors import RequestError
from ..server.guard import Guard

__all__ = ["CONTENT_SECURITY_POLICY", "GuardedApp"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

# Inline styles stay forbidden: a script sets the few that formulas need, one by one. Only DOMPurify, whose policy is
# named here, turns HTML into elements; "aibind" is the policy that allows the page's one worker.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify aibind"
)

_HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class GuardedApp:
    """An ASGI app around another one. ``local`` tells that only this machine can reach the server."""

    def __init__(self, app: App, *, local: bool) -> None:
        self._app = app
        self._guard = Guard(_LOOPBACK if local else ())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        cache = b"no-cache" if scope["path"].startswith("/static/") else b"no-store"

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [(name, value) for name, value in message["headers"] if name.lower() != b"cache-control"]
                message = {**message, "headers": [*given, *_HEADERS, (b"cache-control", cache)]}
            await send(message)

        try:
            self._guard.check_host(headers)
            # A link on another site may open the page (a navigation), but may not call an endpoint.
            if not (scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"):
                self._guard.check_origin(headers)
        except RequestError as error:
            await _refuse(send_guarded, error)
        else:
            await self._app(scope, receive, send_guarded)


async def _refuse(send: Send, error: RequestError) -> None:
    headers = [(b"content-type", b"text/plain;charset=utf-8")]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": str(error).encode()})
