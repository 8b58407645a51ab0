"""JavaScript's ``fetch`` as the transport of aibind's Python client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from .._time import timeout
from . import ffi, ffi_http

__all__ = ["FetchTransport"]


class FetchTransport:
    """Requests of :class:`~aibind.client.AsyncClient` through the ``fetch`` of a Worker, without sockets.

    Clients in a Worker take it by themselves. Give it a ``binding`` that has a method ``fetch``, such as that
    of another Worker or the stub of a Durable Object, raw or as the SDK wraps it, to send the requests there.

    Raises RuntimeError outside a Worker, and TypeError for anything but such a binding.
    """

    def __init__(self, binding: object = None) -> None:
        self._target = ffi.global_object(what="FetchTransport")
        self._has_binding = binding is not None
        if binding is not None:
            self._target = ffi.unwrap(binding, method="fetch", what="FetchTransport")

    def __repr__(self) -> str:
        return f"FetchTransport({'binding' if self._has_binding else ''})"

    async def open(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> _Response:
        """Send a request and return its response. Raises OSError when the server is out of reach."""
        request = ffi_http.Fetch(self._target)
        try:
            async with timeout(timeout_s):
                await request.send(method, url, headers, body)
        except BaseException as error:
            request.abort()
            _raise_lost(error, timeout_s)
        return _Response(request, timeout_s)

    async def aclose(self) -> None:
        """Do nothing: the runtime keeps the connections."""


class _Response:
    """A response, and an iterator of its body.

    Nothing here waits when it is closed, and nothing is a generator: Pyodide's event loop does not close those that
    are left, and one that waits while it is collected fails.
    """

    def __init__(self, request: ffi_http.Fetch, timeout_s: float) -> None:
        self.status = request.status
        self.headers: Mapping[str, str] = request.headers
        self._request = request
        self._timeout_s = timeout_s

    def __aiter__(self) -> _Response:
        return self

    async def __anext__(self) -> bytes:
        try:
            async with timeout(self._timeout_s):
                piece = await self._request.read()
        except BaseException as error:
            self._request.abort()
            _raise_lost(error, self._timeout_s)
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Abort the request, which closes its connection."""
        self._request.abort()


def _raise_lost(error: BaseException, timeout_s: float) -> NoReturn:
    """Raise what a failure of JavaScript means, or the error itself."""
    if isinstance(error, TimeoutError):
        raise ConnectionError(f"Nothing came for {timeout_s:g} s") from error
    text = ffi.failure_of(error)
    if text is None:
        raise error
    raise ConnectionError(text or "The connection was lost") from error
