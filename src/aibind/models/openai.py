"""A model at any endpoint that speaks OpenAI's chat completions, or its Responses, over server-sent events.

Chat completions are spoken by OpenAI, Groq, DeepSeek, xAI, Mistral, Qwen, OpenRouter, Gemini's compatible endpoint,
vLLM, llama.cpp, Ollama, LM Studio and many more. It needs the extra ``http``.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from .._retry_after import retry_after_s
from .._time import sleep, timeout
from ..errors import ModelError, ModelTimeoutError
from .chat.reply import ChatReply
from .chat.request import Structured, chat_body
from .endpoint.address import EndpointAddress, shown_redirect
from .endpoint.answer import EndpointAnswer
from .endpoint.body import encode_body
from .endpoint.errors import LogFilter, answered, endpoint_error, snippet
from .endpoint.reply import EndpointReply, cut_off
from .model import ModelEvent, ModelRequest
from .responses.reply import ResponsesReply
from .responses.request import responses_body

try:
    import httpx2
except ImportError as error:
    raise ImportError('OpenAIModel needs httpx2: install it with pip install "aibind[http]"') from error

__all__ = ["OpenAIApi", "OpenAIModel"]

OpenAIApi: TypeAlias = Literal["chat_completions", "responses"]
"""A format that endpoints speak: chat completions, which most do, or OpenAI's Responses."""

_PATHS: Mapping[OpenAIApi, str] = {"chat_completions": "/chat/completions", "responses": "/responses"}

_UNREACHABLE = "The model's endpoint cannot be reached"
"""The error that clients see, without the address, which may be internal."""
_MAX_ERROR_BYTES = 64 * 1024
_MAX_ERROR_S = 5.0
"""Seconds to read the body of an error for."""
_MAX_TAIL_S = 10.0
"""Seconds to wait for the rest after the reason to stop: only usage and [DONE] can follow."""
_MAX_DRAIN_S = 0.1
"""Seconds to wait for the end of the body after [DONE], which frees the connection for the next call."""
_MAX_WAIT_S = 30.0
"""Seconds that an endpoint may ask to wait before a retry."""
_HTTP_LOGGER = logging.getLogger("httpx2")


