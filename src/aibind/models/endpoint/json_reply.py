"""The parts of a reply that every format of JSON messages shares."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from ..._json import is_object
from ..._text import SurrogateJoiner
from ...errors import ModelError
from ..model import Finish, ModelEvent, ReasoningDelta, TextDelta, ToolCall, Usage
from .errors import Redactor, endpoint_error, snippet
from .reply import BROKE_OFF, cut_off, garbage

__all__ = ["JsonReply"]


class JsonReply(ABC):
    """A reply whose messages are JSON objects; see :class:`EndpointReply`."""

    def __init__(self, redact: Redactor | None = None, *, structured: bool = False) -> None:
        self.done = False
        self.finished = False
        self.failure: ModelError | None = None
        self._redact = redact or Redactor()
        self._structured = structured
        self._reason = ""
        self._text = SurrogateJoiner()
        self._reasoning = SurrogateJoiner()
        self._refusal: list[str] = []
        self._usage: Usage | None = None
        self._has_begun = False

    def feed(self, data: str, event: str = "") -> Iterator[ModelEvent]:
        """Yield the events of one message. Raises ModelError for an error, and for data that is not a reply."""
        self._has_begun = self._has_begun or bool(data)
        if data.strip() == "[DONE]":
            self.done = True
            return
        try:
            message = json.loads(data)
        except (ValueError, RecursionError) as error:
            if event == "error":
                raise endpoint_error(data, BROKE_OFF, self._redact) from error
            raise garbage("a data line that is not JSON", data, self._redact) from error
        if not is_object(message):
            raise garbage("a data line that is not a JSON object", data, self._redact)
        yield from self._take(message, event, data)

    def take(self, message: dict[str, Any]) -> Iterator[ModelEvent]:
        """Yield the events of one message that is decoded already, as :meth:`feed` does for its text."""
        self._has_begun = True
        yield from self._take(message, "", str(message))

    def end(self) -> list[ModelEvent]:
        """Return the last events. Raises ModelError when the reply is not whole."""
        if not self._is_whole:
            if not self._has_begun:
                raise ModelError("The model's endpoint sent an empty answer: check base_url and the model's name")
            raise cut_off()
        events: list[ModelEvent] = [
            kind(text)
            for kind, joiner in ((ReasoningDelta, self._reasoning), (TextDelta, self._text))
            if (text := joiner.flush())
        ]
        self.failure = self._judge()
        if self.failure is None:
            events.extend(self._whole_calls())
        if reason := self._stop_reason:
            events.append(Finish(reason))
        if self._usage is not None:
            events.append(self._usage)
        return events

    @abstractmethod
    def _take(self, message: dict[str, Any], event: str, data: str) -> Iterator[ModelEvent]:
        """Yield the events of one message, whose text is ``data``."""

    @abstractmethod
    def _whole_calls(self) -> Sequence[ToolCall]:
        """Return the tool calls of a whole reply."""

    @property
    @abstractmethod
    def _call_names(self) -> Sequence[str]:
        """The names of the tools that have been called so far."""

    @property
    @abstractmethod
    def _is_cut_short(self) -> bool:
        """Whether the reply ran into a limit, such as that of tokens."""

    @property
    def _is_whole(self) -> bool:
        """Whether the reply has come to its end."""
        return self.finished

    @property
    def _stop_reason(self) -> str:
        """The model's reason to stop; empty when it gave none."""
        return self._reason

    def _emit(self, piece: str) -> Iterator[ModelEvent]:
        if text := self._text.join(piece):
            yield TextDelta(text)

    def _emit_reasoning(self, piece: str) -> Iterator[ModelEvent]:
        if text := self._reasoning.join(piece):
            yield ReasoningDelta(text)

    def _refuse(self, piece: str) -> Iterator[ModelEvent]:
        """Take a refusal, which is text unless JSON was asked for."""
        if self._structured:
            self._refusal.append(piece)
        else:
            yield from self._emit(piece)

    def _judge(self) -> ModelError | None:
        """Return the error of a reply that is of no use."""
        if self._refusal:
            refusal = snippet(self._redact("".join(self._refusal)), 500)
            return ModelError(f"The model refused: {refusal}", code="refusal")
        if self._reason == "content_filter":
            return ModelError("The endpoint's content filter stopped the answer", code="content_filter")
        if self._is_cut_short and (self._structured or self._call_names):
            what = "a tool call" if self._call_names else "structured output"
            return ModelError(f"The limit of tokens cut off {what}: allow more tokens", code="length")
        if not all(self._call_names):
            return ModelError("The model called a tool without naming it", code="malformed_reply", retryable=True)
        return None
