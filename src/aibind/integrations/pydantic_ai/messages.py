"""Conversations of chat completions as pydantic-ai's messages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote_to_bytes

from pydantic_ai.messages import (
    BinaryContent,
    DocumentUrl,
    FileUrl,
    ImageUrl,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextContent,
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

__all__ = ["from_pydantic_ai", "to_entries", "to_prompt", "to_pydantic_ai"]

_EXACT = "pydantic_ai"
"""The key of a stored message for the whole of pydantic-ai's; empty text in those before the last one of several."""


def to_pydantic_ai(messages: Sequence[Message]) -> list[ModelMessage]:
    """Return messages of chat completions, as conversations store them, as pydantic-ai's.

    An answer is a response, and the results of its calls are one request. What :func:`from_pydantic_ai` made comes back
    as it was. Raises ModelError for a part of a message that pydantic-ai does not have.
    """
    return [message for _, message in to_entries(messages)]


def from_pydantic_ai(messages: Iterable[ModelMessage]) -> list[Message]:
    """Return pydantic-ai's messages as conversations store them: JSON values, in the form of chat completions.

    A request of several parts is several messages. The last message of each has all of it in the key ``pydantic_ai``,
    as JSON text, and comes back with :func:`to_pydantic_ai`; files are thus there twice. Bytes that a tool returned
    beside its content come back as base64, as they do from pydantic-ai's own JSON.
    """
    stored: list[Message] = []
    for message in messages:
        parts = _stored_answer(message) if isinstance(message, ModelResponse) else _stored_request(message)
        text = ModelMessagesTypeAdapter.dump_json([message]).decode()
        *others, last = parts or [{"role": "system", "content": ""}]
        stored += [{**other, _EXACT: ""} for other in others]
        stored.append({**last, _EXACT: text})
    return stored


def to_entries(messages: Sequence[Message], times: Sequence[datetime] | None = None) -> list[tuple[int, ModelMessage]]:
    """Return messages as pydantic-ai's, each with the place of the last one that it is made of.

    ``times`` are when each was stored, for those that pydantic-ai did not make.
    """
    entries: list[tuple[int, ModelMessage]] = []
    names: dict[str, str] = {}  # of the tools, by the ids of their calls
    waiting: list[int] = []  # places of messages that one with the whole follows
    for place, message in enumerate(messages):
        exact = message.get(_EXACT)
        if exact == "":
            waiting.append(place)
        elif isinstance(exact, str):
            waiting.clear()
            whole = ModelMessagesTypeAdapter.validate_json(exact)[0]
            names.update((part.tool_call_id, part.tool_name) for part in whole.parts if isinstance(part, ToolCallPart))
            entries.append((place, whole))
        else:
            _add(entries, messages, [*waiting, place], names, times)
            waiting.clear()
    _add(entries, messages, waiting, names, times)
    return entries


def _add(
    entries: list[tuple[int, ModelMessage]],
    messages: Sequence[Message],
    places: Sequence[int],
    names: dict[str, str],
    times: Sequence[datetime] | None,
) -> None:
    for place in places:
        message = messages[place]
        if message.get("role") == "assistant":
            response = ModelResponse(_answer(message, names))
            if times is not None:
                response.timestamp = times[place]
            entries.append((place, response))
            continue
        part = _request_part(message, names)
        if times is not None:
            part.timestamp = times[place]
        last = entries[-1][1] if entries else None
        if isinstance(last, ModelRequest) and isinstance(part, ToolReturnPart) and not _is_exact(messages, entries):
            last.parts = [*last.parts, part]
            entries[-1] = (place, last)
        else:
            entries.append((place, ModelRequest([part])))


def _is_exact(messages: Sequence[Message], entries: Sequence[tuple[int, ModelMessage]]) -> bool:
    return bool(messages[entries[-1][0]].get(_EXACT))


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


def _stored_request(request: ModelRequest) -> list[Message]:
    """Return what users and tools said; the rest is instructions, which no reader is shown."""
    stored: list[Message] = []
    for part in request.parts:
        if isinstance(part, UserPromptPart):
            content = part.content
            stored.append({"role": "user", "content": content if isinstance(content, str) else _stored_parts(content)})
        elif isinstance(part, ToolReturnPart):
            stored.append(_stored_result(part.tool_call_id, part.tool_name, part.model_response_str()))
        elif part.part_kind == "retry-prompt" and part.tool_name is not None:
            stored.append(_stored_result(part.tool_call_id, part.tool_name, part.model_response()))
    return stored


def _stored_result(call_id: str, name: str, content: str) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": content}


def _stored_answer(response: ModelResponse) -> list[Message]:
    message: Message = {"role": "assistant", "content": response.text or ""}
    if response.thinking:
        message["reasoning"] = response.thinking
    calls = [
        {
            "id": part.tool_call_id,
            "type": "function",
            "function": {
                "name": part.tool_name,
                "arguments": part.args if isinstance(part.args, str) else part.args_as_json_str(),
            },
        }
        for part in response.parts
        if isinstance(part, ToolCallPart)
    ]
    if calls:
        message["tool_calls"] = calls
    return [message]


def _stored_parts(content: Sequence[UserContent]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for one in content:
        if isinstance(one, str):
            parts.append({"type": "text", "text": one})
        elif isinstance(one, TextContent):
            parts.append({"type": "text", "text": one.content})
        elif isinstance(one, ImageUrl) or (isinstance(one, BinaryContent) and one.is_image):
            url = one.url if isinstance(one, ImageUrl) else one.data_uri
            parts.append({"type": "image_url", "image_url": {"url": url}})
        elif isinstance(one, BinaryContent):
            parts.append({"type": "file", "file": {"file_data": one.data_uri}})
        elif isinstance(one, FileUrl):
            parts.append({"type": "file", "file": {"file_data": one.url}})
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
