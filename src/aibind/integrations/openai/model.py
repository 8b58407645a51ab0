"""Models at an endpoint that OpenAI's client speaks to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from openai import AsyncOpenAI

from ..._kinds import kind_of
from ...models.chat.prefill import Prefill, Prefilled, check_prefill
from ...models.chat.reply import ChatReply
from ...models.chat.request import Structured, chat_body
from ...models.endpoint.address import shown_url
from ...models.endpoint.errors import Redactor
from ...models.endpoint.json_reply import JsonReply
from ...models.model import ModelEvent, ModelRequest
from ...models.responses.background import BACKGROUND_FIELDS, BackgroundReader, cancel_response, check_background
from ...models.responses.reply import ResponsesReply
from ...models.responses.request import responses_body
from ...models.resuming import not_resumable
from .._sdk import SdkStream, read_sdk_stream, split_options
from .background import BACKOFF_S, SdkRequests

__all__ = ["OpenAIClientModel", "openai_events"]

_APIS = ("chat_completions", "responses")


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
        if not model:
            raise ValueError("model is empty: give the model's name as the endpoint knows it")
        if api not in _APIS:
            raise ValueError(f"api is {api!r}: give 'chat_completions' or 'responses'")
        if structured not in ("json_schema", "json_object"):
            raise ValueError(f"structured is {structured!r}: give 'json_schema' or 'json_object'")
        self._client = client
        self._model = model
        self._api = api
        self._structured: Structured = structured
        self._options = dict(options or {})
        check_background(api, self._options, background=background, where="options")
        check_prefill(prefill, api, background=background)
        self._background = background
        self._prefill: Prefill | None = prefill

    def __repr__(self) -> str:
        return f"OpenAIClientModel({self._model!r}, base_url={shown_url(str(self._client.base_url))!r})"

    @property
    def resumable(self) -> bool:
        """Whether another process can go on with an answer: with ``background`` or ``prefill``."""
        return self._background or self._prefill is not None

    @property
    def repeats_exactly(self) -> bool:
        """Whether the rest of an answer is what the first process would have read: with ``background``."""
        return self._background

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Answer ``request``. Closing the iterator closes the client's stream.

        The endpoint stops then, but for a background response.
        """
        body = self._body(request)
        events = self._reader(request, body).begin() if self._background else self._ask(request, body)
        async with aclosing(events):
            async for event in events:
                yield event

    async def resume(
        self, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
    ) -> AsyncGenerator[ModelEvent]:
        """Yield what comes after ``so_far``, as :meth:`aibind.models.OpenAIModel.resume` does."""
        async with aclosing(self._rest(request, so_far, reference)) as events:
            async for event in events:
                yield event

    async def cancel(self, reference: str) -> None:
        """End the background response whose id is ``reference``, within 10 s. A failure is logged, and not raised."""
        if self._background:
            await cancel_response(lambda: SdkRequests(self._client, {}).cancel(reference), BACKOFF_S)

    def _rest(
        self, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
    ) -> AsyncGenerator[ModelEvent]:
        if self._prefill is not None:
            prefilled = Prefilled(request, so_far, self._prefill)
            return prefilled.rest(self._ask(request, prefilled.body(self._body(request))))
        if not self._background:
            raise not_resumable("this OpenAIClientModel was made without background and prefill")
        if not reference:
            raise not_resumable("the response's id was not stored, since it had not come")
        return self._reader(request, {}).resume(reference, so_far)

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        make = responses_body if self._api == "responses" else chat_body
        return {**make(self._model, request, self._structured), **request.settings, **self._options}

    def _ask(self, request: ModelRequest, body: Mapping[str, Any]) -> AsyncGenerator[ModelEvent]:
        speaks_responses = self._api == "responses"
        kind = ResponsesReply if speaks_responses else ChatReply

        def open_stream() -> SdkStream:
            create: Any = (self._client.responses if speaks_responses else self._client.chat.completions).create
            return create(**split_options(create, body))

        def start(_: Mapping[str, Any], redact: Redactor) -> JsonReply:
            return kind(redact, structured=request.json_schema is not None)

        return read_sdk_stream(open_stream, start)

    def _reader(self, request: ModelRequest, body: Mapping[str, Any]) -> BackgroundReader:
        redact = Redactor([self._client.api_key])
        return BackgroundReader(
            SdkRequests(self._client, {**body, **BACKGROUND_FIELDS}),
            lambda: ResponsesReply(redact, structured=request.json_schema is not None, background=True),
            BACKOFF_S,
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
