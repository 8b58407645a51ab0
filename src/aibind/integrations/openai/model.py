"""Models at an endpoint that OpenAI's client speaks to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from openai import AsyncOpenAI

from ..._kinds import kind_of
from ...models.chat.reply import ChatReply
from ...models.chat.request import Structured, chat_body
from ...models.endpoint.address import shown_url
from ...models.endpoint.errors import Redactor
from ...models.endpoint.json_reply import JsonReply
from ...models.model import ModelEvent, ModelRequest
from ...models.responses.reply import ResponsesReply
from ...models.responses.request import responses_body
from .._sdk import SdkStream, read_sdk_stream, split_options

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

    def __repr__(self) -> str:
        return f"OpenAIClientModel({self._model!r}, base_url={shown_url(str(self._client.base_url))!r})"

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Answer ``request``. Closing the iterator closes the client's stream, so that the endpoint stops."""
        speaks_responses = self._api == "responses"
        make, kind = (responses_body, ResponsesReply) if speaks_responses else (chat_body, ChatReply)

        def open_stream() -> SdkStream:
            create: Any = (self._client.responses if speaks_responses else self._client.chat.completions).create
            body = make(self._model, request, self._structured)
            return create(**split_options(create, {**body, **request.settings, **self._options}))

        def start(_: Mapping[str, Any], redact: Redactor) -> JsonReply:
            return kind(redact, structured=request.json_schema is not None)

        return read_sdk_stream(open_stream, start)


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
