"""Models at an endpoint that OpenAI's client speaks to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from openai import AsyncOpenAI

from ..._kinds import kind_of
from ...models.answering import Answering
from ...models.chat.prefill import Prefill
from ...models.chat.reply import ChatReply
from ...models.chat.request import Structured
from ...models.endpoint.address import shown_url
from ...models.endpoint.errors import Redactor
from ...models.endpoint.json_reply import JsonReply
from ...models.model import ModelEvent, ModelRequest
from ...models.responses.background import BackgroundReader, cancel_response
from ...models.responses.reply import ResponsesReply
from .._sdk import SdkStream, read_sdk_stream, split_options
from .background import BACKOFF_S, SdkRequests

__all__ = ["OpenAIClientModel", "openai_events"]


class OpenAIClientModel:
    """The model ``model`` at the endpoint of an ``openai.AsyncOpenAI``, such as an ``AsyncAzureOpenAI``.

    The client is yours: its retries, timeouts, proxies and instrumentation apply, and it stays open. Requests and
    answers are those of :class:`~aibind.models.OpenAIModel`, which needs no package of OpenAI.

    - ``api`` is the format to speak: ``chat_completions``, or ``responses``.
    - ``structured`` is how JSON is asked for: ``json_schema`` (not strict), or ``json_object`` for endpoints that know
      only that.
    - ``options`` are further arguments of the client's ``create()``, such as ``{"temperature": 0}``. The settings of a
      request come before them; an argument that ``create()`` does not have goes into the body, and None removes one
      (``{"stream_options": None}`` for endpoints that refuse it).

    - With ``background`` or ``prefill``, another process can go on with an answer: see
      :class:`~aibind.models.OpenAIModel`. A request for a background response is not repeated by the client itself, but
      only when it was certainly not begun, as often as the client's ``max_retries``.

    Errors of the client and the endpoint are ModelError; see :class:`~aibind.models.OpenAIModel` for those of an answer
    that is cut off, filtered or refused. Raises TypeError for another client, and ValueError for arguments that cannot
    be used.
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        model: str,
        *,
        api: str = "chat_completions",
        structured: Structured = "json_schema",
        options: Mapping[str, Any] | None = None,
        background: bool = False,
        prefill: Prefill | None = None,
    ) -> None:
        if not isinstance(client, AsyncOpenAI):
            raise TypeError(f"client is {kind_of(client)}: give an openai.AsyncOpenAI")
        self._client = client
        self._answering = _SdkAnswering(
            "OpenAIClientModel",
            model,
            client,
            api=api,
            structured=structured,
            fields=options,
            where="options",
            background=background,
            prefill=prefill,
        )

    def __repr__(self) -> str:
        return f"OpenAIClientModel({self._answering.model!r}, base_url={shown_url(str(self._client.base_url))!r})"

    @property
    def resumable(self) -> bool:
        """Whether another process can go on with an answer: with ``background`` or ``prefill``."""
        return self._answering.is_resumable

    @property
    def repeats_exactly(self) -> bool:
        """Whether the rest of an answer is what the first process would have read: with ``background``."""
        return self._answering.is_background

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Answer ``request``. Closing the iterator closes the client's stream.

        The endpoint stops then, but for a background response.
        """
        return self._answering.stream(request)

    def resume(
        self, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
    ) -> AsyncGenerator[ModelEvent]:
        """Yield what comes after ``so_far``, as :meth:`aibind.models.OpenAIModel.resume` does."""
        return self._answering.resume(request, so_far, reference)

    async def cancel(self, reference: str) -> None:
        """End the background response whose id is ``reference``, within 10 s. A failure is logged, and not raised."""
        await self._answering.cancel(reference)


class _SdkAnswering(Answering):
    """The answers of a model, through a client."""

    def __init__(self, owner: str, model: str, client: AsyncOpenAI, **options: Any) -> None:
        super().__init__(owner, model, **options)
        self._client = client

    async def cancel(self, reference: str) -> None:
        if self.is_background:
            await cancel_response(lambda: SdkRequests(self._client, {}).cancel(reference), BACKOFF_S)

    def _ask(self, request: ModelRequest, body: Mapping[str, Any]) -> AsyncGenerator[ModelEvent]:
        def open_stream() -> SdkStream:
            speaks_responses = self.api == "responses"
            create: Any = (self._client.responses if speaks_responses else self._client.chat.completions).create
            return create(**split_options(create, body))

        def start(_: Mapping[str, Any], redact: Redactor) -> JsonReply:
            return self._reply(request, redact)

        return read_sdk_stream(open_stream, start)

    def _reader(self, request: ModelRequest, body: Mapping[str, Any]) -> BackgroundReader:
        redact = Redactor([self._client.api_key])
        return BackgroundReader(
            SdkRequests(self._client, body), lambda: self._background_reply(request, redact), BACKOFF_S
        )


def openai_events(stream: SdkStream, *, structured: bool = False) -> AsyncGenerator[ModelEvent]:
    """Return the events of a stream of OpenAI's client, for models that make their own requests.

    ``stream`` is what ``create(stream=True)`` of chat completions or responses returns, awaited or not; it is closed at
    the end. ``structured`` is whether JSON was asked for. Iterating raises ModelError as :class:`OpenAIClientModel`
    does.
    """

    def start(message: Mapping[str, Any], redact: Redactor) -> JsonReply:
        kind = ResponsesReply if str(message.get("type", "")).startswith("response.") else ChatReply
        return kind(redact, structured=structured)

    return read_sdk_stream(lambda: stream, start)
