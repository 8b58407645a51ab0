"""The default system prompts of the endpoints, and transcripts of conversations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from .._json import is_list, is_object
from ..models.model import Message

__all__ = ["COMPACT", "COMPLETE", "TITLE", "transcript"]

COMPLETE = "You complete what somebody is writing. Answer with the words that come next, and with nothing else."

TITLE = (
    "You name conversations. Answer with a title of two to six words, in the language of the conversation: no quotes."
)

COMPACT = (
    "You condense conversations. Answer with one paragraph from which a colleague could carry on: who wants what, what"
    " was decided, which facts and preferences were given, what is still open. Leave out small talk."
)


def transcript(messages: Sequence[Message]) -> str:
    """Return a conversation as text, with the role before each message, and the calls of tools with their results."""
    return "\n\n".join(f"{message['role']}: {_said(message)}" for message in messages)


def _said(message: Message) -> str:
    calls: Any = message.get("tool_calls")
    called = [_call(call) for call in calls if is_object(call)] if is_list(calls) else []
    text = _text_of(message.get("content"))
    return "\n".join([text, *called] if text else called or [text])


def _call(call: dict[str, Any]) -> str:
    function: Any = call.get("function")
    fields = function if is_object(function) else call
    return f"(calls {fields.get('name', 'a tool')} with {fields.get('arguments') or '{}'})"


def _text_of(content: Any) -> str:
    if not isinstance(content, list):
        return str(content or "")
    parts = cast("list[dict[str, Any]]", content)
    return "\n".join(str(part["text"]) if "text" in part else _attached(part) for part in parts)


def _attached(part: dict[str, Any]) -> str:
    file = part.get("file")
    fields = cast("dict[str, Any]", file) if isinstance(file, dict) else {}
    return f"(attached: {fields.get('name') or fields.get('filename') or 'a file'})"
