"""The JavaScript modules that pages import from the server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache

from ..streams.response import Body, HttpResponse
from .session_wire import matches

__all__ = ["CLIENT_NAME", "TRANSPORT_NAME", "module_response"]

CLIENT_NAME = "aibind.js"
TRANSPORT_NAME = "transport.js"


def module_response(name: str, headers: Mapping[str, str]) -> HttpResponse[Body]:
    """Return a module, which anybody may read; 304 when the browser has it."""
    code, tag = _read(name)
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
def _read(name: str) -> tuple[bytes, str]:
    from importlib.resources import files  # imports random, which seeds itself: a Worker must not while it starts

    code = files("aibind.server").joinpath(name).read_bytes()
    return code, f'"{hashlib.sha256(code).hexdigest()[:32]}"'
