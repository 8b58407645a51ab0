"""A model at any endpoint that speaks OpenAI's chat completions, or its Responses, over server-sent events.

Chat completions are spoken by OpenAI, Groq, DeepSeek, xAI, Mistral, Qwen, OpenRouter, Gemini's compatible endpoint,
vLLM, llama.cpp, Ollama, LM Studio and many more. It needs the extra ``http``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from .answering import PATHS_OF, EndpointAnswering, OpenAIApi
from .chat.prefill import Prefill
from .chat.request import Structured
from .endpoint.address import EndpointAddress
from .model import ModelEvent, ModelRequest

try:
    import httpx2
except ImportError as error:
    raise ImportError('OpenAIModel needs httpx2: install it with pip install "aibind[http]"') from error

from .endpoint_client import EndpointClient

__all__ = ["OpenAIApi", "OpenAIModel"]


class OpenAIModel:
    """The model ``model`` at the endpoint ``base_url``.

    Keep one for the life of the program: it holds a client whose connections are reused (``aclose()`` closes it).

    - ``api`` is the format that the endpoint speaks: ``chat_completions``, or ``responses`` for OpenAI's Responses.
    - With ``background``, which needs ``responses``, the endpoint goes on with an answer while nobody is connected, and
      another process can go on reading it: see :class:`ResumableModel`. A connection that breaks is replaced by itself.
      The endpoint stores the answer. Nothing but :meth:`cancel` ends it before its time.
    - With ``prefill``, another process goes on with an answer by sending its text as the last message. The rest is
      sampled again. It is how the endpoint is told so: ``plain`` is the message alone, ``prefix`` and ``partial`` a key
      of it, and ``continue_final_message`` that and ``add_generation_prompt`` in the body.
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
        prefill: Prefill | None = None,
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
        for name, seconds in (("timeout_s", timeout_s), ("connect_timeout_s", connect_timeout_s)):
            if seconds is not None and not seconds > 0:
                raise ValueError(f"{name} is {seconds}: give a number of seconds above 0, or None for no limit")
        self._endpoint = EndpointAddress(base_url, PATHS_OF.get(api, ""), api_key, headers or {})
        self._client = EndpointClient(
            self._endpoint,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            max_retries=max_retries,
            backoff_s=backoff_s,
            client=client,
        )
        self._answering = EndpointAnswering(
            "OpenAIModel",
            model,
            self._client,
            self._endpoint,
            backoff_s,
            api=api,
            structured=structured,
            fields=extra_body,
            where="extra_body",
            background=background,
            prefill=prefill,
        )

    @property
    def model_name(self) -> str:
        """The model that is asked."""
        return self._answering.model

    @property
    def resumable(self) -> bool:
        """Whether another process can go on with an answer: with ``background`` or ``prefill``."""
        return self._answering.is_resumable

    @property
    def repeats_exactly(self) -> bool:
        """Whether the rest of an answer is what the first process would have read: with ``background``."""
        return self._answering.is_background

    def __repr__(self) -> str:
        return f"OpenAIModel({self.model_name!r}, base_url={self._endpoint.shown!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections and the replies that use them. A client that was given stays open."""
        await self._client.aclose()

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Answer ``request``: text as it comes, then whole tool calls, the reason to stop and the usage.

        With ``background`` a :class:`ReplyReference` comes first. Raises ModelError, or ModelTimeoutError after a
        silence of ``timeout_s``. Closing the iterator or cancelling the task closes the connection, so that the
        endpoint stops, but for a background response.
        """
        return self._answering.stream(request)

    def resume(
        self, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
    ) -> AsyncGenerator[ModelEvent, None]:
        """Yield what comes after ``so_far``: the rest of a response in the background, or of a prefilled message.

        With ``background``, ``reference`` is the response's id, and nothing is generated; a response that has ended
        meanwhile is read to its end. With ``prefill`` the endpoint is asked to go on with the text.

        Raises ModelError: with the code ``not_resumable`` without either or without a reference, for a response that
        the endpoint does not have any more, and with ``prefill`` after a tool call, for structured output, for
        reasoning without text, and where the endpoint refuses the message.
        """
        return self._answering.resume(request, so_far, reference)

    async def cancel(self, reference: str) -> None:
        """End the background response whose id is ``reference``, within 10 s. A failure is logged, and not raised."""
        await self._answering.cancel(reference)
