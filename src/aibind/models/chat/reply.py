"""A streamed chat completion as model events, read without I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..._json import is_list, is_object
from ..._text import SurrogateJoiner
from ...errors import ModelError
from ..endpoint.errors import Redactor, endpoint_error, snippet
from ..endpoint.reply import BROKE_OFF, cut_off, garbage
from ..endpoint.usage import usage_of
from ..model import Finish, ModelEvent, ReasoningDelta, TextDelta, Usage
from .calls import CallJoiner

__all__ = ["ChatReply"]

_CUT_SHORT = frozenset({"length", "model_length", "max_tokens"})
_FAILED = frozenset({"error", "insufficient_system_resource", "network_error"})


class ChatReply:
    """One reply, which arrives in chunks.

    Feed it the data of each message. ``finished`` becomes true when the model has said why it stopped, ``done`` when
    nothing more is expected. Then :meth:`end` returns the last events, tool calls, the reason and usage, and
    ``failure`` is the error to raise after them, or None.

    ``structured`` is whether JSON was asked for. A reply that ran into the limit of tokens is a failure when it holds
    JSON or a tool call, of which a part is of no use, and not when it is text; see :class:`OpenAIModel` for the rest.
    ``redact`` removes secrets from the endpoint's messages.
    """

    def __init__(self, redact: Redactor | None = None, *, structured: bool = False) -> None:
        self.done = False
        self.finished = False
        self.failure: ModelError | None = None
        self._redact = redact or Redactor()
        self._structured = structured
        self._reason = ""
        self._text = SurrogateJoiner()
        self._reasoning = SurrogateJoiner()
        self._refusal: list[str] = []
        self._calls = CallJoiner()
        self._usage: Usage | None = None
        self._seen = ""  # the first message

    def __repr__(self) -> str:
        return f"<ChatReply finished={self.finished} done={self.done} failure={self.failure!r}>"

    def feed(self, data: str, event: str = "") -> Iterator[ModelEvent]:
        """Yield the events of one message. Raises ModelError for an error, and for data that is not a reply."""
        self._seen = self._seen or data
        if data.strip() == "[DONE]":
            self.done = True
            return
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError) as error:
            if event == "error":
                raise endpoint_error(data, BROKE_OFF, self._redact) from error
            raise garbage("a data line that is not JSON", data, self._redact) from error
        if not is_object(chunk):
            raise garbage("a data line that is not a JSON object", data, self._redact)
        yield from self._take(chunk, event, data)

    def end(self) -> list[ModelEvent]:
        """Return the last events. Raises ModelError when the reply is not whole."""
        if not (self.done or self.finished):
            if not self._seen:
                raise ModelError("The model's endpoint sent an empty answer: check base_url and the model's name")
            raise cut_off()
        events: list[ModelEvent] = [
            kind(text)
            for kind, joiner in ((ReasoningDelta, self._reasoning), (TextDelta, self._text))
            if (text := joiner.flush())
        ]
        self.failure = self._judge()
        if self.failure is None:
            events.extend(self._calls.whole())
        if self._reason:
            events.append(Finish(self._reason))
        if self._usage is not None:
            events.append(self._usage)
        return events

    def _take(self, chunk: dict[str, Any], event: str, data: str) -> Iterator[ModelEvent]:
        extra = chunk.get("x_groq")
        groq = extra if is_object(extra) else {}
        if chunk.get("error") or groq.get("error") or event == "error" or chunk.get("object") == "error":
            raise endpoint_error({"error": groq["error"]} if groq.get("error") else chunk, BROKE_OFF, self._redact)
        if chunk.get("object") == "response" or str(chunk.get("type", "")).startswith("response."):
            raise ModelError(
                "The endpoint answered in OpenAI's Responses format, but this model speaks chat completions: create it "
                "with api='responses', or give a base_url whose /chat/completions exists",
                code="responses_format",
            )
        self._usage = usage_of(chunk.get("usage")) or usage_of(groq.get("usage")) or self._usage
        choices = chunk.get("choices")
        if choices is None:
            return
        if not is_list(choices):
            raise garbage("choices that are not a list", data, self._redact)
        for choice in choices:
            if not is_object(choice):
                raise garbage("a choice that is not an object", data, self._redact)
            if choice.get("index") in (0, None):  # only one was asked for
                yield from self._take_choice(choice, data)

    def _take_choice(self, choice: dict[str, Any], data: str) -> Iterator[ModelEvent]:
        if choice.get("error"):
            raise endpoint_error(choice, BROKE_OFF, self._redact)
        delta: Any = choice.get("delta") or choice.get("message") or {}  # a message, when the answer came in one piece
        if not is_object(delta):
            raise garbage("a delta that is not an object", data, self._redact)
        try:
            yield from self._take_texts(delta)
            for piece in delta.get("tool_calls") or ():
                self._calls.take(piece)
        except (TypeError, AttributeError) as error:
            raise garbage("a delta that is not as chat completions has it", data, self._redact) from error
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self.finished = True
            self._reason = reason

    def _take_texts(self, delta: Mapping[str, Any]) -> Iterator[ModelEvent]:
        # DeepSeek, xAI, Qwen and vLLM send reasoning_content, Groq and OpenRouter reasoning; none sends both
        for text, is_reasoning in _texts(delta.get("reasoning_content") or delta.get("reasoning"), is_reasoning=True):
            yield from self._emit(text, is_reasoning=is_reasoning)
        for text, is_reasoning in _texts(delta.get("content"), is_reasoning=False):
            yield from self._emit(text, is_reasoning=is_reasoning)
        refusal = delta.get("refusal")
        if refusal and self._structured:
            self._refusal.append(str(refusal))
        elif refusal:
            yield from self._emit(str(refusal), is_reasoning=False)

    def _emit(self, piece: str, *, is_reasoning: bool) -> Iterator[ModelEvent]:
        if is_reasoning:
            if text := self._reasoning.join(piece):
                yield ReasoningDelta(text)
        elif text := self._text.join(piece):
            yield TextDelta(text)

    def _judge(self) -> ModelError | None:
        if self._refusal:
            refusal = snippet(self._redact("".join(self._refusal)), 500)
            return ModelError(f"The model refused: {refusal}", code="refusal")
        if self._reason == "content_filter":
            return ModelError("The endpoint's content filter stopped the answer", code="content_filter")
        if self._reason in _FAILED:
            return ModelError(f"The model stopped with the reason “{self._reason}”", code=self._reason, retryable=True)
        if self._reason in _CUT_SHORT and (self._structured or self._calls):
            what = "a tool call" if self._calls else "structured output"
            return ModelError(f"The limit of tokens cut off {what}: allow more tokens", code="length")
        if any(not call.name for call in self._calls.calls):
            return ModelError("The model called a tool without naming it", code="malformed_reply", retryable=True)
        return None


def _texts(value: Any, *, is_reasoning: bool) -> Iterator[tuple[str, bool]]:
    """Yield the texts in a delta's content, which is text or a list of parts (of Mistral's reasoning models)."""
    if isinstance(value, str):
        if value:
            yield value, is_reasoning
    elif is_list(value):
        for part in value:
            yield from _texts(part, is_reasoning=is_reasoning)
    elif is_object(value):
        yield from _texts(value.get("thinking"), is_reasoning=True)
        yield from _texts(value.get("text"), is_reasoning=is_reasoning)
    elif value is not None:
        raise TypeError(f"content is {type(value).__name__}")
