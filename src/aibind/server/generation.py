"""From a model's events to a stream's: text, and named events as on the wire."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from .._closing import close_iterator
from .._json import compact_json, load_json
from .._logging import log_fields
from ..errors import AibindError, ModelError
from ..models.model import (
    ApprovalRequest,
    CustomEvent,
    Finish,
    MessageData,
    ReasoningDelta,
    ReplyReference,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from ..streams.events import StreamEvent
from ..streams.normalize import normalized
from ..streams.store import Pace
from .answers import Answer
from .continuation import Continuation
from .partial_json import MAX_PARTIAL_CHARS, parse_partial
from .reply_events import AnsweredCall, ReplyEvent, ToolRunning, json_or_text

__all__ = ["Generation"]

logger = logging.getLogger("aibind")


class Generation:
    """A model's answer as a stream's events, and its messages for the conversation.

    Text is a plain event. The others are named: ``reasoning`` with text, ``tool_call`` with ``{"id", "name", "args"}``,
    ``tool_call_delta`` with ``{"id", "name", "delta"}``, ``tool_result`` with ``{"id", "name", "result"}``, ``usage``
    with ``{"inputTokens", "outputTokens"}`` and ``finish`` with the model's reason to stop, unless that is ``stop``.
    ``message_data`` has ``{key: value}``.
    Calls that users are asked about are ``approval_request``, ``approval`` and ``tool_running``; ``turn`` is what the
    first request also holds: what a process needs to go on with the turn. ``answered`` are the calls that it goes on
    from, and ``continuation`` is how another process goes on with the reply (None: none can).
    Custom events have their own names, and JSON. A structured answer comes as ``partial`` events, each with all that is
    known so far, and one ``data`` event with the whole; ``pace`` limits how often a partial comes, since each is
    stored. An error of the model that is not meant for clients is logged and becomes a ModelError that they may read.
    """

    def __init__(
        self,
        events: AsyncIterator[ReplyEvent],
        *,
        structured: bool = False,
        pace: Pace | None = None,
        turn: Mapping[str, Any] | None = None,
        answered: Sequence[AnsweredCall] = (),
        continuation: Continuation | None = None,
    ) -> None:
        self._events = events
        self.continuation = continuation
        self._structured = structured
        self._pace = pace or Pace(0)
        self._turn = turn
        self.is_stored: Callable[[], Awaitable[bool]] | None = None
        self.answer = Answer(answered=answered)
        self.usage = Usage()

    async def stream(self) -> AsyncGenerator[StreamEvent]:
        """Yield the stream's events, and close the model's answer at the end."""
        try:
            async for event in self._structure() if self._structured else self._plain():
                yield event
        except AibindError:
            raise
        except Exception as error:
            logger.exception("A model failed", extra=log_fields("model.failed"))
            raise ModelError("The model failed") from error
        finally:
            await close_iterator(self._events)

    def record(self, event: StreamEvent) -> bool:
        """Keep an event as its readers receive it, for the conversation; return whether it completes a round."""
        return self.answer.add(event)

    async def wait_stored(self) -> bool:
        """Wait until the reply's stream holds all so far; return False when it never will, as where there is none."""
        return self.is_stored is not None and await self.is_stored()

    async def read(self) -> str:
        """Read the answer to its end and return its text."""
        async for event in normalized(self.stream()):
            self.record(event)
        return self.answer.text

    async def _plain(self) -> AsyncGenerator[StreamEvent]:
        async for event in self._events:
            if isinstance(event, TextDelta):
                yield StreamEvent("", event.text)
            elif isinstance(event, ReplyReference):  # for other processes, not for readers
                if self.continuation is not None:
                    await self.continuation.refer(event.value)
            elif named := self._named(event):
                if isinstance(event, ToolResult) and self.continuation is not None:
                    self.continuation.results += 1
                yield named

    async def _structure(self) -> AsyncGenerator[StreamEvent]:
        shown: Any = None
        last: list[StreamEvent] = []
        pieces: list[str] = []
        calls = 0
        began = time.monotonic()
        due = began
        size = due_size = 0
        async for event in self._events:
            if isinstance(event, TextDelta):
                pieces.append(event.text)
                size += len(event.text)
                now = time.monotonic()
                if now < due or size < due_size or size > MAX_PARTIAL_CHARS:
                    continue
                due_size = size + size // 64  # parsing starts over each time: a long answer is parsed less often
                try:
                    value = parse_partial("".join(pieces))
                except (ValueError, RecursionError):
                    continue
                if value != shown or shown is None:
                    shown = value
                    due = now + self._pace.delay_s(now - began)
                    yield StreamEvent("partial", compact_json(value))
                continue
            if isinstance(event, ToolCall):
                calls += 1
            elif isinstance(event, ToolResult):  # the answer is what comes after the last of them
                pieces.clear()
                shown, calls, size, due_size = None, 0, 0, 0
            if named := self._named(event):
                if isinstance(event, Usage | Finish):
                    last.append(named)
                else:
                    yield named
        text = "".join(pieces)
        failure: Exception | None = None
        if text or not calls:  # calls without text are left to the client
            try:
                last.insert(0, StreamEvent("data", compact_json(load_json(text))))
            except (ValueError, RecursionError) as error:
                failure = error
                if text:
                    self.record(StreamEvent("data", text))  # no reader has it, but it can be looked into
        for named in last:
            yield named
        if failure is not None:
            raise ModelError("The model's answer is not valid JSON") from failure

    def _named(self, event: ReplyEvent) -> StreamEvent | None:
        if isinstance(event, ReasoningDelta):
            return StreamEvent("reasoning", event.text)
        if isinstance(event, ReplyReference):  # for other processes, not for readers
            return None
        if isinstance(event, ToolCall):
            return StreamEvent(
                "tool_call",
                compact_json({"id": event.id, "name": event.name, "args": json_or_text(event.arguments or "{}")}),
            )
        if isinstance(event, ToolCallDelta):
            return StreamEvent(
                "tool_call_delta", compact_json({"id": event.id, "name": event.name, "delta": event.arguments})
            )
        if isinstance(event, ToolResult):
            return StreamEvent(
                "tool_result", compact_json({"id": event.id, "name": event.name, "result": json_or_text(event.result)})
            )
        if isinstance(event, ApprovalRequest):
            return self._asked(event)
        if isinstance(event, AnsweredCall):
            return StreamEvent("approval", compact_json(event.to_json()))
        if isinstance(event, ToolRunning):
            return StreamEvent("tool_running", compact_json({"id": event.id, "name": event.name}))
        if isinstance(event, CustomEvent):
            return StreamEvent(event.name, compact_json(event.data))
        if isinstance(event, MessageData):
            return StreamEvent("message_data", compact_json({event.key: event.value}))
        if isinstance(event, Finish):
            self.answer.reason = event.reason
            # A row less for nearly every reply: that a model stopped by itself is what a reader expects.
            return None if event.reason == "stop" else StreamEvent("finish", event.reason)
        assert isinstance(event, Usage)  # text is no named event
        self.usage = event
        return StreamEvent(
            "usage", compact_json({"inputTokens": event.input_tokens, "outputTokens": event.output_tokens})
        )

    def _asked(self, event: ApprovalRequest) -> StreamEvent:
        details = {} if event.details is None else {"details": event.details}
        turn = {} if self._turn is None else {"turn": self._turn}
        self._turn = None
        call = {"id": event.id, "name": event.name, "args": json_or_text(event.arguments or "{}")}
        return StreamEvent("approval_request", compact_json({**call, **details, **turn}))
