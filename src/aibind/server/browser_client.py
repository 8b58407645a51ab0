"""The JavaScript client that pages import from the server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache

from ..streams.response import Body, HttpResponse
from .session_wire import matches

__all__ = ["CLIENT_NAME", "client_response"]

CLIENT_NAME = "aibind.js"


def client_response(headers: Mapping[str, str]) -> HttpResponse[Body]:
    """Return the client's module, which anybody may read; 304 when the browser has it."""
    code, tag = _read()
    answer = {
        "Content-Type": "text/javascript; charset=utf-8",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",  # kept, and asked for again: it belongs to this version of the server
        "ETag": tag,
    }
    if matches(headers.get("if-none-match", ""), tag):
        return HttpResponse(304, answer, b"")
    return HttpResponse(200, answer, code)


@cache
def _read() -> tuple[bytes, str]:
    from importlib.resources import files  # imports random, which seeds itself: a Worker must not while it starts

    code = files("aibind.server").joinpath(CLIENT_NAME).read_bytes()
    return code, f'"{hashlib.sha256(code).hexdigest()[:32]}"'
