"""The Model protocol: what a language model is asked, and the events it answers with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

__all__ = [
    "Message",
    "Model",
    "ModelEvent",
    "ModelRequest",
    "ReasoningDelta",
    "TextDelta",
    "ToolCall",
    "Usage",
]

Message: TypeAlias = dict[str, Any]
"""One message of a conversation, as it is stored: usually ``{"role": "user", "content": "…"}``."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Is a piece of the answer's text, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Is a piece of the reasoning that some models show beside their answer, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Is one whole call of a tool: ``arguments`` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Is what an answer cost, in tokens; comes last, at most once."""

    input_tokens: int = 0
    output_tokens: int = 0


ModelEvent: TypeAlias = TextDelta | ReasoningDelta | ToolCall | Usage


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Is what a model is asked.

    ``messages`` is the conversation so far, oldest first, ending with what is to be answered. ``json_schema`` asks
    for structured output: JSON text that fits the schema (an empty mapping: any JSON object). ``tools`` are function
    tools as chat completions describes them: ``{"name", "description", "parameters"}``.
    """

    messages: Sequence[Message]
    system: str | None = None
    json_schema: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = field(default=())


class Model(Protocol):
    """Answers a request with a stream of events."""

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Answer ``request``.

        The iterator raises ModelError (and nothing else on purpose) when the model fails. Whoever stops early closes
        it with ``aclose()`` when it has one, which ends the request to the model's endpoint.
        """
        ...
