"""Rounds: what a model says in answer to one request, the tools that it calls, and their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .._json import compact_json, is_object, load_json
from ..models.model import Message, MessageData, ReasoningDelta, TextDelta, ToolCall, ToolResult

__all__ = ["Round", "open_round", "place_result"]


@dataclass(slots=True)
class Round:
    """The answer to one request, in pieces, and the results of the tools that it calls.

    With ``is_continued`` the calls are those of an earlier reply, which holds the model's message.
    """

    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    results: list[ToolResult] = field(default_factory=list[ToolResult])
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    is_continued: bool = False

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
        results: list[Message] = [
            {"role": "tool", "tool_call_id": result.id, "name": result.name, "content": result.result}
            for result in self.results
        ]
        if self.is_continued:
            return results
        message: Message = {"role": "assistant", "content": "".join(self.text)}
        if self.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}
                for call in self.calls
            ]
        if self.reasoning:
            message["reasoning"] = "".join(self.reasoning)
        message.update(self.data)
        return [message, *results]


def open_round(rounds: list[Round]) -> Round:
    """Return the round that the model's next event belongs to, beginning another after results."""
    if rounds[-1].results or rounds[-1].is_continued:
        rounds.append(Round())
    return rounds[-1]


def place_result(rounds: Sequence[Round], result: ToolResult) -> Round | None:
    """Add a result to the round of its call; return that, or None for a call that is not here.

    Endpoints refuse a result without its call.
    """
    for one in {id(one): one for one in (rounds[-1], rounds[0])}.values():
        is_open = one is rounds[-1] or one.is_continued  # a model may speak before it runs what it was allowed to run
        if is_open and any(call.id == result.id for call in one.open_calls):
            one.results.append(result)
            return one
    return None


def _arguments(call: ToolCall) -> str:
    """Return a call's arguments as the JSON text of an object: endpoints refuse conversations with any other text."""
    text = call.arguments or "{}"
    try:
        value: Any = load_json(text)
    except (ValueError, RecursionError):
        value = None
    return text if is_object(value) else compact_json({"invalid_arguments": text})
