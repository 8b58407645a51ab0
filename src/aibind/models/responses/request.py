"""The body of a request to a Responses endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..._json import is_list, is_object
from ..chat.request import Structured, chat_body
from ..model import ModelRequest

__all__ = ["response_items", "responses_body"]


def responses_body(model: str, request: ModelRequest, structured: Structured = "json_schema") -> dict[str, Any]:
    """Return the body of a streaming request, as plain JSON values.

    The conversation is translated from the format of chat completions: pictures, files and sound in a message, tool
    calls and their results become the items that the Responses format has for them. The system prompt becomes
    ``instructions``. A call whose arguments are a JSON string was made to a custom tool, and is sent as such. Raises
    ModelError for messages that cannot be sent.
    """
    # One place decides what of a message can be sent, and how JSON is asked for.
    chat = chat_body(model, request, structured)
    messages: list[dict[str, Any]] = chat["messages"]
    body: dict[str, Any] = {"model": model, "stream": True}
    if request.system or "response_format" in chat:
        first = messages[0]
        if first["role"] == "system":
            body["instructions"] = first["content"]
            messages = messages[1:]
    body["input"] = response_items(messages)
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if "response_format" in chat:
        body["text"] = {"format": _text_format(chat["response_format"])}
    return body


def response_items(messages: Sequence[Mapping[str, Any]], custom: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return messages of chat completions, as they are sent, as items of the Responses format.

    ``custom`` are the ids of calls of custom tools in earlier messages, whose results have another form.
    """
    calls = (call for message in messages for call in message.get("tool_calls", ()))
    custom = {*custom, *(call["id"] for call in calls if _is_custom(call))}
    return [item for message in messages for item in _items(message, custom)]


def _items(message: Mapping[str, Any], custom: set[str]) -> Iterator[dict[str, Any]]:
    role, content = message["role"], message.get("content")
    if role == "tool":
        call_id = message.get("tool_call_id", "")
        kind = "custom_tool_call_output" if call_id in custom else "function_call_output"
        yield {"type": kind, "call_id": call_id, "output": _output(content)}
        return
    if content:
        yield {"role": role, "content": _content(role, content)}
    elif role != "assistant":
        yield {"role": role, "content": ""}
    for call in message.get("tool_calls", ()):
        yield _call(call)


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function: Mapping[str, Any] = call.get("function") or {}
    name, arguments = function.get("name", ""), function.get("arguments", "")
    if _is_custom(call):
        return {"type": "custom_tool_call", "call_id": call.get("id", ""), "name": name, "input": json.loads(arguments)}
    return {"type": "function_call", "call_id": call.get("id", ""), "name": name, "arguments": arguments}


def _is_custom(call: Mapping[str, Any]) -> bool:
    function: Mapping[str, Any] = call.get("function") or {}
    arguments: object = function.get("arguments")
    if not isinstance(arguments, str) or not arguments.startswith('"'):
        return False
    try:
        return isinstance(json.loads(arguments), str)
    except ValueError:
        return False


def _output(content: Any) -> Any:
    return [_part("user", part) for part in content] if is_list(content) else content or ""


def _content(role: str, content: Any) -> Any:
    return [_part(role, part) for part in content] if is_list(content) else content


def _part(role: str, part: Any) -> Any:
    """Return a part of a message as the Responses format has it; one of an unknown type is passed on as it is."""
    if not is_object(part):
        return part
    kind = part.get("type")
    if kind == "text":
        return {"type": "output_text" if role == "assistant" else "input_text", "text": part.get("text", "")}
    if kind == "image_url":
        image: Any = part.get("image_url")
        sent = {"type": "input_image", "image_url": image.get("url") if is_object(image) else image}
        return sent | ({"detail": image["detail"]} if is_object(image) and "detail" in image else {})
    if kind == "file" and is_object(file := part.get("file")):
        names = ("filename", "file_data", "file_id")
        return {"type": "input_file"} | {name: file[name] for name in names if name in file}
    return dict(part)


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function: Mapping[str, Any] = tool.get("function") or tool
    # Strict, which is the default of this format, accepts only a part of JSON Schema.
    return {"type": "function", "strict": False, **function} if "type" not in function else dict(function)


def _text_format(asked: Mapping[str, Any]) -> dict[str, Any]:
    if asked["type"] != "json_schema":
        return {"type": asked["type"]}
    return {"type": "json_schema", **asked["json_schema"]}
