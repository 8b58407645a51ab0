"""An HTTP response without an HTTP library."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from .live_reader import LiveReader

__all__ = ["Body", "HttpResponse"]

Body: TypeAlias = bytes | AsyncGenerator[bytes, None]
"""The body of a response: whole, or produced as it is read."""

_BodyT_co = TypeVar("_BodyT_co", bound=Body, covariant=True)


@dataclass(frozen=True, slots=True)
class HttpResponse(Generic[_BodyT_co]):
    """An HTTP response: its status, its headers and its body.

    Close a body that is an iterator (``aclose()``) when the client disconnects. ``live`` is for hosts that send many
    bodies by one task: it is set when the body follows a stream that this process produces, and yields the same.
    """

    status: int
    headers: Mapping[str, str]
    body: _BodyT_co
    live: LiveReader | None = field(default=None, repr=False, compare=False)
