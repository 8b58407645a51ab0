"""Requests to one endpoint over HTTP, with retries, and what can go wrong with them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

import httpx2

from .._time import timeout
from ..errors import ModelError, ModelTimeoutError
from .endpoint.address import EndpointAddress
from .endpoint.answer import EndpointAnswer
from .endpoint.body import encode_body
from .endpoint.errors import LogFilter, snippet
from .endpoint.refusal import MAX_ERROR_BYTES, MAX_ERROR_S, refusal
from .endpoint.reply import EndpointReply, cut_off
from .endpoint.sending import Sender, SendingError
from .model import ModelEvent

__all__ = ["EndpointClient", "HttpAnswer"]

_UNREACHABLE = "The model's endpoint cannot be reached"
"""The error that clients see, without the address, which may be internal."""
_MAX_TAIL_S = 10.0
"""Seconds to wait for the rest after the reason to stop: only usage and [DONE] can follow."""
_MAX_DRAIN_S = 0.1
"""Seconds to wait for the end of the body after [DONE], which frees the connection for the next call."""
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_HTTP_LOGGER = logging.getLogger("httpx2")


class EndpointClient:
    """The HTTP client of one model; ``client`` is one that a user keeps, None to make one.

    Raises ValueError for an address that is not a URL.
    """

    def __init__(
        self,
        endpoint: EndpointAddress,
        *,
        timeout_s: float | None,
        connect_timeout_s: float | None,
        max_retries: int,
        backoff_s: float,
        client: httpx2.AsyncClient | None,
    ) -> None:
        self._endpoint = endpoint
        self._redact = endpoint.redact
        self._log_filter = LogFilter(self._redact)
        try:
            httpx2.URL(endpoint.url)
        except httpx2.InvalidURL as error:
            raise ValueError(f"base_url is not a URL: {error}") from None
        self._timeout_s = timeout_s
        self._timeout = httpx2.Timeout(timeout_s, connect=connect_timeout_s, pool=connect_timeout_s)
        self._sender = Sender(max_retries, backoff_s)
        if self._redact(endpoint.url) != endpoint.url:
            _HTTP_LOGGER.addFilter(self._log_filter)
        self._owns_client = client is None
        self._client = client or httpx2.AsyncClient(
            trust_env=not endpoint.is_loopback,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=30.0),
        )

    async def aclose(self) -> None:
        """Close the connections and the replies that use them. A client that was given stays open."""
        _HTTP_LOGGER.removeFilter(self._log_filter)
        if self._owns_client:
            await self._client.aclose()

    async def post(self, body: dict[str, Any], *, once: bool = False) -> HttpAnswer:
        """Send a request, with retries, and return the answer once it has begun.

        With ``once`` it is sent again only when the endpoint has certainly not begun to work on it.
        """

        def attempt(body: dict[str, Any]) -> Awaitable[HttpAnswer]:
            return self._send("POST", self._endpoint.url, encode_body(body))

        return await self._sender.send(attempt, body, once=once)

    async def request(self, method: str, url: str) -> HttpAnswer:
        """Send a request without a body, once. Raises ModelError, with the status of a refusal."""
        try:
            return await self._send(method, url, b"")
        except SendingError as error:
            raise error.failure from error.__cause__

    async def next_part(self, parts: AsyncGenerator[bytes, None], reply: EndpointReply) -> bytes | None:
        """Return the next part of an answer's body, None at its end. Raises ModelError for a connection that broke."""
        try:
            async with timeout(_MAX_TAIL_S if reply.finished else None):
                return await anext(parts, None)
        except TimeoutError:
            return None
        except httpx2.HTTPError as error:
            if reply.finished:  # the reply is whole; at most the usage is missing
                return None
            raise self._broken(error) from error

    async def _send(self, method: str, url: str, content: bytes) -> HttpAnswer:
        """Send a request once, and return a successful answer. Raises SendingError."""
        request = self._client.build_request(
            method, url, content=content, headers=self._endpoint.headers, timeout=self._timeout
        )
        try:
            response = await self._client.send(request, stream=True, follow_redirects=False)
            if response.is_success:
                return HttpAnswer(self, response)
            content = await _read_error(response)
        except RuntimeError as error:
            if not self._client.is_closed:
                raise
            raise ModelError("This OpenAIModel was closed: create another one") from error
        except httpx2.HTTPError as error:
            raise SendingError(
                self._unanswered(error),
                is_silent=isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout),
                is_unsent=isinstance(error, _UNSENT),
            ) from error
        raise refusal(self._endpoint, response.status_code, response.headers, content)

    def _unanswered(self, error: httpx2.HTTPError) -> ModelError:
        place = self._endpoint.shown
        if isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout):
            return ModelTimeoutError(
                f"No connection to {place} within {self._timeout.connect:g} s", for_clients=_UNREACHABLE
            )
        if isinstance(error, httpx2.TimeoutException):
            return ModelTimeoutError(f"The model's endpoint sent nothing for {self._timeout_s:g} s")
        reason = snippet(self._redact(str(error))) or type(error).__name__
        if isinstance(error, httpx2.ConnectError | httpx2.ProxyError):
            return ModelError(
                f"Cannot connect to {place}: {reason}", code="connection", retryable=True, for_clients=_UNREACHABLE
            )
        lost = isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError)
        return ModelError(
            f"The request to {place} failed: {reason}", code="connection", retryable=lost, for_clients=_UNREACHABLE
        )

    def _broken(self, error: httpx2.HTTPError) -> ModelError:
        if isinstance(error, httpx2.TimeoutException):
            return ModelTimeoutError(
                f"The model's reply was cut off: the endpoint sent nothing for {self._timeout_s:g} s"
            )
        if isinstance(error, httpx2.DecodingError):
            said = "The model's endpoint sent a body that cannot be decompressed"
            return ModelError(f"{said}: {error}", for_clients=said)
        return cut_off()


