"""A streamed chat completion as model events, read without I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from ..._json import is_list, is_object
from ...errors import ModelError
from ..endpoint.errors import Redactor, endpoint_error
from ..endpoint.json_reply import JsonReply
from ..endpoint.reply import BROKE_OFF, garbage
from ..endpoint.usage import usage_of
from ..model import CustomEvent, ModelEvent, ToolCall
from .calls import CallJoiner

__all__ = ["ChatReply"]

_CUT_SHORT = frozenset({"length", "model_length", "max_tokens"})
_FAILED = frozenset({"error", "insufficient_system_resource", "network_error"})


class ChatReply(JsonReply):
    """One reply, which arrives in chunks.

    Feed it the data of each message. ``finished`` becomes true when the model has said why it stopped, ``done`` when
    nothing more is expected. Then :meth:`end` returns the last events, tool calls, the reason and usage, and
    ``failure`` is the error to raise after them, or None.

    ``structured`` is whether JSON was asked for. A reply that ran into the limit of tokens is a failure when it holds
    JSON or a tool call, of which a part is of no use, and not when it is text; see :class:`OpenAIModel` for the rest.
    ``redact`` removes secrets from the endpoint's messages.
    """

    def __init__(self, redact: Redactor | None = None, *, structured: bool = False) -> None:
        super().__init__(redact, structured=structured)
        self._calls = CallJoiner()

    def __repr__(self) -> str:
        return f"<ChatReply finished={self.finished} done={self.done} failure={self.failure!r}>"

    def _take(self, message: dict[str, Any], event: str, data: str) -> Iterator[ModelEvent]:
        extra = message.get("x_groq")
        groq = extra if is_object(extra) else {}
        if message.get("error") or groq.get("error") or event == "error" or message.get("object") == "error":
            raise endpoint_error({"error": groq["error"]} if groq.get("error") else message, BROKE_OFF, self._redact)
        if message.get("object") == "response" or str(message.get("type", "")).startswith("response."):
            raise ModelError(
                "The endpoint answered in OpenAI's Responses format, but this model speaks chat completions: create it "
                "with api='responses', or give a base_url whose /chat/completions exists",
                code="responses_format",
            )
        usage = message.get("usage") or groq.get("usage")
        self._usage = usage_of(usage, message.get("model")) or self._usage
        choices = message.get("choices")
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
        reasoning = _texts(delta.get("reasoning_content") or delta.get("reasoning"), is_reasoning=True)
        for text, is_reasoning in chain(reasoning, _texts(delta.get("content"), is_reasoning=False)):
            yield from self._emit_reasoning(text) if is_reasoning else self._emit(text)
        for annotation in delta.get("annotations") or ():
            yield CustomEvent("citation", annotation)
        if refusal := delta.get("refusal"):
            yield from self._refuse(str(refusal))

    def _whole_calls(self) -> list[ToolCall]:
        return self._calls.whole()

    @property
    def _call_names(self) -> list[str]:
        return [call.name for call in self._calls.calls]

    @property
    def _is_cut_short(self) -> bool:
        return self._reason in _CUT_SHORT

    @property
    def _is_whole(self) -> bool:
        return self.done or self.finished

    def _judge(self) -> ModelError | None:
        if self._reason in _FAILED and not self._refusal:
            return ModelError(f"The model stopped with the reason “{self._reason}”", code=self._reason, retryable=True)
        return super()._judge()


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
