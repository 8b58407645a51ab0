"""The body of a request to a chat completions endpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

from ..._json import is_object
from ...errors import ModelError
from ..model import Message, ModelRequest

__all__ = ["Structured", "chat_body", "chat_messages"]

Structured: TypeAlias = Literal["json_schema", "json_object"]
"""The way to ask for JSON: by a schema, or as any object, with the schema in the system prompt."""

_MESSAGE_KEYS = ("name", "tool_calls", "tool_call_id")
"""Keys that are sent beside role and content; endpoints refuse keys they do not know."""

_FIT = "Answer with one JSON object and nothing else."


def chat_body(model: str, request: ModelRequest, structured: Structured = "json_schema") -> dict[str, Any]:
    """Return the body of a streaming request, as plain JSON values.

    The system prompt goes first. Of each message only ``role``, ``content``, ``name``, ``tool_calls`` and
    ``tool_call_id`` are sent, since endpoints refuse keys that they do not know. An assistant's message without content
    and calls (of a turn that was stopped at once) is left out, since endpoints refuse that too. Tool calls may be
    stored as chat completions has them or as ``{"id", "name", "arguments"}``. Raises ModelError for messages that
    cannot be sent.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(request, structured),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.json_schema is not None:
        body["response_format"] = _response_format(request.json_schema, structured)
    return body


def _messages(request: ModelRequest, structured: Structured) -> list[dict[str, Any]]:
    system = [request.system] if request.system else []
    if request.json_schema is not None and (structured == "json_object" or not request.json_schema):
        system.append(_FIT)  # for json_object, endpoints require the word JSON in the prompt
        if request.json_schema:
            system.append(f"It must fit this JSON Schema:\n{json.dumps(request.json_schema, ensure_ascii=False)}")
    messages: list[dict[str, Any]] = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    messages += chat_messages(request.messages)
    if not messages:
        raise ModelError("There is nothing to answer: the request has no messages")
    return messages


def chat_messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return messages as they are sent, without those that say nothing. Raises ModelError as :func:`chat_body` does."""
    sent = (_message(message, number) for number, message in enumerate(messages))
    return [message for message in sent if message is not None]


def _message(message: Message, number: int) -> dict[str, Any] | None:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or not role:
        raise ModelError(f"Message {number} of the conversation has no role: give it one, such as 'user'")
    if content is not None and not isinstance(content, str | list):
        raise ModelError(f"The content of message {number} is {type(content).__name__}: give text or a list of parts")
    sent: dict[str, Any] = {"role": role, "content": content}
    sent.update((key, message[key]) for key in _MESSAGE_KEYS if message.get(key))
    if "tool_calls" in sent:
        sent["tool_calls"] = [_tool_call(call) for call in sent["tool_calls"]]
    elif not content:
        if role == "assistant":
            return None
        sent["content"] = ""
    return sent


def _tool_call(call: Any) -> Any:
    if not is_object(call) or "function" in call or "name" not in call:
        return call
    function = {"name": call["name"], "arguments": call.get("arguments", "")}
    return {"id": call.get("id", ""), "type": "function", "function": function}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    return dict(tool) if "function" in tool else {"type": "function", "function": dict(tool)}


def _response_format(schema: Mapping[str, Any], structured: Structured) -> dict[str, Any]:
    if structured == "json_object" or not schema:
        return {"type": "json_object"}
    title: object = schema.get("title")
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", title).strip("_")[:64] if isinstance(title, str) else ""
    # Not strict: strict mode accepts only a part of JSON Schema (all properties required, none additional).
    return {"type": "json_schema", "json_schema": {"name": name or "answer", "schema": schema, "strict": False}}
