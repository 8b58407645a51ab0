"""Serving streams and conversations over HTTP: the endpoints and the ASGI app."""

from __future__ import annotations

from .app import create_app
from .endpoints import DEFAULT_PREFIX, MAX_BODY_BYTES, Endpoints
from .handler import StreamHandler
from .reply import Reply
from .tools import Tool

__all__ = ["DEFAULT_PREFIX", "MAX_BODY_BYTES", "Endpoints", "Reply", "StreamHandler", "Tool", "create_app"]
