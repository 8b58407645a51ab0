"""A streamed reply in OpenAI's Responses format as model events, read without I/O."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from ..._json import is_object
from ..._text import join_surrogates
from ...errors import ModelError
from ..endpoint.errors import Redactor, endpoint_error
from ..endpoint.json_reply import JsonReply
from ..endpoint.reply import BROKE_OFF, garbage
from ..endpoint.usage import usage_of
from ..model import CustomEvent, ModelEvent, ReplyReference, ToolCall

__all__ = ["ResponsesReply"]

_REASONS = {"max_output_tokens": "length"}
"""The reasons for an incomplete response, in the words of chat completions."""

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})

_UNDER_WAY = frozenset({"queued", "in_progress"})
"""The states of a response that has not ended."""

_SPOKEN = frozenset({"message", "reasoning", "function_call", "custom_tool_call"})
"""The items of a response that come as other events; the rest are calls of tools that the provider runs."""

_REASONING_DELTAS = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})


class ResponsesReply(JsonReply):
    """One reply, which arrives in events; see :class:`~aibind.models.endpoint.EndpointReply`.

    ``response_id`` is the response's id as soon as the endpoint has told it, and ``sequence_number`` that of the last
    event read, from which a background response can be streamed on. With ``background`` the id is also the first
    event, a :class:`ReplyReference`. ``structured`` is whether JSON was asked for. A
    reply that ran into the limit of tokens is a failure when it holds JSON or a tool call, of which a part is of no
    use, and not when it is text. ``redact`` removes secrets from the endpoint's messages.

    A tool that the provider runs, such as its web search, comes as :class:`CustomEvent` named ``server_tool``, when it
    begins and when it ends, with the item as the endpoint sends it; a citation as one named ``citation``.

    The paragraphs of a summary of the reasoning are separated by an empty line. The call of a custom tool is a
    :class:`ToolCall` whose arguments are a JSON string.
    """

    def __init__(self, redact: Redactor | None = None, *, structured: bool = False, background: bool = False) -> None:
        super().__init__(redact, structured=structured)
        self._background = background
        self.response_id: str | None = None
        self.sequence_number: int | None = None
        self._is_reasoning_begun = False
        self._calls: list[ToolCall] = []

    def __repr__(self) -> str:
        return f"<ResponsesReply {self.response_id!r} finished={self.finished} failure={self.failure!r}>"

    def _take(self, message: dict[str, Any], event: str, data: str) -> Iterator[ModelEvent]:
        try:
            yield from self._take_event(message, event)
        except (TypeError, AttributeError, KeyError) as error:
            raise garbage("an event that is not as the Responses format has it", data, self._redact) from error

    def _take_event(self, message: dict[str, Any], event: str) -> Iterator[ModelEvent]:
        if message.get("object") == "response":  # an answer in one piece
            yield from self._take_whole(message)
            return
        kind = str(message.get("type") or event)
        number = message.get("sequence_number")
        if isinstance(number, int):
            self.sequence_number = number
        response = message.get("response")
        if is_object(response):
            yield from self._take_id(response)
        if kind == "error" or message.get("error"):
            raise endpoint_error(message, BROKE_OFF, self._redact)
        if kind in _ENDS:
            self._take_end(kind, response if is_object(response) else {})
        elif kind == "response.output_text.delta":
            yield from self._emit(message["delta"])
        elif kind in _REASONING_DELTAS:
            yield from self._emit_reasoning(message["delta"])
        elif kind == "response.reasoning_summary_part.added":
            if self._is_reasoning_begun:
                yield from self._emit_reasoning("\n\n")
        elif kind == "response.refusal.delta":
            yield from self._refuse(message["delta"])
        elif kind == "response.output_text.annotation.added":
            yield CustomEvent("citation", message["annotation"])
        elif kind in ("response.output_item.added", "response.output_item.done"):
            item = message["item"]
            if item["type"] not in _SPOKEN:
                yield CustomEvent("server_tool", item)
            elif kind == "response.output_item.done":
                self._take_call(item)
        elif message.get("choices") is not None:
            raise ModelError(
                "The endpoint answered in the format of chat completions: leave out api='responses'",
                code="chat_completions_format",
            )

    def _take_id(self, response: Mapping[str, Any]) -> Iterator[ModelEvent]:
        identity = response.get("id")
        if not isinstance(identity, str) or not identity:
            return
        if self._background and self.response_id is None:
            yield ReplyReference(identity)
        self.response_id = identity

    def _take_whole(self, response: dict[str, Any]) -> Iterator[ModelEvent]:
        yield from self._take_id(response)
        if response.get("status") in _UNDER_WAY or self.sequence_number is not None:
            self.done = True  # nothing to read yet, or a part of it has been read
            return
        for item in response.get("output") or ():
            if item.get("type") == "reasoning":
                for part in item.get("summary") or ():
                    yield from self._emit_reasoning("\n\n" * self._is_reasoning_begun + part["text"])
                if not item.get("summary"):
                    for part in item.get("content") or ():
                        yield from self._emit_reasoning(part["text"])
            elif item.get("type") == "message":
                for part in item["content"]:
                    if part["type"] == "refusal":
                        yield from self._refuse(part["refusal"])
                    elif "text" in part:
                        yield from self._emit(part["text"])
                        for annotation in part.get("annotations") or ():
                            yield CustomEvent("citation", annotation)
            elif item.get("type") in _SPOKEN:
                self._take_call(item)
            else:
                yield CustomEvent("server_tool", item)
        self._take_end(f"response.{response.get('status') or 'completed'}", response)

    def _take_call(self, item: Mapping[str, Any]) -> None:
        kind = item.get("type")
        if kind not in ("function_call", "custom_tool_call"):
            return
        arguments = item["arguments"] if kind == "function_call" else json.dumps(item["input"], ensure_ascii=False)
        if not isinstance(arguments, str):  # some compatible endpoints send an object instead of its text
            arguments = json.dumps(arguments, ensure_ascii=False)
        call_id = str(item.get("call_id") or item.get("id") or f"call_{uuid.uuid4().hex[:24]}")
        self._calls.append(ToolCall(call_id, str(item.get("name") or ""), join_surrogates(arguments)))

    def _take_end(self, kind: str, response: Mapping[str, Any]) -> None:
        self._usage = usage_of(response.get("usage"), response.get("model")) or self._usage
        if kind == "response.failed":
            raise endpoint_error(response if response.get("error") else kind, BROKE_OFF, self._redact)
        if kind == "response.cancelled":
            raise ModelError("The response was cancelled at the model's endpoint", code="cancelled")
        details: Any = response.get("incomplete_details") or {}
        if kind == "response.incomplete":
            reason = str(details.get("reason") or "incomplete")
            self._reason = _REASONS.get(reason, reason)
        self.finished = self.done = True

    def _emit_reasoning(self, piece: str) -> Iterator[ModelEvent]:
        self._is_reasoning_begun = True
        return super()._emit_reasoning(piece)

    def _whole_calls(self) -> list[ToolCall]:
        return self._calls

    @property
    def _call_names(self) -> list[str]:
        return [call.name for call in self._calls]

    @property
    def _is_cut_short(self) -> bool:
        return bool(self._reason)  # there is one for an incomplete response alone

    @property
    def _stop_reason(self) -> str:
        return self._reason or ("tool_calls" if self._calls else "stop")
