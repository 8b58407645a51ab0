"""Serving streams and conversations over HTTP: the endpoints and the ASGI app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import load_on_demand
from .._public import publish
from ..streams.response import HttpResponse
from .access import Access, Action, Authorize, HttpRequest, session_key
from .busy import OnBusy
from .handler import StreamHandler
from .limits import Limits
from .recovery import Recovery
from .tools import Tool

if TYPE_CHECKING:
    from .agent_app import create_agent_app
    from .app import create_app
    from .bodies import MAX_BODY_BYTES
    from .chat_app import create_chat_app
    from .durable_routes import durable_response, resume_response
    from .endpoints import DEFAULT_PREFIX, Endpoints
    from .router import create_router

__all__ = [
    "DEFAULT_PREFIX",
    "MAX_BODY_BYTES",
    "Access",
    "Action",
    "Authorize",
    "Endpoints",
    "HttpRequest",
    "HttpResponse",
    "Limits",
    "OnBusy",
    "Recovery",
    "StreamHandler",
    "Tool",
    "create_agent_app",
    "create_app",
    "create_chat_app",
    "create_router",
    "durable_response",
    "resume_response",
    "session_key",
]

_HOMES = {
    "agent_app": "create_agent_app",
    "app": "create_app",
    "bodies": "MAX_BODY_BYTES",
    "chat_app": "create_chat_app",
    "durable_routes": "durable_response resume_response",
    "endpoints": "DEFAULT_PREFIX Endpoints",
    "router": "create_router",
}

publish(__name__, __all__)
__getattr__ = load_on_demand(__name__, _HOMES)  # a handler needs none of them, and a start costs time


def __dir__() -> list[str]:
    return __all__
