"""Workers AI as a Model: the models that run beside a Worker."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from ..errors import ModelError
from ..models._chat_errors import Redactor
from ..models._chat_reply import ChatReply
from ..models._chat_request import chat_body
from ..models._json import is_object
from ..models.model import ModelEvent, ModelRequest, TextDelta, ToolCall
from ..streams.sse import SseParser
from . import ffi

__all__ = ["DEFAULT_MODEL", "WorkersAIModel"]

DEFAULT_MODEL = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"

_ASKED = ("messages", "stream", "tools", "response_format")
_PASSING = re.compile(r"\b(?:429|5\d\d|3040|3036)\b|capacity|rate limit|timed? ?out|connection lost", re.IGNORECASE)


class WorkersAIModel:
    """Streams replies of a model of Workers AI, through the binding ``env.AI``, raw or as the SDK wraps it.

    ``model`` is its name, ``@cf/…``. ``options`` go with each request as they are, such as ``{"max_tokens": 2000}``:
    without it Workers AI stops after 256 tokens. Both formats that its models answer in are read, their own and that of
    chat completions. Closing the stream ends the reply. Raises ModelError for what Workers AI refuses.
    """

    def __init__(self, ai: object, model: str = DEFAULT_MODEL, *, options: dict[str, Any] | None = None) -> None:
        self._ai = ffi.unwrap(ai, method="run", what="WorkersAIModel")
        self._model = model
        self._options = options or {}

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Answer ``request``."""
        body = chat_body(self._model, request)
        asked = {key: body[key] for key in _ASKED if key in body}
        reply = ChatReply(Redactor(()), structured=request.json_schema is not None)
        parser = SseParser()
        try:
            answer = await self._ai.run(self._model, ffi.to_js_object({**asked, **self._options}))
            async with aclosing(ffi.read_stream(answer)) as pieces:
                async for data in pieces:
                    for message in parser.feed(data):
                        for event in _own_format(message.data):
                            yield event
                        for event in reply.feed(message.data, message.event):
                            yield event
                    if reply.done:
                        break
        except Exception as error:
            text = ffi.failure_of(error)
            if text is None:
                raise
            retryable = _PASSING.search(text) is not None
            raise ModelError(f"Workers AI failed: {text}", code="workers_ai", retryable=retryable) from error
        for event in reply.end():
            yield event
        if reply.failure is not None:
            raise reply.failure


def _own_format(data: str) -> Iterator[ModelEvent]:
    """Read ``{"response": "text", "tool_calls": [{"name", "arguments"}]}``; the other format has its own reader."""
    try:
        chunk: Any = json.loads(data)
    except ValueError:
        return
    if not is_object(chunk) or "choices" in chunk:
        return
    text = chunk.get("response")
    if text is not None and text != "":
        yield TextDelta(text if isinstance(text, str) else json.dumps(text, ensure_ascii=False))
    for call in chunk.get("tool_calls") or ():
        arguments = call.get("arguments", {})
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        yield ToolCall(f"call_{uuid.uuid4().hex[:24]}", str(call["name"]), written)
