"""The Model protocol: what a language model is asked, and the events it answers with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from ..history import Message
from ..streams.events import check_event_name

__all__ = [
    "Approval",
    "ApprovalRequest",
    "ChooseModel",
    "CustomEvent",
    "Finish",
    "Message",
    "MessageData",
    "Model",
    "ModelEvent",
    "ModelFunction",
    "ModelRequest",
    "ReasoningDelta",
    "ReplyReference",
    "TextDelta",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "Usage",
]

WIRE_NAMES = frozenset(
    {
        "",
        "approval",
        "approval_request",
        "data",
        "error",
        "finish",
        "message_data",
        "partial",
        "reasoning",
        "tool_call",
        "tool_call_delta",
        "tool_result",
        "tool_running",
        "usage",
    }
)
"""The names that a stream's readers know, and that a custom event cannot have."""

_CHAT_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "reasoning"})


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
class ToolCallDelta:
    """A piece of the arguments of a call, for readers who want to see them grow. The whole ToolCall follows."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a call that was run where the model runs, as JSON text; other text is kept as a string.

    It comes after its ToolCall. The server does not run a call that has a result.
    """

    id: str
    name: str
    result: str


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A call that the model runs itself once a user has allowed it. It comes after its ToolCall, with the same fields.

    The answer ends with the requests, as waiting. When all of them are answered, the model is asked again, with
    :attr:`ModelRequest.approvals`. ``details`` is a JSON value for the page that asks the user.
    """

    id: str
    name: str
    arguments: str
    details: Any = None


@dataclass(frozen=True, slots=True)
class Approval:
    """A user's answer to an :class:`ApprovalRequest`.

    ``arguments`` is JSON text that replaces the call's arguments, None to keep them. ``reason`` is the user's, for the
    model.
    """

    approved: bool
    arguments: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CustomEvent:
    r"""An event for the application's readers, such as a citation or progress: a name, and a JSON value.

    It is part of the stream and not of the conversation. Raises ValueError for a name that is empty, holds CR, LF, NUL
    or ``\x01``, or is the name of an event that aibind sends itself.
    """

    name: str
    data: Any = None

    def __post_init__(self) -> None:
        check_event_name(self.name)
        if self.name in WIRE_NAMES:
            raise ValueError(f"Event name {self.name!r} is one that aibind sends itself: choose another name")


@dataclass(frozen=True, slots=True)
class MessageData:
    """A key of the model's message in the conversation, such as the signatures of its reasoning, and a JSON value.

    It is for the model itself, which finds it in the next request; others are not sent it. It comes after all that the
    model says in its message, and before results of tools. The last value of a key counts. Raises ValueError for a key
    that chat completions have.
    """

    key: str
    value: Any = None

    def __post_init__(self) -> None:
        if not self.key or self.key in _CHAT_KEYS:
            raise ValueError(f"{self.key!r} cannot be the key of a MessageData: chat completions have it themselves")


@dataclass(frozen=True, slots=True)
class Finish:
    """The model's own reason to stop, such as ``stop``, ``length`` or ``tool_calls``.

    It comes after all that the model says, at most once, and not when the model gave no reason.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of an answer, in tokens. It comes last, at most once.

    ``model`` is the model that answered, where the endpoint says so. It is not compared.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    model: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ReplyReference:
    """The name by which a provider knows an answer, such as the id of a response.

    It is stored with the stream as soon as it is yielded, and not sent to readers. With it another process can go on
    with the answer: see :class:`ResumableModel`. The last one of an answer counts.
    """

    value: str


ModelEvent: TypeAlias = (
    TextDelta
    | ReasoningDelta
    | ToolCallDelta
    | ToolCall
    | ApprovalRequest
    | ToolResult
    | CustomEvent
    | MessageData
    | ReplyReference
    | Finish
    | Usage
)
"""One event of a model's answer."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A question to a model.

    ``messages`` is the conversation so far, oldest first, ending with what is to be answered. ``json_schema`` asks
    for structured output: JSON text that fits the schema (an empty mapping: any JSON object). ``tools`` are function
    tools as chat completions describes them: ``{"name", "description", "parameters"}``.

    ``session_id`` is the conversation that the request names. ``owner`` and ``context`` are those of the
    :class:`~aibind.server.Access` that it was granted; None where nobody is asked. ``settings`` are those of the
    handler, such as ``{"temperature": 0}``, under the names of chat completions. ``model`` is the key that the request
    names.

    ``approvals`` are the answers to the :class:`ApprovalRequest` events that the model ended its last answer with, by
    the id of the call; ``messages`` then end with these calls, which the model is to run or to refuse itself.
    """

    messages: Sequence[Message]
    system: str | None = None
    json_schema: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = field(default=())
    context: Any = None
    session_id: str | None = None
    owner: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    model: str | None = None
    approvals: Mapping[str, Approval] = field(default_factory=dict[str, Approval])


class Model(Protocol):
    """A language model, which answers a request with a stream of events."""

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent | str]:
        """Answer ``request``, event by event.

        A ``str`` is text, as a :class:`TextDelta` is. The iterator raises ModelError when the model fails; readers see
        its message, and of any other exception only that the model failed. A caller that stops early closes the
        iterator with ``aclose()`` where it has one, which must end the request to the model's endpoint.
        """
        ...


ModelFunction: TypeAlias = Callable[[ModelRequest], AsyncIterator[ModelEvent | str]]
"""A function from a request to an async iterator, such as an async generator function, which answers as
:meth:`Model.stream` does."""

ChooseModel: TypeAlias = Callable[[ModelRequest], Model | ModelFunction | str | Awaitable[Model | ModelFunction | str]]
"""A function, or coroutine function, from a request to the model that answers it, or to its key."""
