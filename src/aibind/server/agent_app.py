"""The ASGI app for pages that speak AG-UI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .access import Authorize
from .agent_endpoints import AgentEndpoints
from .app import App, serve_entrance, with_http_exceptions
from .bodies import BODY_TIMEOUT_S, MAX_BODY_BYTES, MAX_PENDING_BODY_BYTES, BodyReader
from .handler import StreamHandler

__all__ = ["create_agent_app"]


def create_agent_app(
    handler: StreamHandler,
    *,
    path: str = "/agent",
    options: Mapping[str, Any] | None = None,
    agents: Mapping[str, Mapping[str, Any]] | None = None,
    stop_on_close: bool = False,
    cors_origins: Sequence[str] = (),
    max_body_bytes: int = MAX_BODY_BYTES,
    authorize: Authorize | None = None,
    allowed_hosts: Sequence[str] = (),
    body_timeout_s: float | None = BODY_TIMEOUT_S,
    max_pending_body_bytes: int | None = MAX_PENDING_BODY_BYTES,
) -> App:
    """Return the ASGI app that clients of AG-UI (``HttpAgent``) and CopilotKit's pages run, connect to and stop.

    Mount it at the root. It serves ``POST {path}`` (run), ``POST {path}/connect`` (the messages of a thread, then the
    run under way in it), ``POST {path}/stop/{thread id}`` and ``GET {path}/files/{thread id}/{file}``. ``path`` is also
    what CopilotKit calls a ``runtimeUrl``: ``GET {path}/info``, and ``POST {path}/agent/{agent id}/run``, ``/connect``
    and ``/stop/{thread id}``, or all of these as ``POST {path}``. A thread is a session. Of the messages that a page
    sends, only the last one is used, and what is stored counts; a run that is sent twice is run once. Calls that wait
    for a user end a run with an interrupt, and ``resume`` answers them; calls of the page's own tools end a run too,
    and their results go on with it.

    ``options`` are fields of the endpoint ``stream`` that every run has, such as ``{"toolset": "search"}``; the page
    cannot change them. ``agents`` are the agents by their ids, each with such fields beside them; by default one,
    ``default``. Who names no agent gets the first. With ``stop_on_close`` a client that closes the connection of a run
    stops it, as ``abortRun()`` of an ``HttpAgent`` does; so does a connection that is lost. The other options are those
    of :func:`create_app`. ``authorize`` is asked for the actions ``stream``, ``approve``, ``attach``, ``stop`` and
    ``file``, and for ``list`` when a page asks which agents there are. Raises ValueError for a handler without
    ``resumable`` or ``conversations``, and for no agents.
    """
    endpoints = AgentEndpoints(
        handler,
        prefix=path,
        options=options or {},
        agents={"default": {}} if agents is None else agents,
        stop_on_close=stop_on_close,
        authorize=with_http_exceptions(authorize),
        allowed_hosts=allowed_hosts,
        allowed_origins=cors_origins,
    )
    bodies = BodyReader(max_body_bytes, body_timeout_s, max_pending_body_bytes)
    return serve_entrance(endpoints, bodies, cors_origins)
