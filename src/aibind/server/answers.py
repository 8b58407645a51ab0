"""Answers: the messages that a conversation keeps of a turn, built from the events of its stream."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from .._json import compact_json, is_object, load_json
from ..models.model import Message, ToolCall, ToolResult
from ..streams.events import StreamEvent
from ..streams.store import StreamEnd
from .rounds import Round

__all__ = ["Answer"]

_STRUCTURED = frozenset({"partial", "data"})


class Answer:
    """The answer of a turn as far as it has come: one or more rounds, the usage, and the model's reason to stop.

    The same events give the same messages, whether they are taken while the answer is produced or read from its stream
    after the server was killed. So the first ``n`` messages of a turn that are stored are the first ``n`` here.
    """

    def __init__(self, events: Iterable[StreamEvent] = ()) -> None:
        self.reason: str | None = None
        self._rounds = [Round()]
        self._usage: dict[str, Any] | None = None
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

    def whole_rounds(self) -> list[Message]:
        """Return the messages of the first rounds, up to one whose tools have not all answered."""
        whole = takewhile(lambda one: one.is_whole, self._rounds)
        return [message for one in whole for message in one.messages()]

    def messages(self) -> list[Message]:
        """Return all messages of an answer that has ended. The last is the model's, if need be an empty one."""
        messages = [message for one in self._rounds if not one.is_empty for message in one.messages()]
        if not messages or messages[-1]["role"] == "tool":
            messages += Round().messages()
        return messages

    def ending(self, end: StreamEnd) -> dict[str, Any]:
        """Return the metadata of the last message: how the answer ended, and what it cost.

        ``finish`` (``stopped`` or ``error``) is there unless the answer is whole, and ``error`` is the message of one
        that failed.
        """
        metadata: dict[str, Any] = {}
        if end.state != "done":
            metadata["finish"] = end.state
        if end.error:
            metadata["error"] = end.error
        if self.reason:
            metadata["finishReason"] = self.reason
        if self._usage is not None:
            metadata["usage"] = self._usage
        return metadata

    def _open(self) -> Round:
        """Return the round that the model's next event belongs to."""
        if self._rounds[-1].results:
            self._rounds.append(Round())
        return self._rounds[-1]

    def _add_object(self, name: str, data: dict[str, Any]) -> bool:
        if name == "usage":
            self._usage = data or self._usage
            return False
        identity = data.get("id")
        if name not in ("tool_call", "tool_result") or not isinstance(identity, str):
            return False
        if name == "tool_call":
            arguments = data.get("args")
            text = arguments if isinstance(arguments, str) else compact_json(arguments)
            self._open().calls.append(ToolCall(identity, str(data.get("name", "")), text))
            return False
        one = self._rounds[-1]
        if all(call.id != identity for call in one.open_calls):
            return False  # of a call that is not here: endpoints refuse a result without its call
        one.results.append(ToolResult(identity, str(data.get("name", "")), compact_json(data.get("result"))))
        return one.is_whole


def _object(text: str) -> dict[str, Any]:
    try:
        value = load_json(text)
    except (ValueError, RecursionError):
        return {}
    return value if is_object(value) else {}
