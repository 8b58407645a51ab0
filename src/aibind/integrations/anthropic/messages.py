"""Messages, as a conversation stores them and as Anthropic's Messages API has them, without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..._json import compact_json, is_list, is_object, load_json
from ...errors import ModelError
from ...models.model import Message
from .parts import from_part, to_part

__all__ = ["KEY", "from_anthropic", "kept_blocks", "to_anthropic"]

KEY = "anthropic"
"""The key of a stored message for blocks that chat completions do not have, such as signed thinking."""


def to_anthropic(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return messages of chat completions, as conversations store them, as Anthropic's.

    Results of tools that follow each other become one message. Signed thinking, and all else that the model said and
    chat completions do not have, is there as it came; other reasoning is left out, and so is an answer that says
    nothing. Messages of a system keep their role. Raises ModelError for what cannot be sent.
    """
    sent: list[dict[str, Any]] = []
    last_is_result = False
    for number, message in enumerate(messages):
        role = message.get("role")
        if not isinstance(role, str) or not role:
            raise ModelError(f"Message {number} of the conversation has no role: give it one, such as 'user'")
        if role == "tool" and last_is_result:
            sent[-1]["content"].append(_result(message))
            continue
        last_is_result = role == "tool"
        content = _content(message, role)
        if content or role != "assistant":
            sent.append({"role": "user" if role == "tool" else role, "content": content})
    return sent


def from_anthropic(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Return Anthropic's messages as conversations store them: JSON values, in the form of chat completions.

    What chat completions do not have is in the key ``anthropic``, and comes back with :func:`to_anthropic`.
    """
    names: dict[str, str] = {}  # of the tools, by the ids of their calls
    return [one for message in messages for one in _from_anthropic(message, names)]


def kept_blocks(blocks: Sequence[Mapping[str, Any]], message: Message) -> list[dict[str, Any]]:
    """Return the blocks of a message without what the stored message says already; empty if it says everything."""
    if _assistant_blocks(message) == list(blocks):
        return []
    calls = {call["id"]: call for call in _call_blocks(message)}
    return [_without_what_is_said(block, message, calls) for block in blocks]


def _without_what_is_said(block: Mapping[str, Any], message: Message, calls: Mapping[str, Any]) -> dict[str, Any]:
    kind = block.get("type")
    said = {"text": message.get("content"), "thinking": message.get("reasoning")}.get(str(kind))
    # A stream turns CR into LF, but signed thinking has to come back as it was.
    if said and kind is not None and block.get(kind) == said and "\r" not in said:
        return {name: value for name, value in block.items() if name != kind}
    if kind == "tool_use" and calls.get(str(block.get("id"))) == block:
        return {"type": kind, "id": block["id"]}
    return dict(block)


def _whole(block: Mapping[str, Any], message: Message, calls: Mapping[str, Any]) -> dict[str, Any]:
    kind = block.get("type")
    if kind == "text" and "text" not in block:
        return {**block, "text": message.get("content")}
    if kind == "thinking" and "thinking" not in block:
        return {**block, "thinking": message.get("reasoning")}
    if kind == "tool_use" and "input" not in block:
        return dict(calls[str(block.get("id"))])
    return dict(block)


def _content(message: Message, role: str) -> Any:
    if role == "tool":
        return [_result(message)]
    kept = message.get(KEY)
    if is_list(kept):
        calls = {call["id"]: call for call in _call_blocks(message)}
        try:
            return [_whole(block, message, calls) for block in kept]
        except (KeyError, AttributeError):
            pass  # the message was changed by someone who did not know of the key
    if role == "assistant":
        blocks = _assistant_blocks(message)
        is_text = isinstance(message.get("content"), str) and len(blocks) == 1 and blocks[0].keys() == {"type", "text"}
        return blocks[0]["text"] if is_text else blocks
    content = message.get("content")
    return [to_part(part) for part in content] if is_list(content) else str(content or "")


def _assistant_blocks(message: Message) -> list[dict[str, Any]]:
    content = message.get("content")
    if is_list(content):
        blocks = [to_part(part) for part in content]
    else:
        blocks = [{"type": "text", "text": str(content)}] if content else []
    return [*blocks, *_call_blocks(message)]


def _call_blocks(message: Message) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for call in message.get("tool_calls") or ():
        function: Any = call.get("function", call)
        text = function.get("arguments") or "{}"
        try:
            arguments: Any = load_json(text)
        except (ValueError, RecursionError):
            arguments = None
        given = arguments if is_object(arguments) else {"invalid_arguments": text}
        blocks.append({"type": "tool_use", "id": call.get("id"), "name": function.get("name", ""), "input": given})
    return blocks


def _result(message: Message) -> dict[str, Any]:
    kept = message.get(KEY)
    if is_object(kept):
        return dict(kept)
    content = message.get("content")
    given = [to_part(part) for part in content] if is_list(content) else str(content or "")
    return {"type": "tool_result", "tool_use_id": message.get("tool_call_id", ""), "content": given}


def _from_anthropic(message: Mapping[str, Any], names: dict[str, str]) -> list[Message]:
    role, content = str(message["role"]), message["content"]
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    blocks: list[dict[str, Any]] = [dict(block) for block in content]
    if role == "assistant":
        return [_answer(blocks, names)]
    results = [block for block in blocks if block.get("type") == "tool_result"]
    if len(results) == len(blocks) and results:
        return [_stored_result(block, names) for block in results]
    stored: dict[str, Any] = {"role": role, "content": [from_part(block) for block in blocks]}
    if [to_part(part) for part in stored["content"]] != blocks:
        stored |= {"content": [part for part in stored["content"] if part["type"] != KEY], KEY: blocks}
    return [stored]


def _answer(blocks: list[dict[str, Any]], names: dict[str, str]) -> Message:
    texts = [block["text"] for block in blocks if block.get("type") == "text"]
    thinking = [block["thinking"] for block in blocks if block.get("type") == "thinking"]
    calls = [block for block in blocks if block.get("type") == "tool_use"]
    names.update((str(call["id"]), str(call["name"])) for call in calls)
    stored: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if calls:
        stored["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": compact_json(call["input"])},
            }
            for call in calls
        ]
    if thinking:
        stored["reasoning"] = "\n\n".join(thinking)
    kept = kept_blocks(blocks, stored)
    if kept or not blocks or (len(blocks) == 1 and not calls):  # else text in a list would come back without it
        stored[KEY] = kept or [_without_what_is_said(block, stored, {}) for block in blocks]
    return stored


def _stored_result(block: dict[str, Any], names: Mapping[str, str]) -> Message:
    call_id = str(block["tool_use_id"])
    content = block.get("content", "")
    given = [from_part(part) for part in content] if is_list(content) else content
    stored: dict[str, Any] = {"role": "tool", "tool_call_id": call_id, "content": given}
    if call_id in names:
        stored["name"] = names[call_id]
    if _result(stored) != block:
        stored[KEY] = block
    return stored
