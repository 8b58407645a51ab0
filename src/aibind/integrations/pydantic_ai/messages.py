"""Conversations of chat completions as pydantic-ai's messages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from pydantic_ai.messages import (
    BinaryContent,
    DocumentUrl,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)

from ..._json import is_list, is_object, load_json
from ...errors import ModelError
from ...history import Message

__all__ = ["to_history", "to_prompt"]


def to_history(messages: Sequence[Message]) -> list[ModelMessage]:
    """Return messages as pydantic-ai's: a response for each answer, and one request for what lies between two."""
    history: list[ModelMessage] = []
    names: dict[str, str] = {}  # of the tools, by the ids of their calls
    for message in messages:
        if message.get("role") == "assistant":
            history.append(ModelResponse(_answer(message, names)))
            continue
        part = _request_part(message, names)
        last = history[-1] if history else None
        if isinstance(last, ModelRequest) and isinstance(part, ToolReturnPart):
            last.parts = [*last.parts, part]
        else:
            history.append(ModelRequest([part]))
    return history


def to_prompt(message: Message) -> str | list[UserContent]:
    """Return the content of a user's message. Raises ModelError for a part that pydantic-ai does not have."""
    content: Any = message.get("content") or ""
    return content if isinstance(content, str) else [_user_content(part) for part in content]


def _request_part(message: Message, names: dict[str, str]) -> UserPromptPart | SystemPromptPart | ToolReturnPart:
    role, content = message.get("role"), message.get("content") or ""
    if role == "tool":
        call_id = str(message.get("tool_call_id", ""))
        name = str(message.get("name") or names.get(call_id, ""))
        return ToolReturnPart(name, _value(_text(content)), call_id)
    if role == "system":
        return SystemPromptPart(_text(content))
    return UserPromptPart(to_prompt(message))


def _answer(message: Message, names: dict[str, str]) -> list[ThinkingPart | TextPart | ToolCallPart]:
    parts: list[ThinkingPart | TextPart | ToolCallPart] = []
    if message.get("reasoning"):
        parts.append(ThinkingPart(str(message["reasoning"])))
    if text := _text(message.get("content") or ""):
        parts.append(TextPart(text))
    for call in message.get("tool_calls") or ():
        function = call.get("function", call)
        names[str(call.get("id"))] = name = str(function.get("name", ""))
        parts.append(ToolCallPart(name, function.get("arguments") or "{}", str(call.get("id"))))
    return parts


def _user_content(part: Any) -> UserContent:
    kind = part.get("type") if is_object(part) else None
    if kind == "text":
        return str(part["text"])
    if kind == "image_url":
        url = part["image_url"]
        return _file(str(url["url"] if is_object(url) else url), ImageUrl)
    if kind == "file" and is_object(part.get("file")) and part["file"].get("file_data"):
        return _file(str(part["file"]["file_data"]), DocumentUrl)
    if kind == "input_audio":
        audio = part["input_audio"]
        return BinaryContent(base64.b64decode(audio["data"]), media_type=f"audio/{audio['format']}")
    raise ModelError(f"A part of the message is of type {kind!r}, which cannot be given to the agent")


def _file(url: str, kind: type[ImageUrl | DocumentUrl]) -> UserContent:
    if not url.startswith("data:"):
        return kind(url)
    head, _, data = url.removeprefix("data:").partition(",")
    media_type, *options = head.split(";")
    try:
        content = base64.b64decode(data, validate=True) if "base64" in options else unquote_to_bytes(data)
    except binascii.Error as error:
        raise ModelError("A file of the message is not base64") from error
    return BinaryContent(content, media_type=media_type or "text/plain")


def _text(content: Any) -> str:
    """Return the text of a message's content, which may be a list of parts."""
    if is_list(content):
        return "".join(str(part.get("text", "")) for part in content if is_object(part))
    return str(content)


def _value(text: str) -> Any:
    try:
        return load_json(text)
    except (ValueError, RecursionError):
        return text
