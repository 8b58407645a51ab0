"""From a model's events to a stream's: text, and named events as on the wire."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from .._closing import close_iterator
from .._json import compact_json, load_json
from ..errors import AibindError, ModelError
from ..models.model import ModelEvent, ReasoningDelta, TextDelta, ToolCall, Usage
from ..streams.events import StreamEvent
from ..streams.normalize import normalized
from ..streams.store import Pace
from .partial_json import parse_partial
from .tools import ToolResult

__all__ = ["Generation"]

logger = logging.getLogger("aibind")


class Generation:
    """A model's answer as a stream's events, and its text for the conversation.

    Text is a plain event. The others are named: ``reasoning`` with text, ``tool_call`` with
    ``{"id", "name", "args"}``, ``tool_result`` with ``{"id", "name", "result"}`` and ``usage`` with
    ``{"inputTokens", "outputTokens"}``. A structured answer comes as ``partial`` events, each with all that is known so
    far, and one ``data`` event with the whole; ``pace`` limits how often a partial comes, since each is stored. An
    error of the model that is not meant for clients is logged and becomes a ModelError that they may read.
    """

    def __init__(
        self,
        events: AsyncIterator[ModelEvent | ToolResult],
        *,
        structured: bool = False,
        pace: Pace | None = None,
    ) -> None:
        self._events = events
        self._structured = structured
        self._pace = pace or Pace(0)
        self._pieces: list[str] = []
        self.usage = Usage()

    @property
    def text(self) -> str:
        """The text so far: what :meth:`record` was given, or the JSON of a structured answer."""
        return "".join(self._pieces)

    async def stream(self) -> AsyncGenerator[StreamEvent]:
        """Yield the stream's events, and close the model's answer at the end."""
        try:
            async for event in self._structure() if self._structured else self._plain():
                yield event
        except AibindError:
            raise
        except Exception as error:
            logger.exception("A model failed")
            raise ModelError("The model failed") from error
        finally:
            await close_iterator(self._events)

    def record(self, event: StreamEvent) -> None:
        """Keep the text of an event as its readers receive it, which is what the conversation is to hold."""
        if event.is_text:
            self._pieces.append(event.data)

    async def read(self) -> str:
        """Read the answer to its end and return its text."""
        async for event in normalized(self.stream()):
            self.record(event)
        return self.text

    async def _plain(self) -> AsyncGenerator[StreamEvent]:
        async for event in self._events:
            if isinstance(event, TextDelta):
                yield StreamEvent("", event.text)
            else:
                yield self._named(event)

    async def _structure(self) -> AsyncGenerator[StreamEvent]:
        shown: Any = None
        usage: StreamEvent | None = None
        began = time.monotonic()
        due = began
        size = due_size = 0
        async for event in self._events:
            if isinstance(event, TextDelta):
                self._pieces.append(event.text)
                size += len(event.text)
                now = time.monotonic()
                if now < due or size < due_size:
                    continue
                due_size = size + size // 64  # parsing starts over each time: a long answer is parsed less often
                try:
                    value = parse_partial(self.text)
                except (ValueError, RecursionError):
                    continue
                if value != shown or shown is None:
                    shown = value
                    due = now + self._pace.delay_s(now - began)
                    yield StreamEvent("partial", compact_json(value))
            elif isinstance(event, Usage):
                usage = self._named(event)
            else:
                yield self._named(event)
        try:
            value = load_json(self.text)
        except (ValueError, RecursionError) as error:
            raise ModelError("The model's answer is not valid JSON") from error
        yield StreamEvent("data", compact_json(value))
        if usage is not None:
            yield usage

    def _named(self, event: ReasoningDelta | ToolCall | Usage | ToolResult) -> StreamEvent:
        if isinstance(event, ReasoningDelta):
            return StreamEvent("reasoning", event.text)
        if isinstance(event, ToolCall):
            return StreamEvent(
                "tool_call", compact_json({"id": event.id, "name": event.name, "args": _arguments(event.arguments)})
            )
        if isinstance(event, ToolResult):
            return StreamEvent(
                "tool_result", compact_json({"id": event.id, "name": event.name, "result": load_json(event.result)})
            )
        self.usage = event
        return StreamEvent(
            "usage", compact_json({"inputTokens": event.input_tokens, "outputTokens": event.output_tokens})
        )


def _arguments(text: str) -> Any:
    """Return a call's arguments; text that is not JSON stays text, so that nothing is lost."""
    try:
        return load_json(text or "{}")
    except (ValueError, RecursionError):
        return text