class HttpAnswer:
    """A successful answer, whose body is still to be read."""

    def __init__(self, client: EndpointClient, response: httpx2.Response) -> None:
        self._client = client
        self._response = response
        self._parts: AsyncGenerator[bytes, None] | None = None
        self._is_whole = False

    def __repr__(self) -> str:
        return f"<HttpAnswer {self._response.status_code}>"

    async def read(self, reply: EndpointReply) -> AsyncGenerator[ModelEvent]:
        """Yield the events of the body, up to its end or that of ``reply``.

        Raises ModelError for a connection that broke, and for what is not a reply.
        """
        answer = EndpointAnswer(self._response.headers.get("content-type", ""), reply)
        self._parts = self._response.aiter_bytes()
        part: bytes | None = b""
        while part is not None and not reply.done:
            part = await self._client.next_part(self._parts, reply)
            for event in answer.take(part):
                yield event
        self._is_whole = True

    async def aclose(self) -> None:
        """Close the connection; after a whole answer it is free for the next request."""
        try:
            if self._parts is not None:
                if self._is_whole:
                    await _drain(self._parts)
                await self._parts.aclose()
        finally:
            await self._response.aclose()


async def _read_error(response: httpx2.Response) -> bytes:
    content = bytearray()
    with contextlib.suppress(TimeoutError, httpx2.HTTPError):  # the part of the explanation that came is enough
        async with timeout(MAX_ERROR_S), contextlib.aclosing(response.aiter_bytes()) as parts:
            async for part in parts:
                content += part
                if len(content) >= MAX_ERROR_BYTES:
                    break
    await response.aclose()
    return bytes(content[:MAX_ERROR_BYTES])


async def _drain(parts: AsyncGenerator[bytes, None]) -> None:
    with contextlib.suppress(TimeoutError, httpx2.HTTPError):
        async with timeout(_MAX_DRAIN_S):
            async for _ in parts:
                pass
