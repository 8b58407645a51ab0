"""The chunks of a UI message that a stream's events become, from one place in the message to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._json import is_object
from ..streams.events import StreamEvent
from ..streams.store import StreamEnd
from .ui_parts import finish_reason, is_run_by_page, part_of
from .values import value_of

__all__ = ["KINDS", "ChunkWriter", "Place"]

KINDS = {"": "text", "reasoning": "reasoning"}
"""The kinds of text, by the names of their events."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a message.

    ``kind`` is that of the text that is open (empty: none is), ``number`` counts such texts. ``begun`` are the calls
    whose arguments grow, and ``called`` those without a result; ``names`` has the tools of all, by the calls' ids.
    ``has_results`` is whether the step has results, after which another step begins.
    """

    in_step: bool = False
    kind: str = ""
    number: int = 0
    begun: frozenset[str] = frozenset()
    called: frozenset[str] = frozenset()
    names: frozenset[tuple[str, str]] = frozenset()
    has_results: bool = False
    reason: str | None = None


class ChunkWriter:
    """Writes the chunks of some events, from one place in a message to the next."""

    def __init__(self, place: Place, typed_tools: frozenset[str]) -> None:
        self.chunks: list[dict[str, Any]] = []
        self._typed_tools = typed_tools
        self._in_step = place.in_step
        self._kind = place.kind
        self._number = place.number
        self._begun = set(place.begun)
        self._called = set(place.called)
        self._names = dict(place.names)
        self._has_results = place.has_results
        self._reason = place.reason

    @property
    def place(self) -> Place:
        """The place after what was written."""
        return Place(
            self._in_step,
            self._kind,
            self._number,
            frozenset(self._begun),
            frozenset(self._called),
            frozenset(self._names.items()),
            self._has_results,
            self._reason,
        )

    def take(self) -> list[dict[str, Any]]:
        """Return the chunks that were written since the last call."""
        taken, self.chunks = self.chunks, []
        return taken

    def write(self, chunk: dict[str, Any]) -> None:
        """Write one chunk."""
        self.chunks.append(chunk)

    def add(self, event: StreamEvent) -> None:
        """Write the chunks of an event."""
        name = event.event
        if name == "tool_running":
            return
        if name in KINDS:
            self._add_text(KINDS[name], event.data)
            return
        if name == "finish":
            self._reason = event.data
            return
        value = value_of(event.data)
        if name == "usage" and is_object(value):
            self.write({"type": "message-metadata", "messageMetadata": {"usage": value}})
        elif name in _OF_TOOLS and is_object(value) and isinstance(value.get("id"), str):
            _OF_TOOLS[name](self, value["id"], value)
        else:
            self._open_step()
            self.write(part_of(name, value))

    def close_step(self) -> None:
        """Close what is open."""
        self._close_text()
        if self._in_step:
            self.write({"type": "finish-step"})
        self._in_step = self._has_results = False
        self._begun.clear()

    def finish(self, end: StreamEnd) -> None:
        """Write how the stream ended."""
        self.close_step()
        if end.state == "error":
            self.write({"type": "error", "errorText": end.error or "error"})
        elif end.state == "stopped":
            self.write({"type": "abort", "reason": "stopped"})
        reason = finish_reason(end, self._reason, waits_for_results=bool(self._called))
        self.write({"type": "finish", "finishReason": reason})

    def _open_step(self) -> None:
        """Begin a step, unless one is under way that has no results yet."""
        if self._has_results:
            self.close_step()
        if not self._in_step:
            self._in_step = True
            self.write({"type": "start-step"})

    def _close_text(self) -> None:
        if self._kind:
            self.write({"type": f"{self._kind}-end", "id": str(self._number)})
            self._kind = ""

    def _add_text(self, kind: str, text: str) -> None:
        self._open_step()
        if kind != self._kind:
            self._close_text()
            self._kind = kind
            self._number += 1
            self.write({"type": f"{kind}-start", "id": str(self._number)})
        self.write({"type": f"{kind}-delta", "id": str(self._number), "delta": text})

    def _add_arguments(self, call_id: str, value: Mapping[str, Any]) -> None:
        delta = value.get("delta")
        if call_id in self._called and not self._has_results:
            return  # the whole call is known
        self._open_step()
        self._close_text()
        if call_id not in self._begun:
            self._begun.add(call_id)
            self.write({"type": "tool-input-start", "toolCallId": call_id, **self._named(call_id, value)})
        if isinstance(delta, str):
            self.write({"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": delta})

    def _add_call(self, call_id: str, value: Mapping[str, Any]) -> None:
        self._open_step()
        self._close_text()
        self._called.add(call_id)
        given = value.get("args")
        self.write(
            {"type": "tool-input-available", "toolCallId": call_id, **self._named(call_id, value), "input": given}
        )

    def _add_result(self, call_id: str, value: Mapping[str, Any]) -> None:
        if call_id not in self._called:
            return  # clients fail for a result without its call
        self._close_text()
        self._called.discard(call_id)
        self._has_results = True
        result = value.get("result")
        # Of a tool that ran here, so that the page does not send the result back.
        about = {"toolCallId": call_id, "providerExecuted": True, **self._dynamic(call_id)}
        error = result.get("error") if is_object(result) and len(result) == 1 else None
        if isinstance(error, str):
            self.write({"type": "tool-output-error", **about, "errorText": error})
        else:
            self.write({"type": "tool-output-available", **about, "output": result})

    def _add_request(self, call_id: str, value: Mapping[str, Any]) -> None:
        if call_id in self._called and not is_run_by_page(value):
            self._close_text()
            self.write({"type": "tool-approval-request", "approvalId": call_id, "toolCallId": call_id})

    def _add_answer(self, call_id: str, value: Mapping[str, Any]) -> None:
        if call_id in self._called and value.get("approved") is False:
            self._called.discard(call_id)
            self._has_results = True
            self.write({"type": "tool-output-denied", "toolCallId": call_id})

    def _named(self, call_id: str, value: Mapping[str, Any]) -> dict[str, Any]:
        # The first name of a call counts: clients find its part by the kind of tool that it began with.
        name = self._names[call_id] = self._names.get(call_id) or str(value.get("name", ""))
        return {"toolName": name, **self._dynamic(call_id)}

    def _dynamic(self, call_id: str) -> dict[str, Any]:
        return {} if self._names.get(call_id) in self._typed_tools else {"dynamic": True}


_OF_TOOLS = {
    "tool_call_delta": ChunkWriter._add_arguments,
    "tool_call": ChunkWriter._add_call,
    "tool_result": ChunkWriter._add_result,
    "approval_request": ChunkWriter._add_request,
    "approval": ChunkWriter._add_answer,
}
