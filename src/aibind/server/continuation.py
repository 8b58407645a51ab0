"""Continuations: the task of a reply for another process to go on with, and the events from which it does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._json import is_list, is_object, load_json
from ..models.model import (
    CustomEvent,
    Finish,
    Message,
    MessageData,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from ..models.resuming import ResumableModel
from ..streams.events import StreamEvent
from .models import resume_model
from .reply_events import text_of

__all__ = ["Continuation", "ResumedModel", "Task", "open_round_of", "read_reference"]

MAX_CONTINUATION_CHARS = 300_000
"""The limit of a continuation, which is one value in its row: D1 takes 2 MB, and a character up to 6 bytes."""

_STRUCTURED = frozenset({"partial", "data"})

_NOT_CONTINUED = frozenset({*_STRUCTURED, "approval", "approval_request", "tool_running"})
"""Events of replies that are not gone on with: snapshots of JSON, and calls that users are asked about."""


@dataclass(frozen=True, slots=True)
class Task:
    """The task of a model, as far as the conversation does not hold it.

    ``messages`` are those of a reply outside a stored conversation (None: the conversation has them).
    """

    model: str | None
    system: str | None
    toolset: str | None
    max_steps: int
    session_id: str | None = None
    messages: Sequence[Message] | None = None

    def to_text(self) -> str | None:
        """Return the task as JSON; None when it is longer than a store should keep."""
        names = {
            "model": self.model,
            "system": self.system,
            "toolset": self.toolset,
            "session": self.session_id,
            "messages": None if self.messages is None else list(self.messages),
        }
        given = {name: value for name, value in names.items() if value is not None}
        text = _to_json({**given, "maxSteps": self.max_steps})
        return text if len(text) <= MAX_CONTINUATION_CHARS else None

    @classmethod
    def from_text(cls, text: str) -> Task:
        """Return the task that :meth:`to_text` wrote. Raises ValueError for any other text."""
        value = load_json(text)
        if not is_object(value) or not isinstance(value.get("maxSteps"), int):
            raise ValueError("This continuation was not written by a StreamHandler")
        messages = value.get("messages")
        return cls(
            _text(value.get("model")),
            _text(value.get("system")),
            _text(value.get("toolset")),
            value["maxSteps"],
            _text(value.get("session")),
            messages if is_list(messages) else None,
        )


@dataclass(slots=True)
class Continuation:
    """The ways in which a reply under way can be gone on with, and ended at its provider.

    ``text`` is the task as JSON (None: this reply cannot be gone on with), and ``model`` is asked under ``key``.
    ``results`` is how many tools have answered, which tells the rounds of a reply apart.
    """

    text: str | None
    model: ResumableModel
    key: str | None
    results: int = 0
    reference: str | None = None
    store: Callable[[str], Awaitable[None]] | None = None
    _cancelling: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @property
    def repeats_exactly(self) -> bool:
        """Whether another process would go on to the character."""
        return self.model.repeats_exactly

    async def refer(self, value: str) -> None:
        """Store what the provider knows the answer by, before more of it is delivered."""
        self.reference = value
        if self.store is not None:
            await self.store(write_reference(self.key, self.results, value))

    def cancel(self) -> Awaitable[None] | None:
        """End the answer at its provider, in a task, which is returned; None when there is nothing to end."""
        if self.reference is None:
            return None
        task = asyncio.create_task(self.model.cancel(self.reference), name="aibind cancelling at a provider")
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)
        return task


def write_reference(key: str | None, results: int, value: str) -> str:
    """Return a reference as it is stored: with its model's key and how many tools had answered before."""
    return _to_json({"value": value, "results": results, **({} if key is None else {"model": key})})


def read_reference(text: str | None) -> tuple[str | None, int, str | None]:
    """Return a stored reference, how many tools had answered before, and its model's key."""
    try:
        value: Any = load_json(text or "{}")
    except (ValueError, RecursionError):
        value = {}
    if not is_object(value):
        return None, 0, None
    results = value.get("results")
    return _text(value.get("value")), results if isinstance(results, int) else 0, _text(value.get("model"))


class ResumedModel:
    """A model whose first answer is the rest of one that another process began."""

    def __init__(self, model: ResumableModel, so_far: Sequence[ModelEvent], reference: str | None) -> None:
        self._model = model
        self._so_far = so_far
        self._reference = reference
        self._has_resumed = not so_far and reference is None  # nothing of it is known: it may be asked again

    def __repr__(self) -> str:
        return f"<resumed {self._model!r}>"

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent | str]:
        """Go on with the answer, and answer the requests after it."""
        if self._has_resumed:
            return self._model.stream(request)
        self._has_resumed = True
        return resume_model(self._model, request, self._so_far, self._reference)


def open_round_of(events: Sequence[StreamEvent]) -> tuple[list[ModelEvent], int] | None:
    """Return what the model has said since the last results of tools, and how many results there are.

    None when the reply cannot be gone on with: a tool may have been running, or it is JSON, or a user was asked.
    """
    said: list[ModelEvent] = []
    calls: set[str] = set()
    results = 0
    for event in events:
        if event.event in _NOT_CONTINUED:
            return None
        if event.event == "tool_result":
            results += 1
            calls.discard(str(_object(event.data).get("id")))
            said.clear()
            continue
        try:
            found = _model_event(event)
        except ValueError:
            return None  # of another version, or of another server
        if isinstance(found, ToolCall):
            calls.add(found.id)
        said.append(found)
    return None if calls else (said, results)


def _model_event(event: StreamEvent) -> ModelEvent:
    if event.is_text:
        return TextDelta(event.data)
    if event.event == "reasoning":
        return ReasoningDelta(event.data)
    if event.event == "finish":
        return Finish(event.data)
    data = _object(event.data)
    if event.event == "tool_call":
        return ToolCall(str(data.get("id", "")), str(data.get("name", "")), text_of(data.get("args")))
    if event.event == "tool_call_delta":
        return ToolCallDelta(str(data.get("id", "")), str(data.get("name", "")), str(data.get("delta", "")))
    if event.event == "usage":
        return Usage(_count(data.get("inputTokens")), _count(data.get("outputTokens")))
    if event.event == "message_data":
        key, value = next(iter(data.items()), ("", None))
        return MessageData(key, value)
    try:
        return CustomEvent(event.event, load_json(event.data))
    except (ValueError, RecursionError):
        return CustomEvent(event.event, event.data)


def _to_json(value: Mapping[str, Any]) -> str:
    """Return JSON in ASCII, as a prompt may hold half of a character, which no store takes."""
    return json.dumps(value, separators=(",", ":"))


def _object(text: str) -> Mapping[str, Any]:
    try:
        value: Any = load_json(text)
    except (ValueError, RecursionError):
        return {}
    return value if is_object(value) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
