"""The way of every request to an endpoint: past the guard, the prefix, and the host's ``authorize``."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol
from urllib.parse import unquote

from ..streams.response import Body, HttpResponse
from .access import Access, Action, Authorize, HttpRequest, ask_authorize
from .failures import answer_or_refuse
from .guard import Guard, check_content_type
from .handler import StreamHandler
from .responses import text_response
from .session_routes import ReadBody

__all__ = ["Enter", "Entrance", "not_found"]


class Enter(Protocol):
    """A function that asks whether a request may do something."""

    def __call__(
        self, action: Action, session_id: str | None, stream_id: str | None = None
    ) -> Awaitable[Access | None]:
        """Return what the request is granted. Raises RequestError when it is refused."""
        ...


class Entrance(ABC):
    """The endpoints of a handler below a path prefix, whatever they are."""

    def __init__(
        self,
        handler: StreamHandler,
        *,
        prefix: str,
        authorize: Authorize | None,
        allowed_hosts: Iterable[str],
        allowed_origins: Iterable[str],
    ) -> None:
        if prefix and not prefix.startswith("/"):
            raise ValueError(f"prefix is {prefix!r}: begin it with a slash")
        self._handler = handler
        self._prefix = prefix.rstrip("/")
        self._authorize = authorize
        self._guard = Guard(allowed_hosts, allowed_origins)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} prefix={self._prefix!r} of {self._handler!r}>"

    @property
    def asks(self) -> bool:
        """Whether ``authorize`` is asked about each request."""
        return self._authorize is not None

    def responding(self, sending: asyncio.Future[Any], leaving: asyncio.Future[Any]) -> AbstractContextManager[None]:
        """Note a response while it is sent: see :meth:`StreamHandler.responding`."""
        return self._handler.responding(sending, leaving)

    async def answer(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        read_body: ReadBody,
        *,
        request: object = None,
    ) -> HttpResponse[Body]:
        """Return the response to a request, whatever goes wrong.

        ``path`` is percent-encoded, as in the request's line, so that a session id may hold a slash. ``headers`` has
        lower-case names, and ``query`` is the raw query string. ``read_body`` is called only for an endpoint that takes
        a body. ``authorize`` is given ``request``, by default a :class:`HttpRequest` of these. Raises only what
        ``read_body`` raises as ClientGoneError.
        """
        asked: object = HttpRequest(method, path, query, headers) if request is None else request

        async def read_json() -> bytes | bytearray:
            check_content_type(headers)
            return await read_body()

        async def enter(action: Action, session_id: str | None, stream_id: str | None = None) -> Access | None:
            if self._authorize is None:
                return None
            return await ask_authorize(self._authorize, asked, action, session_id, stream_id)

        async def answer() -> HttpResponse[Body]:
            self._guard.check(method, headers)
            segments = self._below_prefix(path)
            if segments is None:
                return not_found()
            return await self._answer(method, segments, query, headers, read_json, enter)

        return await answer_or_refuse(answer())

    @abstractmethod
    async def _answer(
        self,
        method: str,
        segments: list[str],
        query: str,
        headers: Mapping[str, str],
        read_json: ReadBody,
        enter: Enter,
    ) -> HttpResponse[Body]:
        """Return the response to a request for the percent-encoded segments of a path below the prefix."""

    def _below_prefix(self, path: str) -> list[str] | None:
        """Return the segments of a path that follow the prefix, still encoded; None for a path elsewhere."""
        segments = path.split("/")
        count = self._prefix.count("/") + 1
        return segments[count:] if unquote("/".join(segments[:count])) == self._prefix else None


def not_found() -> HttpResponse[Body]:
    """Return the response to a request for what is not there."""
    return text_response("Not Found", 404, content_type="text/plain;charset=UTF-8")
