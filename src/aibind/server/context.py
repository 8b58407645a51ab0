"""Context: the messages of a conversation, as a model can be asked with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._json import compact_json, is_list, is_object
from ..models.model import Message
from .exchanges import answers_in, is_approval
from .reply_events import text_of
from .tools import denied

__all__ = ["context_of", "context_to_go_on"]

_UNKNOWN = compact_json({"error": "The result of this call is not known"})

_NOT_SENT = frozenset({"approvals", "declined", "outcome"})


def context_of(path: Sequence[Message]) -> list[Message]:
    """Return the messages of a path, its question last, in a form that endpoints accept.

    Left out are answers that never came or were stopped at once, and results of tools whose calls are not on the path,
    since it may begin in the middle of a turn. A call without a result, which was left to the client or whose server
    was killed, gets one that says so: endpoints refuse a conversation in which a call is not answered. One that a user
    has not allowed gets a result as well.
    """
    *history, question = path
    return [*_fold(history, ()), question]


def context_to_go_on(path: Sequence[Message], call_ids: Collection[str]) -> list[Message]:
    """Return the messages of a path that ends with calls, in a form that endpoints accept once ``call_ids`` have run.

    They get no result here; the others do, as in :func:`context_of`.
    """
    return _fold(path, call_ids)


@dataclass(slots=True)
class _Calls:
    """The calls of one message, with their results and a user's answers as they come."""

    ids: Sequence[str]
    results: dict[str, Message] = field(default_factory=dict[str, Message])
    answers: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    is_declined: bool = False

    def take(self, message: Message) -> None:
        if is_approval(message):
            self.is_declined = self.is_declined or message.get("declined") is True
            for answer in answers_in(message):
                self.answers[str(answer.get("id"))] = answer
            return
        call_id = str(message.get("tool_call_id"))
        if call_id in self.ids and (call_id not in self.results or self.results[call_id].get("outcome") == "unknown"):
            self.results[call_id] = message

    def messages(self, left_out: Collection[str]) -> list[Message]:
        results = [message for call_id, message in self.results.items() if call_id not in left_out]
        lacking = [call_id for call_id in self.ids if call_id not in self.results and call_id not in left_out]
        return [*map(_sent, results), *map(self._filled, lacking)]

    def edited(self, message: Message) -> Message:
        """Return the message of the calls, with the arguments that the user has put in."""
        edited = {call_id: answer["args"] for call_id, answer in self.answers.items() if answer.get("edited")}
        if not edited:
            return message
        return {**message, "tool_calls": [_with_arguments(call, edited) for call in message["tool_calls"]]}

    def _filled(self, call_id: str) -> Message:
        answer = self.answers.get(call_id)
        if answer is not None and not answer.get("approved"):
            content = denied(answer.get("reason"))
        else:
            content = denied(None) if self.is_declined else _UNKNOWN
        return {"role": "tool", "tool_call_id": call_id, "content": content}


def _fold(history: Sequence[Message], left_out: Collection[str]) -> list[Message]:
    context: list[Message] = []
    calls = _Calls(())
    at = -1  # the place of their message

    def settle(left_out: Collection[str]) -> None:
        if at >= 0:
            context[at] = calls.edited(context[at])
        context.extend(calls.messages(left_out))

    for message in history:
        if message.get("role") == "tool":
            calls.take(message)
            continue
        settle(())
        calls, at = _Calls(_call_ids(message)), -1
        if message.get("content") or message.get("tool_calls"):
            at = len(context)
            context.append(message)
    settle(left_out)
    return context


def _sent(message: Message) -> Message:
    if _NOT_SENT.isdisjoint(message):
        return message
    return {key: value for key, value in message.items() if key not in _NOT_SENT}


def _with_arguments(call: Any, edited: Mapping[str, Any]) -> Any:
    if not is_object(call) or call.get("id") not in edited or not is_object(function := call.get("function")):
        return call
    return {**call, "function": {**function, "arguments": text_of(edited[str(call["id"])])}}


def _call_ids(message: Message) -> list[str]:
    calls: Any = message.get("tool_calls")
    found = [call.get("id") for call in calls if is_object(call)] if is_list(calls) else []
    return [call_id for call_id in found if isinstance(call_id, str)]
