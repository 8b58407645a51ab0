"""Workers AI as a Model."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from .._json import is_list, is_object
from ..errors import ModelError
from ..models import ModelEvent, ModelRequest
from ..models.chat import ChatReply, chat_body
from ..streams import SseParser
from . import ffi, ffi_http

__all__ = ["DEFAULT_MODEL", "WorkersAIModel"]

DEFAULT_MODEL = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"

_SENT_KEYS = ("messages", "stream", "tools", "response_format")
_PASSING = re.compile(r"\b(?:429|5\d\d|3040|3036)\b|capacity|rate limit|timed? ?out|connection lost", re.IGNORECASE)


class WorkersAIModel:
    """A model of Workers AI, which runs beside the Worker, through the binding ``env.AI``, raw or as the SDK wraps it.

    ``model`` is its name, ``@cf/…``. ``options`` are added to each request, such as ``{"max_tokens": 2000}``; without
    that one Workers AI stops after 256 tokens. Answers are read in both formats that its models use, their own and that
    of chat completions. JSON that has to fit a schema comes in one piece, since Workers AI does not stream it.

    Raises RuntimeError outside a Worker, and TypeError for anything but an AI binding.
    """

    def __init__(self, ai: object, model: str = DEFAULT_MODEL, *, options: dict[str, Any] | None = None) -> None:
        self._ai = ffi.unwrap(ai, method="run", what="WorkersAIModel")
        self._model = model
        self._options = options or {}

    @property
    def model_name(self) -> str:
        """The model that is asked."""
        return self._model

    def __repr__(self) -> str:
        return f"WorkersAIModel({self._model!r})"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Answer ``request``. Closing the iterator ends the reply.

        Raises ModelError for what Workers AI refuses, and for an answer that cannot be read.
        """
        reply = ChatReply(structured=request.json_schema is not None)
        try:
            answer = await ffi.settle(self._ai, "run", self._model, ffi.to_js_object(self._body(request)))
            async with aclosing(_messages(answer)) as messages:
                async for kind, data in messages:
                    for event in reply.feed(_as_completion(data), kind):
                        yield event
                    if reply.done:
                        break
        except Exception as error:
            text = ffi.failure_of(error)
            if text is None:
                raise
            retryable = _PASSING.search(text) is not None
            raise ModelError(
                f"Workers AI failed: {text}", code="workers_ai", retryable=retryable, for_clients="Workers AI failed"
            ) from error
        for event in reply.end():
            yield event
        if reply.failure is not None:
            raise reply.failure

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        body = chat_body(self._model, request)
        if request.json_schema is not None:
            body["stream"] = False
            if "json_schema" in body["response_format"]:  # Workers AI takes the schema itself, not wrapped
                body["response_format"]["json_schema"] = dict(request.json_schema)
        return {**{key: body[key] for key in _SENT_KEYS if key in body}, **request.settings, **self._options}


async def _messages(answer: ffi.JsObject) -> AsyncGenerator[tuple[str, str], None]:
    """Yield the event and data of each message of an answer, which is an event stream or one object."""
    if not hasattr(answer, "getReader"):
        if not ffi.is_nothing(answer):
            yield "", json.dumps(_whole(ffi.from_js(answer)))
            yield "", "[DONE]"
        return
    parser = SseParser()
    async with aclosing(ffi_http.read_stream(answer)) as pieces:
        async for piece in pieces:
            for message in parser.feed(piece):
                yield message.event, message.data
    for message in parser.flush():
        if message.data == "[DONE]":  # anything else may be a part of a message
            yield message.event, message.data


def _whole(answer: Any) -> Any:
    if is_object(answer) and not answer.keys() & {"response", "tool_calls", "choices", "error", "errors"}:
        raise ModelError(
            f"Workers AI answered with neither text nor tool calls, but {sorted(answer)}: is this a model for text?",
            code="malformed_reply",
        )
    return answer


def _as_completion(data: str) -> str:
    """Return a message in Workers AI's own format as one of chat completions, and any other unchanged.

    Its own format is ``{"response": "text", "tool_calls": [{"name", "arguments"}], "usage": {…}}``. Text that looks
    like a number or like JSON arrives as such a value.
    """
    if '"choices"' in data:
        return data
    try:
        chunk: Any = json.loads(data)
    except ValueError:
        return data
    if not is_object(chunk):
        return data
    text, calls, errors = chunk.get("response"), chunk.get("tool_calls"), chunk.get("errors")
    delta: dict[str, Any] = {}
    if text is not None:
        delta["content"] = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
    if calls is not None:
        delta["tool_calls"] = [_call(call) for call in calls] if is_list(calls) else calls
    if is_list(errors) and errors:
        chunk["error"] = errors[0]
    return json.dumps({**chunk, "choices": [{"index": 0, "delta": delta}]})


def _call(call: Any) -> Any:
    if not is_object(call) or "function" in call:
        return call
    arguments: Any = call.get("arguments")
    function: dict[str, Any] = {"name": call.get("name"), "arguments": "{}" if arguments is None else arguments}
    return {"id": call.get("id"), "function": function}
