"""A streamed reply of Anthropic's Messages API as model events, read without I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..._json import compact_json, is_object, load_json
from ..._text import join_surrogates
from ...models.endpoint.errors import Redactor, endpoint_error
from ...models.endpoint.json_reply import JsonReply
from ...models.endpoint.reply import BROKE_OFF, garbage
from ...models.model import CustomEvent, MessageData, ModelEvent, ToolCall, Usage
from .messages import KEY, kept_blocks

__all__ = ["MessagesReply"]

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
}
"""Reasons to stop, in the words of chat completions."""

_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
"""The counts that together are the input, in the words of the Messages API."""


class MessagesReply(JsonReply):
    """One reply, which arrives in events; see :class:`~aibind.models.endpoint.EndpointReply`.

    A citation comes as :class:`CustomEvent` named ``citation``; the call of a tool that Anthropic runs, and its result,
    as one named ``server_tool`` with the block as it is. Signatures, and all else that the model has to read again in
    the next request, come as :class:`MessageData`. Paragraphs of thinking from several blocks are separated by an empty
    line.
    """

    def __init__(self, redact: Redactor | None = None, *, structured: bool = False) -> None:
        super().__init__(redact, structured=structured)
        self._blocks: dict[int, dict[str, Any]] = {}
        self._arguments: dict[int, list[str]] = {}
        self._counts: dict[str, int] = {}
        self._has_thought = False

    def __repr__(self) -> str:
        return f"<MessagesReply finished={self.finished} failure={self.failure!r}>"

    def end(self) -> list[ModelEvent]:
        """Return the last events. Raises ModelError when the reply is not whole."""
        events = super().end()
        if self.failure is None and (kept := self._kept()):
            events.insert(0, MessageData(KEY, kept))
        return events

    def _take(self, message: dict[str, Any], event: str, data: str) -> Iterator[ModelEvent]:
        kind = message.get("type") or event
        if kind == "error":
            raise endpoint_error(message, BROKE_OFF, self._redact)
        try:
            yield from self._take_event(str(kind), message)
        except (TypeError, AttributeError, KeyError) as error:
            raise garbage("an event that is not as the Messages format has it", data, self._redact) from error

    def _take_event(self, kind: str, message: Mapping[str, Any]) -> Iterator[ModelEvent]:
        if kind == "message_start":
            self._count(message["message"].get("usage"))
        elif kind == "content_block_start":
            yield from self._begin(message["index"], message["content_block"])
        elif kind == "content_block_delta":
            yield from self._grow(message["index"], message["delta"])
        elif kind == "content_block_stop":
            yield from self._stop(message["index"])
        elif kind == "message_delta":
            self._count(message.get("usage"))
            self._finish(message["delta"])
        elif kind == "message_stop":
            self.finished = self.done = True

    def _begin(self, index: int, given: Mapping[str, Any]) -> Iterator[ModelEvent]:
        block = self._blocks[index] = {name: value for name, value in given.items() if value is not None}
        kind = block["type"]
        if kind == "text":
            yield from self._emit(block["text"])
        elif kind == "thinking":
            if self._has_thought:
                yield from self._emit_reasoning("\n\n")
            self._has_thought = True
            yield from self._emit_reasoning(block["thinking"])
        elif kind not in ("tool_use", "server_tool_use", "redacted_thinking"):
            yield CustomEvent("server_tool", dict(block))

    def _grow(self, index: int, delta: Mapping[str, Any]) -> Iterator[ModelEvent]:
        block, kind = self._blocks[index], delta["type"]
        if kind == "text_delta":
            block["text"] += delta["text"]
            yield from self._emit(delta["text"])
        elif kind == "thinking_delta":
            block["thinking"] += delta["thinking"]
            yield from self._emit_reasoning(delta["thinking"])
        elif kind == "signature_delta":
            block["signature"] = delta["signature"]
        elif kind == "input_json_delta":
            self._arguments.setdefault(index, []).append(delta["partial_json"])
        elif kind == "citations_delta":
            block.setdefault("citations", []).append(delta["citation"])
            yield CustomEvent("citation", delta["citation"])

    def _stop(self, index: int) -> Iterator[ModelEvent]:
        block = self._blocks[index]
        if text := "".join(self._arguments.pop(index, [])):
            try:
                block["input"] = load_json(text)
            except (ValueError, RecursionError):
                block["input"] = text  # of a call that was cut
        if block["type"] == "server_tool_use":
            yield CustomEvent("server_tool", dict(block))

    def _finish(self, delta: Mapping[str, Any]) -> None:
        reason = delta.get("stop_reason")
        if not isinstance(reason, str):
            return
        self.finished = True
        self._reason = _REASONS.get(reason, reason)
        if reason == "refusal":
            details: Any = delta.get("stop_details") or {}
            self._refusal.append(str(details.get("explanation") or "it gave no reason"))

    def _count(self, usage: Any) -> None:
        if is_object(usage):
            self._counts |= {name: count for name, count in usage.items() if isinstance(count, int)}
            total = sum(self._counts.get(name, 0) for name in _INPUT)
            self._usage = Usage(total, self._counts.get("output_tokens", 0))

    def _kept(self) -> list[dict[str, Any]]:
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        calls = [
            {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
            for call in self._whole_calls()
        ]
        said = {
            "content": "".join(block["text"] for block in blocks if block["type"] == "text"),
            "reasoning": "\n\n".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
            "tool_calls": calls,
        }
        return kept_blocks([block for block in blocks if block != {"type": "text", "text": ""}], said)

    def _whole_calls(self) -> list[ToolCall]:
        blocks = (self._blocks[index] for index in sorted(self._blocks))
        return [
            ToolCall(str(block["id"]), str(block["name"]), join_surrogates(_text_of(block["input"])))
            for block in blocks
            if block["type"] == "tool_use"
        ]

    @property
    def _call_names(self) -> list[str]:
        return [str(block.get("name")) for block in self._blocks.values() if block["type"] == "tool_use"]

    @property
    def _is_cut_short(self) -> bool:
        return self._reason == "length"


def _text_of(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else compact_json(arguments)
