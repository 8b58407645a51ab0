"""AG-UI 1.0, which CopilotKit and ``@ag-ui/client`` read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from .._json import compact_json, is_object
from ..streams.batch import EventBatch
from ..streams.events import StreamEvent
from ..streams.sse import PING
from ..streams.store import StreamEnd
from .ui_parts import is_run_by_page
from .values import json_bytes, value_of

__all__ = ["AgUiEncoder"]

_TEXT = "TEXT_MESSAGE"
_REASONING = "REASONING_MESSAGE"
_KINDS = {"": _TEXT, "reasoning": _REASONING}


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in a run.

    ``kind`` is that of the message that is open (empty: none is), ``number`` counts messages. ``growing`` are the calls
    whose arguments grow, and ``begun`` all calls. ``waiting`` are the interrupts so far and ``usage`` the tokens, as
    JSON; ``left`` are the calls that the page is to run.
    """

    kind: str = ""
    number: int = 0
    growing: tuple[str, ...] = ()
    begun: frozenset[str] = frozenset()
    waiting: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    usage: str = ""


@dataclass(frozen=True, slots=True)
class AgUiEncoder:
    """AG-UI's events of one run, which is a reply.

    ``reply_id`` is the stream's id: the ids of messages begin with it, so that a replay has the same. ``history`` are
    the messages before the run, as a JSON list, for a page that has none, and ``known`` the ids of calls that the page
    has, with what it answered them. Calls that wait for a user are the run's interrupts, and events of the application
    are custom events. A client from ``before_1_0`` does not know the outcome ``cancelled``, nor that calls may be
    pending after a success: it is told neither.
    """

    thread_id: str
    run_id: str
    reply_id: str
    history: str | None = None
    known: frozenset[str] = frozenset()
    before_1_0: bool = False
    _place: _Place = field(default=_Place(), repr=False)

    replays: ClassVar[bool] = True
    headers: ClassVar[Mapping[str, str]] = {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
    }

    @property
    def opening(self) -> bytes:
        """The event that begins the run, and one with the messages before it."""
        started = _encode({"type": "RUN_STARTED", **self._run})
        if self.history is None:
            return started
        return started + _encode({"type": "MESSAGES_SNAPSHOT", "messages": value_of(self.history)})

    def __call__(self, batch: EventBatch, /) -> tuple[bytes, AgUiEncoder]:
        """Return the events of a batch; a comment for an idle one."""
        if batch.is_idle:
            return PING, self
        writer = _Writer(self._place, self.reply_id, self.known)
        for _, event in batch.events:
            writer.add(event)
        if batch.end is not None:
            writer.close()
            writer.events.append(self._last(batch.end, writer))
        data = b"".join([_encode(event) for event in writer.events])
        return data, replace(self, history=None, _place=writer.place)  # the opening is over

    @property
    def _run(self) -> dict[str, Any]:
        return {"threadId": self.thread_id, "runId": self.run_id}

    def _last(self, end: StreamEnd, writer: _Writer) -> dict[str, Any]:
        if end.state == "error":
            return {"type": "RUN_ERROR", "message": end.error or "error"}
        last: dict[str, Any] = {"type": "RUN_FINISHED", **self._run}
        interrupts = writer.interrupts
        if interrupts:
            last["outcome"] = {"type": "interrupt", "interrupts": interrupts}
        elif end.state == "stopped" and not self.before_1_0:
            last["outcome"] = {"type": "cancelled"}
        elif writer.left and not self.before_1_0:
            last["outcome"] = {"type": "success", "pendingToolCallIds": writer.left}
        usage = writer.usage
        return {**last, "usage": [usage]} if usage else last


