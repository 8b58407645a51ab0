"""The events of a reply: those of a model, and those of calls that users were asked about."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .._closing import close_iterator
from .._json import compact_json, load_json
from ..models.model import Approval, ApprovalRequest, Finish, ModelEvent, ToolCall, Usage

__all__ = [
    "RUN_BY_PAGE",
    "WAITING",
    "AnsweredCall",
    "ReplyEvent",
    "ToolRunning",
    "json_or_text",
    "text_of",
    "with_waiting_end",
]

RUN_BY_PAGE = "page"
"""The value of ``runs`` in the details of a call that the page is to run."""

WAITING = "waiting"
"""The reason to stop of a reply that ends with calls that wait for approval, and the ``finish`` of its last message."""


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A call that a user has answered.

    ``arguments`` are those to run it with, as JSON text, and ``is_edited`` whether the user has changed them.
    ``result`` is that of a call which the page has run, as JSON text. ``is_unknown`` is whether it was
    running before, when its process ended.
    """

    id: str
    name: str
    arguments: str
    approved: bool
    reason: str | None = None
    is_edited: bool = False
    is_unknown: bool = False
    result: str | None = None

    @property
    def approval(self) -> Approval:
        """The answer as the model gets it."""
        return Approval(self.approved, self.arguments if self.is_edited else None, self.reason)

    def to_json(self) -> dict[str, Any]:
        """Return the call as it is stored and sent."""
        reason = {} if self.reason is None else {"reason": self.reason}
        edited = {"edited": True} if self.is_edited else {}
        unknown = {"unknown": True} if self.is_unknown else {}
        call = {"id": self.id, "name": self.name, "args": json_or_text(self.arguments)}
        result = {} if self.result is None else {"result": json_or_text(self.result)}
        return {**call, "approved": self.approved, **edited, **unknown, **reason, **result}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AnsweredCall:
        """Return the call that :meth:`to_json` wrote."""
        arguments, reason = text_of(value.get("args")), value.get("reason")
        return cls(
            str(value.get("id", "")),
            str(value.get("name", "")),
            arguments,
            value.get("approved") is True,
            reason if isinstance(reason, str) else None,
            value.get("edited") is True,
            value.get("unknown") is True,
            compact_json(value["result"]) if "result" in value else None,
        )


@dataclass(frozen=True, slots=True)
class ToolRunning:
    """The mark that a call is about to be run, without which it counts as not begun."""

    id: str
    name: str


ReplyEvent: TypeAlias = ModelEvent | AnsweredCall | ToolRunning
"""An event of a reply, before it is one of its stream."""


async def with_waiting_end(events: AsyncIterator[ReplyEvent]) -> AsyncGenerator[ReplyEvent]:
    """Yield the events of a reply, with ``waiting`` as its reason to stop when it asks for approval.

    A request whose call did not come is given one.
    """
    called: set[str] = set()
    asked = ended = False
    try:
        async for event in events:
            if isinstance(event, ToolCall):
                called.add(event.id)
            elif isinstance(event, ApprovalRequest):
                asked = True
                if event.id not in called:
                    yield ToolCall(event.id, event.name, event.arguments)
            elif asked and isinstance(event, Finish):
                ended = True
                yield Finish(WAITING)
                continue
            elif asked and not ended and isinstance(event, Usage):
                ended = True
                yield Finish(WAITING)
            yield event
        if asked and not ended:
            yield Finish(WAITING)
    finally:
        await close_iterator(events)


def json_or_text(text: str) -> Any:
    """Return the value of a JSON text; text that is not JSON stays text, so that nothing is lost."""
    try:
        return load_json(text)
    except (ValueError, RecursionError):
        return text


def text_of(value: Any) -> str:
    """Return JSON text of arguments; arguments that are text stay as they are."""
    return value if isinstance(value, str) else compact_json(value)
