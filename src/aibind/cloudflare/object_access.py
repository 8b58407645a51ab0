"""The access that a request was granted, on its way from a router to an object: in a header that the router sets."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .._json import is_object
from ..server import Access, Action

__all__ = ["ACCESS_HEADER", "granted", "write_access"]

ACCESS_HEADER = "aibind-access"


def write_access(access: Access) -> str:
    """Return the value of the header. Raises TypeError for a context that is not JSON."""
    return json.dumps({"owner": access.owner, "context": access.context})


def granted(request: object, action: Action, session_id: str | None, stream_id: str | None) -> Access:  # noqa: ARG001
    """Return what the router granted: the ``authorize`` of an object's endpoints."""
    headers: Mapping[str, str] = getattr(request, "headers", {})
    access: object = json.loads(headers[ACCESS_HEADER])
    if not is_object(access):
        raise TypeError(f"The header {ACCESS_HEADER} is no object")
    return Access(access["owner"], access["context"])
