"""Serving streams and conversations over HTTP: the endpoints and the ASGI app."""

from __future__ import annotations

from .._public import publish
from ..streams.response import HttpResponse
from .access import Access, Action, Authorize, HttpRequest, session_key
from .agent_app import create_agent_app
from .app import create_app
from .bodies import MAX_BODY_BYTES
from .busy import OnBusy
from .chat_app import create_chat_app
from .durable_routes import durable_response, resume_response
from .endpoints import DEFAULT_PREFIX, Endpoints
from .handler import StreamHandler
from .limits import Limits
from .recovery import Recovery
from .router import create_router
from .tools import Tool

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

publish(__name__, __all__)
