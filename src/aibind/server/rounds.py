"""Rounds: what a model says in answer to one request, the tools that it calls, and their results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .._json import compact_json, is_object, load_json
from ..models.model import Message, MessageData, ReasoningDelta, TextDelta, ToolCall, ToolResult

__all__ = ["Round"]


@dataclass(slots=True)
class Round:
    """The answer to one request, in pieces, and the results of the tools that it calls."""

    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    results: list[ToolResult] = field(default_factory=list[ToolResult])
    data: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come yet."""
        return not (self.text or self.reasoning or self.calls or self.results)

    @property
    def is_whole(self) -> bool:
        """Whether tools were called, and all of their results are there."""
        return 0 < len(self.calls) <= len(self.results)

    @property
    def open_calls(self) -> list[ToolCall]:
        """The calls that have no result yet."""
        answered = [result.id for result in self.results]
        waiting: list[ToolCall] = []
        for call in self.calls:
            if call.id in answered:
                answered.remove(call.id)
            else:
                waiting.append(call)
        return waiting

    def take(self, event: TextDelta | ReasoningDelta | ToolCall | ToolResult | MessageData) -> None:
        """Add what the model says next, or the result of a call."""
        if isinstance(event, TextDelta):
            self.text.append(event.text)
        elif isinstance(event, ReasoningDelta):
            self.reasoning.append(event.text)
        elif isinstance(event, ToolResult):
            self.results.append(event)
        elif isinstance(event, MessageData):
            self.data[event.key] = event.value
        else:
            self.calls.append(event)

    def messages(self) -> list[Message]:
        """Return the round as chat completions has it: the model's message, then one for each result.

        Reasoning and MessageData, which chat completions do not have, are keys that are not sent to endpoints.
        """
        message: Message = {"role": "assistant", "content": "".join(self.text)}
        if self.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}
                for call in self.calls
            ]
        if self.reasoning:
            message["reasoning"] = "".join(self.reasoning)
        message.update(self.data)
        return [
            message,
            *(
                {"role": "tool", "tool_call_id": result.id, "name": result.name, "content": result.result}
                for result in self.results
            ),
        ]


def _arguments(call: ToolCall) -> str:
    """Return a call's arguments as the JSON text of an object: endpoints refuse conversations with any other text."""
    text = call.arguments or "{}"
    try:
        value: Any = load_json(text)
    except (ValueError, RecursionError):
        value = None
    return text if is_object(value) else compact_json({"invalid_arguments": text})