class OpenAIModel:
    """The model ``model`` at the endpoint ``base_url``.

    Keep one for the life of the program: it holds a client whose connections are reused (``aclose()`` closes it).

    - ``api`` is the format that the endpoint speaks: ``chat_completions``, or ``responses`` for OpenAI's Responses.
    - ``base_url`` is the address before ``/chat/completions`` or ``/responses``. A slash or that path at its end is
      accepted, and a query (Azure's ``api-version``) is kept. A loopback address is never sent through a proxy.
    - ``api_key`` is sent as a bearer token. It is not read from the environment, so that a key for one endpoint does
      not reach another, and it never appears in errors and reprs, even where the endpoint repeats it.
    - ``timeout_s`` is the longest silence in seconds, before the first byte and between two; comments that keep the
      connection alive count as data. None sets no limit. ``connect_timeout_s`` limits the time to connect.
    - ``max_retries`` is how often a request is sent again while no answer has begun: after failures to connect, lost
      connections, and the statuses 408, 409, 429 and 5xx (but not for a spent quota). The waits start at ``backoff_s``
      seconds and double, shortened at random by up to a half. A wait of up to 30 s that an endpoint asks for is kept;
      for a longer one the error is raised at once. Nothing is retried once an answer has begun.
    - ``structured`` is how JSON is asked for: ``json_schema`` (not strict), or ``json_object`` for endpoints that know
      only that, with the schema in the system prompt.
    - ``headers`` are sent as well. The settings of a request and then ``extra_body`` are merged into its body, for
      example ``{"temperature": 0}``; None as a value removes a key.
    - ``client`` is a client that you keep and close. Its proxies, certificates and limits apply; the timeouts are those
      given here.

    An endpoint that refuses ``stream_options`` (Mistral's does) is asked again without it. An answer in one piece, with
    JSON in place of a stream, is read too.

    Text that ran into the limit of tokens ends normally; a tool call or structured output that the limit cut is a
    ModelError with the code ``length``. After the text that came, ModelError is raised for an answer that was filtered
    (``content_filter``), that the endpoint broke off with an error, or whose connection ended before the model said
    why it stopped (``cut_off``). A refusal is text, and a ModelError (``refusal``) where structured output was asked
    for.

    Raises ValueError for arguments that cannot be used.
    """

    def __init__(
        self,
        model: str,
        *,
        api: OpenAIApi = "chat_completions",
        base_url: str = "https://api.openai.com/v1",
        api_key: str | None = None,
        timeout_s: float | None = 300.0,
        connect_timeout_s: float | None = 10.0,
        max_retries: int = 2,
        backoff_s: float = 0.5,
        structured: Structured = "json_schema",
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        client: httpx2.AsyncClient | None = None,
    ) -> None:
        if not model:
            raise ValueError("model is empty: give the model's name as the endpoint knows it")
        for name, seconds in (("timeout_s", timeout_s), ("connect_timeout_s", connect_timeout_s)):
            if seconds is not None and not seconds > 0:
                raise ValueError(f"{name} is {seconds}: give a number of seconds above 0, or None for no limit")
        if max_retries < 0 or backoff_s < 0:
            raise ValueError(f"max_retries is {max_retries} and backoff_s {backoff_s}: give 0 or more")
        if structured not in ("json_schema", "json_object"):
            raise ValueError(f"structured is {structured!r}: give 'json_schema' or 'json_object'")
        self._model = model
        if api not in _PATHS:
            raise ValueError(f"api is {api!r}: give 'chat_completions' or 'responses'")
        self._api: OpenAIApi = api
        self._endpoint = EndpointAddress(base_url, _PATHS[api], api_key, headers or {})
        self._redact = self._endpoint.redact
        self._log_filter = LogFilter(self._redact)
        try:
            self._url = httpx2.URL(self._endpoint.url)
        except httpx2.InvalidURL as error:
            raise ValueError(f"base_url is not a URL: {error}") from None
        self._timeout_s = timeout_s
        self._timeout = httpx2.Timeout(timeout_s, connect=connect_timeout_s, pool=connect_timeout_s)
        self._max_retries = max_retries
        self._backoff_s = backoff_s
        self._structured: Structured = structured
        self._extra_body = dict(extra_body or {})
        self._takes_stream_options = True
        if self._redact(self._endpoint.url) != self._endpoint.url:
            _HTTP_LOGGER.addFilter(self._log_filter)
        self._owns_client = client is None
        self._client = client or httpx2.AsyncClient(
            trust_env=not self._endpoint.is_loopback,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=30.0),
        )

    @property
    def model_name(self) -> str:
        """The model that is asked."""
        return self._model

    def __repr__(self) -> str:
        return f"OpenAIModel({self._model!r}, base_url={self._endpoint.shown!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections and the replies that use them. A client that was given stays open."""
        _HTTP_LOGGER.removeFilter(self._log_filter)
        if self._owns_client:
            await self._client.aclose()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Answer ``request``: text as it comes, then whole tool calls, the reason to stop and the usage.

        Raises ModelError, or ModelTimeoutError after a silence of ``timeout_s``. Closing the iterator or cancelling the
        task closes the connection, so that the endpoint stops.
        """
        response = await self._open(self._body(request))
        try:
            reply = self._reply(structured=request.json_schema is not None)
            answer = EndpointAnswer(response.headers.get("content-type", ""), reply)
            async with contextlib.aclosing(response.aiter_bytes()) as parts:
                part: bytes | None = b""
                while part is not None and not reply.done:
                    part = await self._next(parts, reply)
                    for event in answer.take(part):
                        yield event
                for event in reply.end():
                    yield event
                if reply.failure is not None:
                    raise reply.failure
                await _drain(parts)
        finally:
            await response.aclose()

    # --- the request --------------------------------------------------------------------------------------------------

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        make = responses_body if self._api == "responses" else chat_body
        body = make(self._model, request, self._structured) | dict(request.settings) | self._extra_body
        return {key: value for key, value in body.items() if value is not None}

    async def _open(self, body: dict[str, Any]) -> httpx2.Response:
        """Send the request, with retries, and return the response once it has begun."""
        attempt = 0
        while True:
            if not self._takes_stream_options:
                body.pop("stream_options", None)
            cause: Exception | None = None
            asked_wait_s: float | None = None
            try:
                response = await self._send(encode_body(body))
                if response.is_success:
                    return response
                failure, asked_wait_s = await self._refusal(response)
            except httpx2.HTTPError as error:
                cause, failure = error, self._unanswered(error)
            if "stream_options" in body and failure.status in (400, 422) and "stream_options" in str(failure):
                self._takes_stream_options = False
                continue
            wait_s = self._wait_s(attempt) if asked_wait_s is None else asked_wait_s
            # A silent endpoint may still be working on the request: sending it again would cost twice.
            hopeless = not failure.retryable or isinstance(cause, httpx2.ReadTimeout | httpx2.WriteTimeout)
            if hopeless or attempt >= self._max_retries or wait_s > _MAX_WAIT_S:
                raise failure from cause
            attempt += 1
            await sleep(wait_s)

    async def _send(self, content: bytes) -> httpx2.Response:
        request = self._client.build_request(
            "POST", self._url, content=content, headers=self._endpoint.headers, timeout=self._timeout
        )
        try:
            return await self._client.send(request, stream=True, follow_redirects=False)
        except RuntimeError as error:
            if not self._client.is_closed:
                raise
            raise ModelError("This OpenAIModel was closed: create another one") from error

    def _wait_s(self, attempt: int) -> float:
        import random  # here: importing it seeds a generator, and a Worker has no randomness while it starts

        jitter = 1 - random.random() / 2
        return self._backoff_s * 2.0**attempt * jitter

    # --- the answer ---------------------------------------------------------------------------------------------------

    def _reply(self, *, structured: bool) -> EndpointReply:
        if self._api == "responses":
            return ResponsesReply(self._redact, structured=structured)
        return ChatReply(self._redact, structured=structured)

    async def _next(self, parts: AsyncGenerator[bytes, None], reply: EndpointReply) -> bytes | None:
        try:
            async with timeout(_MAX_TAIL_S if reply.finished else None):
                return await anext(parts, None)
        except TimeoutError:
            return None
        except httpx2.HTTPError as error:
            if reply.finished:  # the reply is whole; at most the usage is missing
                return None
            raise self._broken(error) from error

    # --- what can go wrong --------------------------------------------------------------------------------------------

    async def _refusal(self, response: httpx2.Response) -> tuple[ModelError, float | None]:
        """Return the error for an answer that is not a success, and the seconds that the endpoint asks to wait."""
        status = response.status_code
        prefix = answered(status)
        location = response.headers.get("location", "")
        if response.is_redirect and location:
            await response.aclose()
            target = self._redact(shown_redirect(self._endpoint.url, location))
            return ModelError(
                f"{prefix}: it redirects to {target}; set base_url to the final address",
                status=status,
                for_clients=prefix,
            ), None
        payload = _parse_error(await _read_error(response), response.headers.get("content-type", ""))
        return endpoint_error(payload, prefix, self._redact, status=status), retry_after_s(response.headers)

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


async def _read_error(response: httpx2.Response) -> bytes:
    content = bytearray()
    with contextlib.suppress(TimeoutError, httpx2.HTTPError):  # the part of the explanation that came is enough
        async with timeout(_MAX_ERROR_S), contextlib.aclosing(response.aiter_bytes()) as parts:
            async for part in parts:
                content += part
                if len(content) >= _MAX_ERROR_BYTES:
                    break
    await response.aclose()
    return bytes(content[:_MAX_ERROR_BYTES])


async def _drain(parts: AsyncGenerator[bytes, None]) -> None:
    with contextlib.suppress(TimeoutError, httpx2.HTTPError):
        async with timeout(_MAX_DRAIN_S):
            async for _ in parts:
                pass


def _parse_error(content: bytes, content_type: str) -> Any:
    text = content.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return "the explanation is a web page" if "html" in content_type.lower() else text