class _Writer:
    """Writes the events of AG-UI that some events of a stream become."""

    def __init__(self, place: _Place, reply_id: str, known: frozenset[str]) -> None:
        self.events: list[dict[str, Any]] = []
        self.left = list(place.left)
        self._reply_id = reply_id
        self._known = known
        self._kind = place.kind
        self._number = place.number
        self._growing = list(place.growing)
        self._begun = set(place.begun)
        self._waiting = list(place.waiting)
        self._usage = place.usage

    @property
    def place(self) -> _Place:
        """The place after what was written."""
        return _Place(
            self._kind,
            self._number,
            tuple(self._growing),
            frozenset(self._begun),
            tuple(self._waiting),
            tuple(self.left),
            self._usage,
        )

    @property
    def interrupts(self) -> list[dict[str, Any]]:
        """What the run waits for."""
        return [value_of(waiting) for waiting in self._waiting]

    @property
    def usage(self) -> dict[str, int]:
        """The tokens of the run, by the names that both formats have in common."""
        value: Any = value_of(self._usage) if self._usage else {}
        names = ("inputTokens", "outputTokens", "totalTokens", "reasoningTokens")
        return {name: value[name] for name in names if type(value.get(name)) is int}

    def add(self, event: StreamEvent) -> None:
        """Write an event."""
        name = event.event
        if name in _KINDS:
            self._add_text(_KINDS[name], event.data)
            return
        value = value_of(event.data)
        if name == "usage" and is_object(value):
            self._usage = event.data
        elif name in _OF_TOOLS and is_object(value) and isinstance(value.get("id"), str):
            _OF_TOOLS[name](self, value["id"], value)
        elif name not in _OURS:
            self.close()
            self._write("CUSTOM", name=name, value=value)

    def close(self) -> None:
        """Close the message and the calls that are open."""
        if self._kind:
            self._write(f"{self._kind}_END", messageId=self._message_id)
            if self._kind == _REASONING:
                self._write("REASONING_END", messageId=self._message_id)
            self._kind = ""
        for call_id in self._growing:
            self._write("TOOL_CALL_END", toolCallId=call_id)
        self._growing.clear()

    @property
    def _message_id(self) -> str:
        return f"{self._reply_id}-{self._number}"

    def _write(self, kind: str, **fields: Any) -> None:
        self.events.append({"type": kind, **fields})

    def _open(self, kind: str) -> None:
        self.close()
        self._kind = kind
        self._number += 1
        if kind == _REASONING:
            self._write("REASONING_START", messageId=self._message_id)
            self._write(f"{kind}_START", messageId=self._message_id, role="reasoning")
        else:
            self._write(f"{kind}_START", messageId=self._message_id, role="assistant")

    def _add_text(self, kind: str, text: str) -> None:
        if kind != self._kind:
            self._open(kind)
        self._write(f"{kind}_CONTENT", messageId=self._message_id, delta=text)

    def _begin_call(self, call_id: str, value: Mapping[str, Any]) -> None:
        self.close()
        self._begun.add(call_id)
        self._write("TOOL_CALL_START", toolCallId=call_id, toolCallName=str(value.get("name", "")))

    def _add_arguments(self, call_id: str, value: Mapping[str, Any]) -> None:
        if call_id not in self._growing:
            self._begin_call(call_id, value)
            self._growing.append(call_id)
        delta = value.get("delta")
        if isinstance(delta, str) and delta:
            self._write("TOOL_CALL_ARGS", toolCallId=call_id, delta=delta)

    def _add_call(self, call_id: str, value: Mapping[str, Any]) -> None:
        if call_id in self._growing:
            self._growing.remove(call_id)  # its arguments are there
        else:
            self._begin_call(call_id, value)
            self._write("TOOL_CALL_ARGS", toolCallId=call_id, delta=compact_json(value.get("args")))
        self._write("TOOL_CALL_END", toolCallId=call_id)

    def _add_result(self, call_id: str, value: Mapping[str, Any]) -> None:
        if call_id in self._known:
            return
        self.close()
        self._number += 1
        result = value.get("result")
        content = result if isinstance(result, str) else compact_json(result)
        self._write("TOOL_CALL_RESULT", messageId=self._message_id, toolCallId=call_id, content=content, role="tool")

    def _add_request(self, call_id: str, value: Mapping[str, Any]) -> None:
        if call_id not in self._begun and call_id not in self._known:
            self._add_call(call_id, value)
        if is_run_by_page(value):
            self.left.append(call_id)
            return
        interrupt = {
            "id": call_id,
            "reason": "tool_approval",
            "message": f"May {value.get('name', 'this tool')} be called?",
            "toolCallId": call_id,
        }
        self._waiting.append(compact_json(interrupt))


_OF_TOOLS = {
    "tool_call_delta": _Writer._add_arguments,
    "tool_call": _Writer._add_call,
    "tool_result": _Writer._add_result,
    "approval_request": _Writer._add_request,
}


_OURS = frozenset({"finish", "approval", "tool_running"})
"""Events that AG-UI tells in other ways."""


def _encode(event: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % json_bytes(event)
