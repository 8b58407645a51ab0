"""Messages, as a conversation stores them and as LangChain has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    BaseMessageChunk,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_chunk_to_message,
)

from ..._json import compact_json, is_list, is_object, load_json
from ...errors import ModelError
from ...models.model import Message

__all__ = ["from_langchain", "to_langchain"]

_KINDS: dict[str, type[BaseMessage]] = {
    "user": HumanMessage,
    "assistant": AIMessage,
    "system": SystemMessage,
    "tool": ToolMessage,
}
_ROLES = {kind: role for role, kind in _KINDS.items()}

_SHARED = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "langchain"})
"""Keys of a stored message that have a place in LangChain's, and the key for what has none here."""

_OURS = "aibind"
"""The key in ``response_metadata`` for what has no place in LangChain's message; it is not sent to providers."""

_NOT_OURS = {"content", "name", "tool_calls", "invalid_tool_calls", "tool_call_id", "type", "role"}


def to_langchain(messages: Iterable[Message]) -> list[BaseMessage]:
    """Return messages of chat completions, as conversations store them, as LangChain's.

    What LangChain has no place for is kept, and comes back with :func:`from_langchain`. Raises ModelError for a message
    without a role, and for content that is neither text nor a list of parts.
    """
    return [_to_langchain(message, number) for number, message in enumerate(messages)]


def from_langchain(messages: Sequence[BaseMessage]) -> list[Message]:
    """Return LangChain's messages as conversations store them: JSON values, in the form of chat completions.

    Ids, metadata and all else that chat completions do not have are in the key ``langchain``, and come back with
    :func:`to_langchain`. An artifact of a tool's message must be a JSON value.
    """
    return [_from_langchain(message) for message in messages]


def _to_langchain(message: Message, number: int) -> BaseMessage:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or not role:
        raise ModelError(f"Message {number} of the conversation has no role: give it one, such as 'user'")
    if content is not None and not isinstance(content, str | list):
        raise ModelError(f"The content of message {number} is {type(content).__name__}: give text or a list of parts")
    more: dict[str, Any] = dict(message.get("langchain") or {})
    others = {key: value for key, value in message.items() if key not in _SHARED}
    if content is None:
        others["content"] = None
    if others:
        more["response_metadata"] = {**more.get("response_metadata", {}), _OURS: others}
    fields: dict[str, Any] = {**more, "content": "" if content is None else content}
    if "name" in message:
        fields["name"] = message["name"]
    kind = _KINDS.get(role)
    if kind is None:
        return ChatMessage(role=role, **fields)
    if kind is ToolMessage:
        fields["tool_call_id"] = message.get("tool_call_id") or ""
    if kind is AIMessage:
        calls = message.get("tool_calls")
        fields["tool_calls"], fields["invalid_tool_calls"] = _calls(calls if is_list(calls) else [])
    return kind(**fields)


def _calls(calls: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return the calls whose arguments are an object, and the others."""
    valid: list[Any] = []
    invalid: list[Any] = []
    for call in calls:
        function: Any = call.get("function", call)
        text = function.get("arguments") or "{}"
        fields = {"name": function.get("name", ""), "id": call.get("id")}
        try:
            arguments = load_json(text)
        except (ValueError, RecursionError):
            arguments = None
        if is_object(arguments):
            valid.append({**fields, "args": arguments, "type": "tool_call"})
        else:
            invalid.append({**fields, "args": text, "error": None, "type": "invalid_tool_call"})
    return valid, invalid


def _from_langchain(message: BaseMessage) -> Message:
    if isinstance(message, BaseMessageChunk):
        message = message_chunk_to_message(message)
    role = message.role if isinstance(message, ChatMessage) else _ROLES.get(type(message))
    if role is None:
        raise TypeError(
            f"{type(message).__name__} is not a message of a conversation: give messages of a user, a model, "
            "a system or a tool"
        )
    found: Message = {"role": role, "content": message.content}
    if message.name is not None:
        found["name"] = message.name
    if isinstance(message, ToolMessage):
        found["tool_call_id"] = message.tool_call_id
    if isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
        found["tool_calls"] = [
            *(_call(call["id"], call["name"], compact_json(call["args"])) for call in message.tool_calls),
            *(_call(call["id"], call["name"] or "", call["args"] or "") for call in message.invalid_tool_calls),
        ]
    more = message.model_dump(mode="json", exclude=_NOT_OURS, exclude_defaults=True)
    metadata = more.get("response_metadata", {})
    others = metadata.pop(_OURS, {})
    if not metadata:
        more.pop("response_metadata", None)
    found.update(others)
    if more:
        found["langchain"] = more
    return found


def _call(call_id: str | None, name: str, arguments: str) -> Mapping[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
