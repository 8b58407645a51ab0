"""Messages as the semantic conventions describe them, for spans that may have them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..._json import compact_json, is_list, is_object
from ...models.model import Message, ReasoningDelta, TextDelta, ToolCall, ToolResult

__all__ = ["OutputParts", "input_messages", "output_messages", "system_instructions"]


def input_messages(messages: Sequence[Message]) -> str:
    """Return the messages of a request as JSON."""
    return compact_json([{"role": message.get("role"), "parts": _parts(message)} for message in messages])


def system_instructions(text: str) -> str:
    """Return a system prompt as JSON."""
    return compact_json([_text(text)])


def output_messages(parts: Sequence[dict[str, Any]], reason: str) -> str:
    """Return an answer as JSON."""
    return compact_json([{"role": "assistant", "parts": list(parts), "finish_reason": reason}])


class OutputParts:
    """The parts of an answer, as its events come."""

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []

    def add(self, event: object) -> None:
        """Add an event; neighbouring text is one part."""
        if isinstance(event, TextDelta | ReasoningDelta):
            kind = "text" if isinstance(event, TextDelta) else "reasoning"
            if self.parts and self.parts[-1]["type"] == kind:
                self.parts[-1]["content"] += event.text
            else:
                self.parts.append({"type": kind, "content": event.text})
        elif isinstance(event, ToolCall):
            self.parts.append(_call(event.id, event.name, event.arguments))
        elif isinstance(event, ToolResult):
            self.parts.append({"type": "tool_call_response", "id": event.id, "response": _value(event.result)})


def _parts(message: Message) -> list[dict[str, Any]]:
    content = message.get("content")
    if message.get("role") == "tool":
        return [{"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}]
    parts = [_text(content)] if isinstance(content, str) and content else []
    if is_list(content):
        for part in content:
            is_text = is_object(part) and part.get("type") == "text"
            parts.append(_text(str(part.get("text", ""))) if is_text else {"type": "file"})
    for call in message.get("tool_calls") or ():
        function: Mapping[str, Any] = call.get("function", call)
        parts.append(_call(call.get("id"), function.get("name"), function.get("arguments") or "{}"))
    return parts


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "content": text}


def _call(call_id: Any, name: Any, arguments: str) -> dict[str, Any]:
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": _value(arguments)}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
