"""The ASGI app for pages with the AI SDK."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .access import Authorize
from .app import App, serve_entrance, with_http_exceptions
from .bodies import BODY_TIMEOUT_S, MAX_BODY_BYTES, MAX_PENDING_BODY_BYTES, BodyReader
from .chat_endpoints import ChatEndpoints
from .handler import StreamHandler

__all__ = ["create_chat_app"]

_EXPOSED = ("X-Resumable-Stream-Id", "X-Vercel-AI-UI-Message-Stream")


def create_chat_app(
    handler: StreamHandler,
    *,
    api: str = "/api/chat",
    options: Mapping[str, Any] | None = None,
    typed_tools: Collection[str] = (),
    replay_ended: bool = True,
    stop_on_close: bool = False,
    cors_origins: Sequence[str] = (),
    max_body_bytes: int = MAX_BODY_BYTES,
    authorize: Authorize | None = None,
    allowed_hosts: Sequence[str] = (),
    body_timeout_s: float | None = BODY_TIMEOUT_S,
    max_pending_body_bytes: int | None = MAX_PENDING_BODY_BYTES,
) -> App:
    """Return the ASGI app that Vercel's AI SDK (``useChat``) and assistant-ui send their messages to and resume on.

    Mount it above its path (``app.mount("/api", create_chat_app(handler))``) or at the root. It serves ``POST {api}``,
    ``GET {api}/{id}/stream``, ``POST {api}/{id}/stop``, ``GET {api}/{id}`` (the stored messages) and ``GET
    {api}/resume/{stream id}``, for pages with any of the versions 5 to 7. The chat's id is that of the session. Of the
    history that a page sends, only the last message is used, and what is stored counts; a message that is sent twice
    is answered once.

    ``options`` are fields of the endpoint ``stream`` that every turn has, such as ``{"toolset": "search"}``; the page
    cannot change them. ``typed_tools`` are the names of the tools that the page declares by type. With ``replay_ended``
    a reply that has ended meanwhile is sent to a page that reconnects, for as long as its store keeps it: versions of
    the AI SDK from before replays were recognised (7.0.138, and a late 6) would show it twice. With ``stop_on_close``
    a page that closes the connection of its ``POST`` stops the reply, as ``stop()`` does without another request; so
    does a connection that is lost.

    The other options are those of :func:`create_app`. ``authorize`` is asked for the actions ``stream``, ``approve``,
    ``attach``, ``resume``, ``stop``, ``open`` and ``file``. Raises ValueError for a handler without ``resumable`` or
    ``conversations``.
    """
    endpoints = ChatEndpoints(
        handler,
        api=api,
        options=options or {},
        typed_tools=typed_tools,
        replay_ended=replay_ended,
        stop_on_close=stop_on_close,
        authorize=with_http_exceptions(authorize),
        allowed_hosts=allowed_hosts,
        allowed_origins=cors_origins,
    )
    bodies = BodyReader(max_body_bytes, body_timeout_s, max_pending_body_bytes)
    return serve_entrance(endpoints, bodies, cors_origins, exposed=_EXPOSED)
