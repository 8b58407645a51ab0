"""The transport over httpx2."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import contextmanager
from typing import NoReturn

try:
    import httpx2
except ImportError as error:
    raise ImportError('aibind.client needs httpx2: install it with pip install "aibind[http]"') from error

__all__ = ["HttpxTransport"]


class HttpxTransport:
    """Requests through an ``httpx2.AsyncClient``: one that was given, or a new one."""

    def __init__(self, http: httpx2.AsyncClient | None, *, trust_env: bool) -> None:
        self._http = http or httpx2.AsyncClient(trust_env=trust_env)

    async def open(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> _Response:
        """Send a request and return its response."""
        with _lost_connections():
            request = self._http.build_request(method, url, headers=headers, content=body, timeout=timeout_s)
            return _Response(await self._http.send(request, stream=True))

    async def aclose(self) -> None:
        """Close the ``httpx2.AsyncClient``."""
        await self._http.aclose()


class _Response:
    """A response of httpx2."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _lost_connections():
            async for piece in self._response.aiter_bytes():
                yield piece

    async def aclose(self) -> None:
        await self._response.aclose()


@contextmanager
def _lost_connections() -> Generator[None]:
    """Raise ConnectionError for httpx2's errors, in their words."""
    try:
        yield
    except httpx2.HTTPError as error:
        _raise(error)


def _raise(error: httpx2.HTTPError) -> NoReturn:
    raise ConnectionError(str(error) or type(error).__name__) from error
