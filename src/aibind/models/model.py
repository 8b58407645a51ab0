"""The Model protocol: what a language model is asked, and the events it answers with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from ..history import Message

__all__ = [
    "Finish",
    "Message",
    "Model",
    "ModelEvent",
    "ModelRequest",
    "ReasoningDelta",
    "TextDelta",
    "ToolCall",
    "Usage",
]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the reasoning that some models show beside their answer, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One whole call of a tool. ``arguments`` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The model's own reason to stop, such as ``stop``, ``length`` or ``tool_calls``.

    It comes after all that the model says, at most once, and not when the model gave no reason.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of an answer, in tokens. It comes last, at most once."""

    input_tokens: int = 0
    output_tokens: int = 0


ModelEvent: TypeAlias = TextDelta | ReasoningDelta | ToolCall | Finish | Usage
"""One event of a model's answer."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A question to a model.

    ``messages`` is the conversation so far, oldest first, ending with what is to be answered. ``json_schema`` asks
    for structured output: JSON text that fits the schema (an empty mapping: any JSON object). ``tools`` are function
    tools as chat completions describes them: ``{"name", "description", "parameters"}``. ``context`` is that of the
    :class:`~aibind.server.Access` that the request was granted; None where nobody is asked.
    """

    messages: Sequence[Message]
    system: str | None = None
    json_schema: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = field(default=())
    context: Any = None


class Model(Protocol):
    """A language model, which answers a request with a stream of events."""

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent | str]:
        """Answer ``request``, event by event.

        A ``str`` is text, as a :class:`TextDelta` is. The iterator raises ModelError when the model fails; readers see
        its message, and of any other exception only that the model failed. A caller that stops early closes the
        iterator with ``aclose()`` where it has one, which must end the request to the model's endpoint.
        """
        ...
