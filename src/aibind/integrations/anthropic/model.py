"""Models that Anthropic's client speaks to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from anthropic import AsyncAnthropic, transform_schema
from anthropic.lib.bedrock import AsyncAnthropicBedrock, AsyncAnthropicBedrockMantle
from anthropic.lib.vertex import AsyncAnthropicVertex

from ..._json import is_list
from ..._kinds import kind_of
from ...errors import ModelError
from ...models.endpoint.address import shown_url
from ...models.endpoint.errors import Redactor
from ...models.endpoint.json_reply import JsonReply
from ...models.model import ModelEvent, ModelRequest
from .._sdk import SdkStream, read_sdk_stream, split_options
from .messages import to_anthropic
from .reply import MessagesReply

__all__ = ["AnthropicClientModel", "anthropic_events"]

_CLIENTS = (AsyncAnthropic, AsyncAnthropicBedrock, AsyncAnthropicBedrockMantle, AsyncAnthropicVertex)
_FIT = "Answer with one JSON object and nothing else."


class AnthropicClientModel:
    """The model ``model`` at the endpoint of an ``anthropic.AsyncAnthropic``, or of its clients for Bedrock and Vertex.

    The client is yours: its retries, timeouts and proxies apply, and it stays open.

    - ``max_tokens`` is the most that one answer may have, of thinking, text and arguments together.
    - ``options`` are further arguments of ``messages.create()``, such as ``{"thinking": {"type": "adaptive"}}``. The
      settings of a request, by the names of chat completions or Anthropic's, come before them; an argument that
      ``create()`` does not have goes into the body, and None removes one.

    Signed thinking, and what tools that Anthropic runs returned, is kept in the conversation, under the key
    ``anthropic`` of the model's message, and sent with the next request. A request for JSON asks for output that fits
    the schema, as far as Anthropic knows schemas.

    Errors of the client and the endpoint are ModelError; so is a refusal, with the code ``refusal``. See
    :class:`~aibind.models.OpenAIModel` for those of an answer that is cut off. Raises TypeError for another client, and
    ValueError for arguments that cannot be used.
    """

    def __init__(
        self,
        client: AsyncAnthropic | AsyncAnthropicBedrock | AsyncAnthropicBedrockMantle | AsyncAnthropicVertex,
        model: str,
        *,
        max_tokens: int = 8192,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(client, _CLIENTS):
            raise TypeError(f"client is {kind_of(client)}: give an anthropic.AsyncAnthropic")
        if not model:
            raise ValueError("model is empty: give the model's name, as Anthropic knows it")
        if max_tokens < 1:
            raise ValueError(f"max_tokens is {max_tokens}: give 1 or more")
        self._client = client
        self._model = model
        self._max_tokens = max_tokens
        self._options = dict(options or {})

    def __repr__(self) -> str:
        return f"AnthropicClientModel({self._model!r}, base_url={shown_url(str(self._client.base_url))!r})"

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Answer ``request``. Closing the iterator closes the client's stream, so that the endpoint stops."""

        def open_stream() -> SdkStream:
            create: Any = self._client.messages.create
            given = {**self._body(request), **_settings(request.settings), **self._options}
            return create(**split_options(create, given))

        def start(_: Mapping[str, Any], redact: Redactor) -> JsonReply:
            return MessagesReply(redact, structured=request.json_schema is not None)

        return read_sdk_stream(open_stream, start)

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        messages = to_anthropic(request.messages)
        said = [text for one in messages if one["role"] == "system" for text in _texts(one["content"])]
        system = [*([request.system] if request.system else []), *said]
        body: dict[str, Any] = {
            "model": self._model,
            "max_tokens": self._max_tokens,
            "messages": [one for one in messages if one["role"] != "system"],
            "stream": True,
        }
        if not body["messages"]:
            raise ModelError("There is nothing to answer: the request has no messages")
        if request.json_schema:
            schema: dict[str, Any] = transform_schema(dict(request.json_schema))
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        elif request.json_schema is not None:
            system.append(_FIT)
        if system:
            body["system"] = "\n\n".join(system)
        if request.tools:
            body["tools"] = [_tool(tool) for tool in request.tools]
        return body


def anthropic_events(stream: SdkStream, *, structured: bool = False) -> AsyncGenerator[ModelEvent]:
    """Return the events of a stream of Anthropic's client, for models that make their own requests.

    ``stream`` is what ``messages.create(stream=True)`` returns, awaited or not; it is closed at the end. ``structured``
    is whether JSON was asked for. Iterating raises ModelError as :class:`AnthropicClientModel` does.
    """
    return read_sdk_stream(lambda: stream, lambda _, redact: MessagesReply(redact, structured=structured))


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by the names that Anthropic has for them."""
    given = dict(settings)
    limit = given.pop("max_completion_tokens", None)
    if limit is not None:
        given["max_tokens"] = limit
    if "stop" in given:
        stop = given.pop("stop")
        given["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    return given


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    if "type" in tool and "function" not in tool:  # a tool that Anthropic runs
        return dict(tool)
    function: Mapping[str, Any] = tool.get("function", tool)
    schema: Any = function.get("parameters") or {"type": "object", "properties": {}}
    described = {"description": function["description"]} if function.get("description") else {}
    return {"name": function["name"], **described, "input_schema": schema}


def _texts(content: Any) -> list[str]:
    if is_list(content):
        return [str(block.get("text", "")) for block in content]
    return [content] if content else []
