"""Requests to a model's endpoint over JavaScript's ``fetch``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import Any

from .._time import timeout
from ..errors import ModelError, ModelTimeoutError
from ..models import ModelEvent
from ..models.endpoint import EndpointAnswer, EndpointReply, encode_body
from ..models.endpoint.address import EndpointAddress
from ..models.endpoint.errors import snippet
from ..models.endpoint.refusal import MAX_ERROR_BYTES, MAX_ERROR_S, refusal
from ..models.endpoint.reply import cut_off
from ..models.endpoint.sending import Sender, SendingError
from . import ffi, ffi_http

__all__ = ["FetchAnswer", "FetchClient"]

_MAX_TAIL_S = 10.0
"""Seconds to wait for the rest after the reason to stop: only usage and [DONE] can follow."""


class FetchClient:
    """The requests of one model; see :class:`~aibind.models.answering.EndpointRequests`."""

    def __init__(
        self, endpoint: EndpointAddress, *, timeout_s: float | None, max_retries: int, backoff_s: float
    ) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._sender = Sender(max_retries, backoff_s)

    async def post(self, body: dict[str, Any], *, once: bool = False) -> FetchAnswer:
        """Send a request, with retries, and return the answer once it has begun."""

        def attempt(body: dict[str, Any]) -> Awaitable[FetchAnswer]:
            return self._send("POST", self._endpoint.url, encode_body(body).decode())

        return await self._sender.send(attempt, body, once=once)

    async def request(self, method: str, url: str) -> FetchAnswer:
        """Send a request without a body, once. Raises ModelError, with the status of a refusal."""
        try:
            return await self._send(method, url, "")
        except SendingError as error:
            raise error.failure from error.__cause__

    async def _send(self, method: str, url: str, content: str) -> FetchAnswer:
        try:
            async with timeout(self._timeout_s):
                response = await ffi_http.fetch(url, method=method, headers=self._endpoint.headers, body=content)
        except TimeoutError as error:
            failure = ModelTimeoutError(f"The model's endpoint sent nothing for {self._timeout_s:g} s")
            raise SendingError(failure, is_silent=True) from error
        except Exception as error:
            text = ffi.failure_of(error)
            if text is None:
                raise
            reason = snippet(self._endpoint.redact(text))
            raise SendingError(
                ModelError(
                    f"The request to {self._endpoint.shown} failed: {reason}",
                    code="connection",
                    retryable=True,
                    for_clients="The model's endpoint cannot be reached",
                )
            ) from error
        answer = FetchAnswer(response, self._timeout_s)
        if 200 <= response.status < 300:
            return answer
        async with aclosing(answer):
            raise refusal(self._endpoint, response.status, response.headers, await answer.read_error())


class FetchAnswer:
    """An answer, whose body is still to be read."""

    def __init__(self, response: ffi_http.Fetched, timeout_s: float | None) -> None:
        self._response = response
        self._timeout_s = timeout_s
        self._parts = _parts(response.body)

    def __repr__(self) -> str:
        return f"<FetchAnswer {self._response.status}>"

    async def read(self, reply: EndpointReply) -> AsyncGenerator[ModelEvent, None]:
        """Yield the events of the body, up to its end or that of ``reply``. Raises ModelError for one that breaks."""
        answer = EndpointAnswer(self._response.headers.get("content-type", ""), reply)
        part: bytes | None = b""
        while part is not None and not reply.done:
            part = await self._next(is_whole=reply.finished)
            for event in answer.take(part):
                yield event

    async def read_error(self) -> bytes:
        """Return the beginning of the body of a refusal."""
        content = bytearray()
        try:
            async with timeout(MAX_ERROR_S):
                async for part in self._parts:
                    content += part
                    if len(content) >= MAX_ERROR_BYTES:
                        break
        except TimeoutError:
            pass  # the part of the explanation that came is enough
        except Exception as error:
            if ffi.failure_of(error) is None:
                raise
        return bytes(content[:MAX_ERROR_BYTES])

    async def aclose(self) -> None:
        """Close the connection."""
        await self._parts.aclose()

    async def _next(self, *, is_whole: bool) -> bytes | None:
        """Return the next part of the body, None at its end; of a reply that is whole, at most the usage is missing."""
        try:
            async with timeout(_MAX_TAIL_S if is_whole else self._timeout_s):
                return await anext(self._parts, None)
        except TimeoutError as error:
            if is_whole:
                return None
            raise ModelTimeoutError(
                f"The model's reply was cut off: the endpoint sent nothing for {self._timeout_s:g} s"
            ) from error
        except Exception as error:
            if ffi.failure_of(error) is None:
                raise
            if is_whole:
                return None
            raise cut_off() from error


async def _parts(body: ffi.JsObject | None) -> AsyncGenerator[bytes, None]:
    if body is not None:
        async with aclosing(ffi_http.read_stream(body)) as parts:
            async for part in parts:
                yield part
