"""Answers: the messages that a conversation keeps of a turn, built from the events of its stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from .._json import compact_json, is_object, load_json
from ..models.model import Message, ToolCall, ToolResult
from ..streams.events import StreamEvent
from ..streams.store import StreamEnd
from .reply_events import WAITING, AnsweredCall, text_of
from .rounds import Round, open_round, place_result
from .tools import unknown_outcome

__all__ = ["Answer", "approval_message"]

_OF_CALLS = frozenset({"approval", "approval_request", "tool_call", "tool_result", "tool_running"})
_STRUCTURED = frozenset({"partial", "data"})


class Answer:
    """The answer of a turn as far as it has come: one or more rounds, the usage, and the model's reason to stop.

    The same events give the same messages, whether they are taken while the answer is produced or read from its stream
    after the server was killed. So the first ``n`` messages of a turn that are stored are the first ``n`` here.
    ``answered`` are the calls of an earlier reply that this one goes on from; its first events name them as well.
    """

    def __init__(self, events: Iterable[StreamEvent] = (), answered: Iterable[AnsweredCall] = ()) -> None:
        self.reason: str | None = None
        self._rounds = [Round()]
        self._usage: dict[str, Any] | None = None
        self._requests: dict[str, dict[str, Any]] = {}
        self._turn: dict[str, Any] | None = None
        self._running: set[str] = set()
        for call in answered:
            self._go_on_from(call)
        for event in events:
            self.add(event)

    def __repr__(self) -> str:
        return f"<Answer rounds={len(self._rounds)} characters={len(self.text)}>"

    @property
    def text(self) -> str:
        """The text of all rounds."""
        return "".join(piece for one in self._rounds for piece in one.text)

    @property
    def says_something(self) -> bool:
        """Whether there is text or a call; reasoning alone is no answer."""
        return any(one.text or one.calls for one in self._rounds)

    def add(self, event: StreamEvent) -> bool:
        """Take the next event; return whether it completes a round, in which tools were called.

        Named events of applications, and those whose data is not as aibind writes it, are no part of the conversation.
        """
        if event.is_text:
            self._open().text.append(event.data)
        elif event.event == "reasoning":
            self._open().reasoning.append(event.data)
        elif event.event in _STRUCTURED:
            self._open().text[:] = [event.data]  # each is the whole that is known so far
        elif event.event == "message_data":
            self._open().data.update(_object(event.data))
        elif event.event == "finish":
            self.reason = event.data
        else:
            return self._add_object(event.event, _object(event.data))
        return False

    def note_lost(self, answered: Iterable[AnsweredCall]) -> None:
        """Count the calls that were allowed as running: what became of them is not known."""
        self._running.update(call.id for call in answered if call.approved)

    def whole_rounds(self) -> list[Message]:
        """Return the messages of the first rounds, up to one whose tools have not all answered."""
        whole = takewhile(lambda one: one.is_whole, self._rounds)
        return [message for one in whole for message in one.messages()]

    def messages(self, end: StreamEnd | None = None) -> list[Message]:
        """Return all messages of an answer that has ended. The last is the model's, if need be an empty one.

        An answer that waits for a user has none after the results. A call that was running at ``end`` gets the result
        that its outcome is not known; where none had begun, the one message says that the answers still stand.
        """
        messages: list[Message] = []
        for one in self._rounds:
            if not one.is_empty:
                messages += one.messages()
            if one.is_continued and end is not None and end.state != "done":
                messages += [_unknown(call) for call in one.open_calls if call.id in self._running]
        if self._waits(end):
            return messages or [approval_message(())]
        if not messages or messages[-1]["role"] == "tool":
            messages += Round().messages()
        return messages

    def ending(self, end: StreamEnd) -> dict[str, Any]:
        """Return the metadata of the last message: how the answer ended, and what it cost.

        ``finish`` (``stopped``, ``error`` or ``waiting``) is there unless the answer is whole, and ``error`` is the
        message of one that failed. ``approvals`` has the requests that an answer waits with, and what its request was.
        """
        metadata: dict[str, Any] = {}
        waits = self._waits(end)
        if waits or end.state != "done":
            metadata["finish"] = WAITING if waits else end.state
        if end.error:
            metadata["error"] = end.error
        if waits and self._requests:
            metadata["approvals"] = {"requests": list(self._requests.values()), "turn": self._turn or {}}
        if self.reason and not waits:
            metadata["finishReason"] = self.reason
        if self._usage is not None:
            metadata["usage"] = self._usage
        return metadata

    def _waits(self, end: StreamEnd | None) -> bool:
        """Return whether the answer ends with calls that a user is asked about, or that were not run to their end."""
        last = self._rounds[-1]
        if last.is_continued:
            return end is not None and end.state != "done" and bool(last.open_calls)
        return any(call.id in self._requests for call in last.open_calls)

    def _open(self) -> Round:
        """Return the round that the model's next event belongs to."""
        return open_round(self._rounds)

    def _add_object(self, name: str, data: dict[str, Any]) -> bool:
        if name == "usage":
            self._usage = data or self._usage
            return False
        identity = data.get("id")
        if name not in _OF_CALLS or not isinstance(identity, str):
            return False
        if name == "tool_result":
            result = ToolResult(identity, str(data.get("name", "")), compact_json(data.get("result")))
            one = place_result(self._rounds, result)
            return one is not None and one.is_whole
        if name == "tool_call":
            self._open().calls.append(ToolCall(identity, str(data.get("name", "")), text_of(data.get("args"))))
        elif name == "approval_request":
            self._turn = data.pop("turn", None) or self._turn
            self._requests[identity] = data
        elif name == "tool_running":
            self._running.add(identity)
        else:
            self._go_on_from(AnsweredCall.from_json(data))
        return False

    def _go_on_from(self, call: AnsweredCall) -> None:
        first = self._rounds[0]
        if len(self._rounds) == 1 and all(known.id != call.id for known in first.calls):
            first.is_continued = True
            first.calls.append(ToolCall(call.id, call.name, call.arguments))


def approval_message(answers: Sequence[Mapping[str, Any]], **more: Any) -> Message:
    """Return the message that holds a user's answers to requests for approval; it is not sent to models."""
    return {"role": "tool", "content": "", "approvals": list(answers), **more}


def _unknown(call: ToolCall) -> Message:
    result = {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": unknown_outcome()}
    return {**result, "outcome": "unknown"}


def _object(text: str) -> dict[str, Any]:
    try:
        value = load_json(text)
    except (ValueError, RecursionError):
        return {}
    return value if is_object(value) else {}
