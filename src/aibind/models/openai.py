"""A model at any endpoint that speaks OpenAI's chat completions, or its Responses, over server-sent events.

Chat completions are spoken by OpenAI, Groq, DeepSeek, xAI, Mistral, Qwen, OpenRouter, Gemini's compatible endpoint,
vLLM, llama.cpp, Ollama, LM Studio and many more. It needs the extra ``http``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from .chat.reply import ChatReply
from .chat.request import Structured, chat_body
from .endpoint.address import EndpointAddress
from .endpoint.reply import EndpointReply
from .model import ModelEvent, ModelRequest
from .responses.background import BackgroundReader, cancel_response
from .responses.reply import ResponsesReply
from .responses.request import responses_body
from .resuming import not_resumable

try:
    import httpx2
except ImportError as error:
    raise ImportError('OpenAIModel needs httpx2: install it with pip install "aibind[http]"') from error

from .endpoint_client import EndpointClient, HttpAnswer

__all__ = ["OpenAIApi", "OpenAIModel"]

OpenAIApi: TypeAlias = Literal["chat_completions", "responses"]
"""A format that endpoints speak: chat completions, which most do, or OpenAI's Responses."""

_PATHS: Mapping[OpenAIApi, str] = {"chat_completions": "/chat/completions", "responses": "/responses"}

_BACKGROUND: Mapping[str, Any] = {"background": True, "store": True, "stream": True}
"""The fields of a request for a background response; a response that is not stored cannot be read again."""


class OpenAIModel:
    """The model ``model`` at the endpoint ``base_url``.

    Keep one for the life of the program: it holds a client whose connections are reused (``aclose()`` closes it).

    - ``api`` is the format that the endpoint speaks: ``chat_completions``, or ``responses`` for OpenAI's Responses.
    - With ``background``, which needs ``responses``, the endpoint goes on with an answer while nobody is connected, and
      another process can go on reading it: see :class:`ResumableModel`. A connection that breaks is replaced by itself.
      The endpoint stores the answer. Nothing but :meth:`cancel` ends it before its time.
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
        background: bool = False,
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
        if background and api != "responses":
            raise ValueError("background is for the Responses format: give api='responses' as well")
        self._api: OpenAIApi = api
        self._background = background
        self._structured: Structured = structured
        self._extra_body = dict(extra_body or {})
        if background and (self._extra_body.keys() & _BACKGROUND.keys()):
            raise ValueError("extra_body sets background, store or stream: leave them out, since background does")
        self._backoff_s = backoff_s
        self._endpoint = EndpointAddress(base_url, _PATHS[api], api_key, headers or {})
        self._redact = self._endpoint.redact
        self._client = EndpointClient(
            self._endpoint,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            max_retries=max_retries,
            backoff_s=backoff_s,
            client=client,
        )

    @property
    def model_name(self) -> str:
        """The model that is asked."""
        return self._model

    @property
    def resumable(self) -> bool:
        """Whether another process can go on with an answer: with ``background``."""
        return self._background

    @property
    def repeats_exactly(self) -> bool:
        """Whether the rest of an answer is what the first process would have read: with ``background``."""
        return self._background

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
        await self._client.aclose()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Answer ``request``: text as it comes, then whole tool calls, the reason to stop and the usage.

        With ``background`` a :class:`ReplyReference` comes first. Raises ModelError, or ModelTimeoutError after a
        silence of ``timeout_s``. Closing the iterator or cancelling the task closes the connection, so that the
        endpoint stops, but for a background response.
        """
        body = self._body(request)
        if self._background:
            async with aclosing(self._reader(request, body).begin()) as events:
                async for event in events:
                    yield event
            return
        answer = await self._client.post(body)
        reply = self._reply(request)
        async with aclosing(answer), aclosing(answer.read(reply)) as events:
            async for event in events:
                yield event
            for event in reply.end():
                yield event
            if reply.failure is not None:
                raise reply.failure

    async def resume(
        self, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
    ) -> AsyncGenerator[ModelEvent, None]:
        """Yield what comes after ``so_far`` in a background response, whose id is ``reference``; nothing is generated.

        A response that has ended meanwhile is read to its end. Raises ModelError: with the code ``not_resumable``
        without ``background`` or a reference, and for a response that the endpoint does not have any more.
        """
        if not self._background:
            raise not_resumable("this OpenAIModel was made without background=True")
        if not reference:
            raise not_resumable("the response's id was not stored, since it had not come")
        async with aclosing(self._reader(request, {}).resume(reference, so_far)) as events:
            async for event in events:
                yield event

    async def cancel(self, reference: str) -> None:
        """End the background response whose id is ``reference``, within 10 s. A failure is logged, and not raised."""
        if self._background:
            await cancel_response(lambda: self._cancel(reference), self._backoff_s)

    async def _cancel(self, reference: str) -> None:
        answer = await self._client.request("POST", self._endpoint.below(reference, "cancel"))
        await answer.aclose()

    def _reader(self, request: ModelRequest, body: dict[str, Any]) -> BackgroundReader:
        requests = _BackgroundRequests(self._client, self._endpoint, {**body, **_BACKGROUND})
        return BackgroundReader(
            requests,
            lambda: ResponsesReply(self._redact, structured=request.json_schema is not None, background=True),
            self._backoff_s,
        )

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        make = responses_body if self._api == "responses" else chat_body
        body = make(self._model, request, self._structured) | dict(request.settings) | self._extra_body
        return {key: value for key, value in body.items() if value is not None}

    def _reply(self, request: ModelRequest) -> EndpointReply:
        kind = ResponsesReply if self._api == "responses" else ChatReply
        return kind(self._redact, structured=request.json_schema is not None)


class _BackgroundRequests:
    """The requests of one background response."""

    def __init__(self, client: EndpointClient, endpoint: EndpointAddress, body: dict[str, Any]) -> None:
        self._client = client
        self._endpoint = endpoint
        self._body = body

    async def create(self) -> HttpAnswer:
        return await self._client.post(self._body, once=True)

    async def retrieve(self, response_id: str, after: int | None, *, streamed: bool) -> HttpAnswer:
        query = {"stream": "true"} if streamed else {}
        if streamed and after is not None:
            query["starting_after"] = str(after)
        return await self._client.request("GET", self._endpoint.below(response_id, **query))
