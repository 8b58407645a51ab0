"""HTTP for the client with an event loop: the interface, and how its implementation is chosen."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import httpx2

__all__ = ["ClientTransport", "TransportResponse", "choose_transport"]


class TransportResponse(Protocol):
    """An HTTP response whose head has arrived. The names of ``headers`` are in lower case."""

    @property
    def status(self) -> int:
        """The status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the pieces of the body, decompressed, as they arrive. Raises OSError when the connection is lost."""
        ...

    async def aclose(self) -> None:
        """Close the connection, in the middle of the body too. May be called twice."""
        ...


@runtime_checkable
class ClientTransport(Protocol):
    """A way to send HTTP requests."""

    async def open(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> TransportResponse:
        """Send a request and return its response, which the caller closes. Redirects are not followed.

        ``timeout_s`` is the longest silence in seconds, before the head and between two pieces of the body. Raises
        OSError when the server is out of reach.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections that are kept for other requests."""
        ...


def choose_transport(http: httpx2.AsyncClient | ClientTransport | None, *, trust_env: bool) -> ClientTransport:
    """Return the transport of a client that was given ``http``.

    Without one it is httpx2, and in a Worker JavaScript's ``fetch``. Raises ImportError where httpx2 is missing.
    """
    if isinstance(http, ClientTransport):
        return http
    if http is None and sys.platform == "emscripten":
        from ..cloudflare.fetch import FetchTransport

        return FetchTransport()
    from .httpx_transport import HttpxTransport

    return HttpxTransport(http, trust_env=trust_env)
