"""Calls that wait for a user, as a server lists them, and the answers as it takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .._json import is_list, is_object
from ..errors import ClientError

__all__ = ["ApprovalAnswer", "WaitingCall", "answers_body", "may_repeat", "waiting_calls"]

ApprovalAnswer: TypeAlias = bool | Mapping[str, Any]
"""Whether a call is allowed, or an object with ``approved`` or ``retry``, and ``args`` or ``reason``."""


@dataclass(frozen=True, slots=True)
class WaitingCall:
    """A call of a tool that waits for a user.

    ``state`` is ``waiting``; ``approved`` or ``denied`` for one that is answered while others are not; or ``unknown``
    for one that was ended in the middle, ``attempts`` times. ``details`` are those of the model, for the user.
    """

    id: str
    name: str
    args: Any
    state: str = "waiting"
    details: Any = None
    attempts: int = 0
    answer: Mapping[str, Any] | None = None


def waiting_calls(value: Any) -> tuple[WaitingCall, ...]:
    """Return the calls in a server's list. Raises ClientError for any other JSON."""
    try:
        return tuple(map(_call, value if is_list(value) else value["approvals"]))
    except (KeyError, TypeError) as error:
        raise ClientError(f"The server's answer is no list of calls ({error}): check its version") from error


def _call(value: Any) -> WaitingCall:
    return WaitingCall(
        value["id"],
        value["name"],
        value["args"],
        value.get("state", "waiting"),
        value.get("details"),
        value.get("attempts", 0),
        value.get("answer"),
    )


def answers_body(answers: Mapping[str, ApprovalAnswer]) -> dict[str, Any]:
    """Return the body of answers by the ids of their calls."""
    return {"approvals": {call_id: dict(one) if is_object(one) else one for call_id, one in answers.items()}}


def may_repeat(answers: Mapping[str, ApprovalAnswer]) -> bool:
    """Return whether answers can be sent twice: a retry without its number would run a call each time."""
    return not any(is_object(one) and one.get("retry") is True for one in answers.values())
