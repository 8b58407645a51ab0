"""Messages, as a conversation stores them and as items of the Responses format, without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..._json import compact_json, is_list, is_object, load_json
from ...models.chat.request import chat_messages
from ...models.model import Message
from ...models.responses.request import response_items

__all__ = ["KEY", "answer_of", "from_items", "kept_items", "to_items"]

KEY = "openai"
"""The key of a stored message for items of the Responses format that chat completions do not have as they are."""

_CALLS = frozenset({"function_call", "custom_tool_call"})
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
_TEXTS = frozenset({"output_text", "input_text", "summary_text"})


def to_items(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return messages of chat completions, as conversations store them, as items of the Responses format.

    What came from items is there as it was, of any kind. Of other messages text, files, calls and results are, and
    reasoning is left out. Raises ModelError for what cannot be sent.
    """
    items: list[dict[str, Any]] = []
    custom: set[str] = set()  # the ids of calls of custom tools
    for message in messages:
        kept = message.get(KEY)
        found = [_whole(item, message) for item in kept] if is_list(kept) else _plain(message, custom)
        custom.update(str(item.get("call_id")) for item in found if item.get("type") == "custom_tool_call")
        items += found
    return items


def from_items(items: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Return items as conversations store them: JSON values, in the form of chat completions.

    What a model says and calls, up to the next result, is one message. What chat completions do not have is in the key
    ``openai``, and comes back with :func:`to_items`; a kind of item that is unknown here is kept as it is.
    """
    messages: list[Message] = []
    group: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # of the tools, by the ids of their calls
    custom: set[str] = set()
    for given in items:
        item = dict(given)
        kind, role = item.get("type"), item.get("role")
        if kind in _CALLS:
            names[str(item.get("call_id"))] = str(item.get("name", ""))
            custom.update([str(item.get("call_id"))] if kind == "custom_tool_call" else [])
        if kind in _OUTPUTS or (kind in (None, "message") and role not in (None, "assistant")):
            messages += _answers(group)
            group = []
            messages.append(_result(item, names, custom) if kind in _OUTPUTS else _said(item))
        else:
            group.append(item)
    return messages + _answers(group)


def answer_of(items: Sequence[Mapping[str, Any]]) -> Message:
    """Return what a model said and called as one message, without the key for what it does not say."""
    texts: list[str] = []
    reasoning: list[str] = []
    calls: list[dict[str, Any]] = []
    for item in items:
        kind = item.get("type")
        if kind in _CALLS:
            calls.append(_stored_call(item))
        elif kind == "reasoning":
            reasoning += [str(part.get("text", "")) for part in item.get("summary") or item.get("content") or ()]
        elif item.get("role") == "assistant":
            content = item.get("content")
            parts = content if is_list(content) else [{"text": content}]
            texts += [str(part.get("text") or part.get("refusal") or "") for part in parts if is_object(part)]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if calls:
        message["tool_calls"] = calls
    if any(reasoning):
        message["reasoning"] = "\n\n".join(reasoning)
    return message


def kept_items(items: Sequence[Mapping[str, Any]], message: Message) -> list[dict[str, Any]]:
    """Return items without what the stored message says already; empty if it says everything."""
    if _plain(message) == list(items):
        return []
    return [_without_what_is_said(item, message) for item in items]


def _answers(group: list[dict[str, Any]]) -> list[Message]:
    if not group:
        return []
    message = answer_of(group)
    kept = kept_items(group, message)
    return [{**message, KEY: kept} if kept else message]


def _said(item: dict[str, Any]) -> Message:
    content = item.get("content")
    parts = [_stored_part(part) for part in content] if is_list(content) else content
    message: Message = {"role": item["role"], "content": parts or ""}
    return message if _plain(message) == [item] else {**message, KEY: [_without(item, "content", message)]}


def _result(item: dict[str, Any], names: Mapping[str, str], custom: set[str]) -> Message:
    output, call_id = item.get("output"), str(item.get("call_id"))
    content = [_stored_part(part) for part in output] if is_list(output) else output
    message: dict[str, Any] = {"role": "tool", "tool_call_id": call_id, "content": content}
    if call_id in names:
        message["name"] = names[call_id]
    if not isinstance(output, str | list):
        message["content"] = compact_json(output)
    return message if _plain(message, custom) == [item] else {**message, KEY: [_without(item, "output", message)]}


def _stored_call(item: Mapping[str, Any]) -> dict[str, Any]:
    is_custom = item.get("type") == "custom_tool_call"
    arguments = compact_json(item.get("input")) if is_custom else item.get("arguments", "")
    function = {"name": item.get("name", ""), "arguments": arguments}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def _stored_part(part: Any) -> Any:
    """Return a part of an item as chat completions have it; one that these do not have as it is."""
    kind = part.get("type") if is_object(part) else None
    if kind in ("input_text", "output_text"):
        return {"type": "text", "text": part.get("text", "")}
    if kind == "input_image" and part.get("image_url"):
        detail = {"detail": part["detail"]} if "detail" in part else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    if kind == "input_file":
        return {"type": "file", "file": {name: value for name, value in part.items() if name != "type"}}
    return part


# --- what a kept item need not repeat ---------------------------------------------------------------------------------


def _without_what_is_said(item: Mapping[str, Any], message: Message) -> dict[str, Any]:
    kind, kept = item.get("type"), dict(item)
    if kind == "function_call":
        function = _functions(message).get(item.get("call_id"))
        # A stream parses the arguments, and conversations have them without spaces.
        given = {"name": item.get("name"), "arguments": item.get("arguments")}
        if function is not None and function == given and _is_compact(function["arguments"]):
            del kept["name"], kept["arguments"]
        return kept
    place, said = ("summary", "reasoning") if kind == "reasoning" else ("content", "content")
    parts: Any = item.get(place)
    if _is_one_text(kind, parts):
        text = parts[0].get("text")
        if text and text == message.get(said) and "\r" not in text:  # a stream turns CR into LF
            kept[place] = [{name: value for name, value in parts[0].items() if name != "text"}]
    return kept


def _without(item: dict[str, Any], name: str, message: Message) -> dict[str, Any]:
    derived = _plain(message)
    if len(derived) == 1 and name in item and derived[0].get(name) == item[name]:
        return {key: value for key, value in item.items() if key != name}
    return item


def _whole(item: Mapping[str, Any], message: Message) -> dict[str, Any]:
    kind, whole = item.get("type"), dict(item)
    if kind == "function_call" and "arguments" not in item:
        return {**whole, **_functions(message).get(item.get("call_id"), {})}
    for name in ("content", "output"):
        is_output = kind in _OUTPUTS
        if name not in item and (is_output if name == "output" else not is_output and kind in (None, "message")):
            derived = _plain({key: value for key, value in message.items() if key != KEY})
            for one in derived:
                whole.update((key, one[key]) for key in (name,) if key in one)
    place, said = ("summary", "reasoning") if kind == "reasoning" else ("content", "content")
    parts: Any = item.get(place)
    if _is_one_text(kind, parts):
        whole[place] = [{"text": message.get(said), **parts[0]}]
    return whole


def _is_one_text(kind: Any, parts: Any) -> bool:
    if kind not in (None, "message", "reasoning") or not is_list(parts) or len(parts) != 1:
        return False
    return is_object(parts[0]) and parts[0].get("type") in _TEXTS


def _functions(message: Message) -> dict[Any, dict[str, Any]]:
    functions: dict[Any, dict[str, Any]] = {}
    for call in message.get("tool_calls") or ():
        function = call.get("function", call)
        functions[call.get("id")] = {"name": function.get("name", ""), "arguments": function.get("arguments", "")}
    return functions


def _is_compact(arguments: Any) -> bool:
    try:
        return is_object(value := load_json(arguments)) and compact_json(value) == arguments
    except (TypeError, ValueError, RecursionError):
        return False


def _plain(message: Message, custom: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return the items of a message that was not made of items."""
    return response_items(chat_messages([message]), custom)
