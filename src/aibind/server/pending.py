"""Calls that wait for a user, as a conversation holds them.

The answers are messages below those of the calls, as are the results: a model's message with its calls, the results of
those that needed no approval, then answers and results in the order in which they came. The state of each call follows
from that order alone, so that every process sees the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .._json import is_list, is_object
from ..history import ChatHistory
from ..history.node import TreeNode
from .exchanges import answered_calls, answers_in, is_approval, waits
from .reply_events import RUN_BY_PAGE, AnsweredCall, json_or_text, text_of

__all__ = ["CallState", "PendingCall", "PendingCalls", "answered_call", "find_pending"]

CallState: TypeAlias = Literal["waiting", "approved", "denied", "unknown", "ended"]
"""The state of a call: without an answer, to be run, not to be run, running when its process ended, or over.

``ended`` is one that has a result, or that a new question has declined.
"""


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that a user is asked about.

    ``answer`` is the answer that counts (None: none does), and ``last_answer`` the last one, whether or not it counts.
    ``attempts`` is how often the call was running when a process ended.
    """

    id: str
    name: str
    arguments: str
    details: Any
    state: CallState
    answer: Mapping[str, Any] | None = None
    last_answer: Mapping[str, Any] | None = None
    attempts: int = 0

    @property
    def is_run_by_page(self) -> bool:
        """Whether the page runs the call, and answers with its result."""
        return is_object(self.details) and self.details.get("runs") == RUN_BY_PAGE

    def to_json(self) -> dict[str, Any]:
        """Return the call as clients get it."""
        details = {} if self.details is None else {"details": self.details}
        answer = {} if self.answer is None else {"answer": {**self.answer, "id": self.id}}
        attempts = {"attempts": self.attempts} if self.attempts else {}
        call = {"id": self.id, "name": self.name, "args": json_or_text(self.arguments), **details}
        return {**call, "state": self.state, **attempts, **answer}


@dataclass(frozen=True, slots=True)
class PendingCalls:
    """The calls of one message that a user is asked about.

    ``turn`` is what their reply was asked with. ``last`` is the last message of the calls, where answers are added, and
    ``stream_id`` that of the newest reply that went on from the answers. ``is_current`` is whether the conversation
    ends with ``last``.
    """

    calls: tuple[PendingCall, ...]
    turn: Mapping[str, Any]
    last: TreeNode
    stream_id: str | None
    is_current: bool

    @property
    def is_going_on(self) -> bool:
        """Whether a reply goes on from the answers, which has not ended as far as the conversation tells."""
        return not waits(self.last)

    @property
    def open(self) -> tuple[PendingCall, ...]:
        """The calls that are not over."""
        return tuple(call for call in self.calls if call.state != "ended")

    def find(self, call_id: str) -> PendingCall | None:
        """Return one of the calls."""
        return next((call for call in self.calls if call.id == call_id), None)


def find_pending(chat: ChatHistory, call_ids: Collection[str] = ()) -> PendingCalls | None:
    """Return the calls that the current path waits with, as far as it was loaded; None when there are none.

    With ``call_ids``, the newest ones that have all of these ids, wherever on the path they are.
    """
    segment: list[TreeNode] = []
    is_current = True
    for node_id in reversed(chat.tree.get_active_path().node_ids):
        node = chat.tree.get(node_id)
        assert node is not None
        if node.message.get("role") == "tool":
            segment.insert(0, node)
            continue
        if node.message.get("tool_calls"):
            found = _read([node, *segment], is_current=is_current)
            if found is not None and found.calls and all(map(found.find, call_ids)):
                return found
        if not call_ids:
            return None
        segment, is_current = [], False
    return None


def _read(nodes: list[TreeNode], *, is_current: bool) -> PendingCalls | None:
    found: list[Any] = [node.metadata["approvals"] for node in nodes if "approvals" in node.metadata]
    asked: Any = found[0] if found else None
    if not is_object(asked) or not is_list(requests := asked.get("requests")):
        return None
    turn: Any = asked.get("turn")
    streams = [node.metadata.get("streamId") for node in nodes if answered_calls(node)]
    calls = tuple(_state_of(request, nodes) for request in requests if is_object(request))
    stream_id = streams[-1] if streams else None
    return PendingCalls(
        calls,
        turn if is_object(turn) else {},
        nodes[-1],
        stream_id if isinstance(stream_id, str) else None,
        is_current,
    )


def _state_of(request: Mapping[str, Any], nodes: list[TreeNode]) -> PendingCall:
    call_id = str(request.get("id"))
    state: CallState = "waiting"
    answer: Mapping[str, Any] | None = None
    last_answer: Mapping[str, Any] | None = None
    attempts = 0
    for node in nodes[1:]:
        message = node.message
        if is_approval(message):
            for given in answers_in(message):
                if given.get("id") == call_id:
                    answer = last_answer = given
                    state = "approved" if given.get("approved") else "denied"
            if message.get("declined") and state != "ended":
                state, answer = "ended", None
        elif message.get("tool_call_id") == call_id:
            answer = None
            is_unknown = message.get("outcome") == "unknown"
            attempts += is_unknown
            state = "unknown" if is_unknown else "ended"
    arguments, details = text_of(request.get("args", {})), request.get("details")
    return PendingCall(call_id, str(request.get("name", "")), arguments, details, state, answer, last_answer, attempts)


def answered_call(call: PendingCall) -> AnsweredCall:
    """Return a call with its answer, which must be there."""
    assert call.answer is not None
    own = {"args": json_or_text(call.arguments), "unknown": call.attempts > 0}
    return AnsweredCall.from_json({**own, **call.answer, "id": call.id, "name": call.name})
