"""Interrupts that ask a person to review calls, as calls that wait for a user, and the answers as decisions.

The form is that of LangChain's human-in-the-loop middleware: an interrupt with ``action_requests``, each with ``name``
and ``args``, is resumed with ``decisions`` in the same order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..._json import compact_json, is_list, is_object, load_json
from ...models.model import Approval, ApprovalRequest, Message, ModelRequest, ToolCall

__all__ = ["OpenCalls", "decisions_of", "is_review", "requests_of"]

DENIED = "The user did not allow this call"


class OpenCalls:
    """Calls without results, from which each action of an interrupt takes its own."""

    def __init__(self, calls: Iterable[ToolCall] = ()) -> None:
        self._calls = list(calls)

    @classmethod
    def of(cls, messages: Sequence[Message], ids: Collection[str]) -> OpenCalls:
        """Return the calls with these ids of the last message that has some."""
        for message in reversed(messages):
            if message.get("tool_calls"):
                return cls(call for call in map(_call, message["tool_calls"]) if call.id in ids)
        return cls()

    def add(self, call: ToolCall) -> None:
        """Add a call."""
        self._calls.append(call)

    def end(self, call_id: str) -> None:
        """Remove a call that has its result."""
        self._calls = [call for call in self._calls if call.id != call_id]

    def take(self, name: str, arguments: Any) -> str | None:
        """Return the id of the first call of this tool with these arguments, and remove it; None when there is none.

        Without one it is the first of this tool, whose arguments a user has changed.
        """
        of_tool = [call for call in self._calls if call.name == name]
        same = [call for call in of_tool if _value(call.arguments) == arguments]
        for call in (*same, *of_tool):
            self._calls.remove(call)
            return call.id
        return None


def is_review(value: object) -> bool:
    """Return whether an interrupt asks for decisions on calls."""
    if not is_object(value) or not is_list(actions := value.get("action_requests")):
        return False
    return bool(actions) and all(is_object(one) and isinstance(one.get("name"), str) for one in actions)


def requests_of(interrupt: Any, calls: OpenCalls) -> Iterator[ApprovalRequest]:
    """Yield a request for each action of an interrupt."""
    for call_id, action in _actions(interrupt, calls):
        description = action.get("description")
        details = {"description": description} if isinstance(description, str) and description else None
        yield ApprovalRequest(call_id, action["name"], compact_json(action.get("args") or {}), details)


def decisions_of(interrupts: Sequence[Any], request: ModelRequest) -> dict[str, Any]:
    """Return what each interrupt is resumed with, by its id."""
    calls = OpenCalls.of(request.messages, request.approvals)
    return {
        interrupt.id: {
            "decisions": [
                _decision(request.approvals.get(call_id), action) for call_id, action in _actions(interrupt, calls)
            ]
        }
        for interrupt in interrupts
        if is_review(interrupt.value)
    }


def _actions(interrupt: Any, calls: OpenCalls) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each action with the id of its call, or with one that follows from its place."""
    for number, action in enumerate(interrupt.value["action_requests"]):
        yield calls.take(action["name"], action.get("args") or {}) or f"{interrupt.id}.{number}", action


def _decision(approval: Approval | None, action: Mapping[str, Any]) -> dict[str, Any]:
    if approval is None or not approval.approved:
        reason = approval.reason if approval is not None else None
        return {"type": "reject", "message": reason or DENIED}
    if approval.arguments is None:
        return {"type": "approve"}
    return {"type": "edit", "edited_action": {"name": action["name"], "args": _value(approval.arguments)}}


def _call(call: Mapping[str, Any]) -> ToolCall:
    function = call.get("function", call)
    return ToolCall(str(call.get("id")), str(function.get("name", "")), str(function.get("arguments") or "{}"))


def _value(text: str) -> Any:
    try:
        return load_json(text)
    except (ValueError, RecursionError):
        return text
