"""Serving streams and conversations over HTTP: the endpoints and the ASGI app."""

from __future__ import annotations

from .._public import publish
from ..streams.response import HttpResponse
from .app import create_app
from .busy import OnBusy
from .endpoints import DEFAULT_PREFIX, MAX_BODY_BYTES, Endpoints
from .handler import StreamHandler
from .recovery import Recovery
from .tools import Tool

__all__ = [
    "DEFAULT_PREFIX",
    "MAX_BODY_BYTES",
    "Endpoints",
    "HttpResponse",
    "OnBusy",
    "Recovery",
    "StreamHandler",
    "Tool",
    "create_app",
]

publish(__name__, __all__)
