"""Context: the messages of a conversation, as a model can be asked with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._json import compact_json, is_list, is_object
from ..models.model import Message

__all__ = ["context_of"]

_UNKNOWN = compact_json({"error": "The result of this call is not known"})


def context_of(path: Sequence[Message]) -> list[Message]:
    """Return the messages of a path, its question last, in a form that endpoints accept.

    Left out are answers that never came or were stopped at once, and results of tools whose calls are not on the path,
    since it may begin in the middle of a turn. A call without a result, which was left to the client or whose server
    was killed, gets one that says so: endpoints refuse a conversation in which a call is not answered.
    """
    *history, question = path
    context: list[Message] = []
    waiting: list[str] = []
    for message in history:
        if message.get("role") == "tool":
            if message.get("tool_call_id") in waiting:
                waiting.remove(message["tool_call_id"])
                context.append(message)
            continue
        context += map(_unknown, waiting)
        waiting = _call_ids(message)
        if message.get("content") or message.get("tool_calls"):
            context.append(message)
    return [*context, *map(_unknown, waiting), question]


def _call_ids(message: Message) -> list[str]:
    calls: Any = message.get("tool_calls")
    found = [call.get("id") for call in calls if is_object(call)] if is_list(calls) else []
    return [call_id for call_id in found if isinstance(call_id, str)]


def _unknown(call_id: str) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": _UNKNOWN}
