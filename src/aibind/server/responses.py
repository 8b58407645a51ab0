"""The responses that are not streams: JSON, errors and text."""

from __future__ import annotations

from typing import Any

from .._json import compact_json
from ..streams.response import Body, HttpResponse

__all__ = ["error_response", "json_response", "text_response"]


def json_response(value: Any, status: int = 200) -> HttpResponse[Body]:
    """Return ``value`` as JSON."""
    headers = {"Content-Type": "application/json"}
    return HttpResponse(status, headers, compact_json(value).encode("utf-8", "replace"))


def error_response(message: str, status: int, **more: str) -> HttpResponse[Body]:
    """Return ``{"error": message}``, with more fields."""
    return json_response({"error": message, **more}, status)


def text_response(text: str, status: int = 200, *, content_type: str = "text/plain") -> HttpResponse[Body]:
    """Return plain text."""
    return HttpResponse(status, {"Content-Type": content_type}, text.encode("utf-8", "replace"))
