"""Interruptions of OpenAI's Agents SDK as calls that wait for a user, and a run that goes on from the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agents import Agent, RunState

from ..._json import is_list, is_object
from ...errors import ModelError
from ...models.model import ApprovalRequest, MessageData, ModelRequest

__all__ = ["KEY", "requests_of", "resumed_state", "state_data"]

KEY = "openai_run"
"""The key of the model's message under which the state of a run is kept while calls wait."""

DENIED = "The user did not allow this call"


def requests_of(interruptions: Sequence[Any]) -> Iterator[ApprovalRequest]:
    """Yield a request for each call that a run was interrupted for."""
    for item in interruptions:
        yield ApprovalRequest(item.call_id or "", item.tool_name or "", item.arguments or "{}")


def state_data(run: Any) -> MessageData:
    """Return the state of an interrupted run, without its context, which each request brings again."""
    state = run.to_state().to_json(context_serializer=_without)
    state["context"] = {**state["context"], "context": {}, "context_meta": None}
    return MessageData(KEY, state)


async def resumed_state(agent: Agent[Any], request: ModelRequest, context: Any) -> Any:
    """Return the state to go on from, with the answers that a request brings; None when it brings none.

    Raises ModelError for a conversation that holds no such state.
    """
    if not request.approvals:
        return None
    stored = next((message[KEY] for message in reversed(request.messages) if KEY in message), None)
    if not is_object(stored):
        raise ModelError("The run that was interrupted is not in the conversation: ask again")
    edited = {
        call_id: approval.arguments for call_id, approval in request.approvals.items() if approval.arguments is not None
    }
    state: Any = await RunState.from_json(agent, _with_arguments(stored, edited), context_override=context)
    for item in state.get_interruptions():
        approval = request.approvals.get(item.call_id or "")
        if approval is not None and approval.approved:
            state.approve(item)
        else:
            reason = approval.reason if approval is not None else None
            state.reject(item, rejection_message=reason or DENIED)
    return state


def _without(_: Any) -> dict[str, Any]:
    """Return what is kept of a context: nothing."""
    return {}


def _with_arguments(stored: dict[str, Any], edited: dict[str, str]) -> dict[str, Any]:
    """Return a state whose calls have the arguments that the user put in.

    The SDK refuses a call that differs from its note of it, so the note is removed: the call was not begun.
    """
    if not edited:
        return stored
    state = _edited(stored, edited)
    noted = state["context"]["tool_invocations"]
    state["context"]["tool_invocations"] = {key: noted[key] for key in noted if key not in edited}
    return dict(state)


def _edited(value: Any, arguments: dict[str, str]) -> Any:
    """Return the JSON of a state in which calls have other arguments, wherever it holds them."""
    if is_list(value):
        return [_edited(item, arguments) for item in value]
    if not is_object(value):
        return value
    changed = {key: _edited(item, arguments) for key, item in value.items()}
    call_id = value.get("call_id")
    if isinstance(call_id, str) and call_id in arguments and isinstance(value.get("arguments"), str):
        changed["arguments"] = arguments[call_id]
    return changed
