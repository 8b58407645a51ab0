"""The options and the requests that both clients share."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypedDict, TypeVar, Unpack
from urllib.parse import urlsplit

from .._loopback import is_loopback
from . import calls
from .approvals import ApprovalAnswer, may_repeat
from .calls import Call
from .follower import ReplyFollower

__all__ = ["AskFields", "BaseClient", "ClientOptions"]


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """The address of a server, and how it is followed. Raises ValueError for what cannot be used."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    resumable: bool = True
    timeout_s: float = 60.0
    max_failures: int = 10

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"base_url is {self.url!r}: give an address such as http://127.0.0.1:8000")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s is {self.timeout_s}: give a number of seconds above 0")
        if self.max_failures < 1:
            raise ValueError(f"max_failures is {self.max_failures}: give 1 or more")

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine, so that no proxy can reach it."""
        return is_loopback(urlsplit(self.url).hostname or "")

    def arguments(self, call: Call) -> dict[str, Any]:
        """Return the arguments of an HTTP client's method for a request."""
        return {
            "method": call.method,
            "url": self.url + call.path,
            "content": call.body,
            "headers": {**self.headers, **call.headers},
            "timeout": self.timeout_s,
        }

    def ask(self, endpoint: str, body: Mapping[str, Any], request_id: str | None) -> ReplyFollower:
        """Return a new reply. A request without an id gets one, where the server takes it."""
        if request_id is None and self.resumable:
            request_id = str(uuid.uuid4())
        return self._follow(calls.ask_call(endpoint, request_id, body), can_repeat=request_id is not None)

    def resume(self, stream_id: str, after: int) -> ReplyFollower:
        """Return the rest of a reply."""
        return self._follow(calls.resume_call(stream_id, after), stream_id=stream_id, last_id=after)

    def attach(self, session_id: str, after: int) -> ReplyFollower:
        """Return the reply under way in a session."""
        return self._follow(calls.attach_call(session_id, after), last_id=after)

    def approve(self, session_id: str, answers: Mapping[str, ApprovalAnswer]) -> ReplyFollower:
        """Return the reply that goes on from answers to calls."""
        return self._follow(calls.approve_call(session_id, answers), can_repeat=may_repeat(answers))

    def _follow(self, first: Call, *, can_repeat: bool = True, stream_id: str = "", last_id: int = 0) -> ReplyFollower:
        return ReplyFollower(
            first, can_repeat=can_repeat, stream_id=stream_id, last_id=last_id, max_failures=self.max_failures
        )


class AskFields(TypedDict, total=False):
    """The fields of a question beside its prompt, as the server takes them."""

    session_id: str
    system: str
    model: str
    toolset: str
    max_steps: int
    attachments: Sequence[Mapping[str, Any]]
    edit: str
    regenerate: str
    on_busy: str


_WIRE_NAMES = {"session_id": "sessionId", "max_steps": "maxSteps", "on_busy": "onBusy"}


def _body_of(fields: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return the body of a question, as the server names its fields. Raises TypeError for an unknown field."""
    unknown = fields.keys() - AskFields.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown field {min(unknown)!r}: give some of {', '.join(sorted(AskFields.__annotations__))}")
    return {_WIRE_NAMES.get(name, name): value for name, value in fields.items()} | more


R = TypeVar("R")


class BaseClient(ABC, Generic[R]):
    """The methods that both clients share: those that return a reply, which does nothing until it is read."""

    def __init__(self, options: ClientOptions) -> None:
        self._options = options

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._options.url!r})"

    @abstractmethod
    def _reply(self, follower: ReplyFollower) -> R:
        """Return a reply that the follower's requests bring."""

    def ask(self, prompt: str = "", *, request_id: str | None = None, **fields: Unpack[AskFields]) -> R:
        """Return the reply to a prompt, which is asked when it is first iterated over.

        ``fields`` are those that the server takes: ``session_id``, ``system``, ``model``, ``toolset``, ``max_steps``,
        ``attachments``, ``edit``, ``regenerate`` and ``on_busy``. The request has an id, ``request_id`` or a random
        one, so that it is answered once however often it has to be sent.
        """
        return self._reply(self._options.ask("stream", _body_of(fields, prompt=prompt or None), request_id))

    def structured(
        self,
        prompt: str,
        schema: Mapping[str, Any] | None = None,
        *,
        request_id: str | None = None,
        **fields: Unpack[AskFields],
    ) -> R:
        """Return the reply to a prompt that asks for JSON; its ``value`` is the JSON as far as it has come."""
        body = _body_of(fields, prompt=prompt, schema=schema)
        return self._reply(self._options.ask("structured", body, request_id))

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        request_id: str | None = None,
        **fields: Unpack[AskFields],
    ) -> R:
        """Return the reply to a conversation that you keep."""
        body = _body_of(fields, messages=list(messages))
        return self._reply(self._options.ask("chat", body, request_id))

    def resume(self, stream_id: str, *, after: int = 0) -> R:
        """Return the rest of a reply after an event's id; 0 is its beginning."""
        return self._reply(self._options.resume(stream_id, after))

    def attach(self, session_id: str, *, after: int = 0) -> R:
        """Return the reply under way in a session; its state is ``none`` when there is none."""
        return self._reply(self._options.attach(session_id, after))

    def approve(self, session_id: str, answers: Mapping[str, ApprovalAnswer]) -> R:
        """Return the reply that goes on from a user's answers, by the ids of their calls; nothing is sent before that.

        An answer is True, False, or a mapping with ``approved`` or ``retry``, and ``args`` or ``reason``. The state of
        the reply is ``waiting`` while other calls have no answer.
        """
        return self._reply(self._options.approve(session_id, answers))
