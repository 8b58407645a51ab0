"""The requests of a client, and what their answers mean, without I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from .._json import is_object
from ..errors import ClientError
from .approvals import ApprovalAnswer, WaitingCall, answers_body, waiting_calls
from .sessions import Session, SessionList, list_of, session_of

__all__ = ["Answer", "Call", "Operation", "approve_call", "ask_call", "attach_call", "error_of", "resume_call"]

_T = TypeVar("_T")

_MAX_SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request below the prefix of a server. ``path`` is encoded, and has the query."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole HTTP response. The names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The value in the body. Raises ClientError when it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            shown = self.body[:_MAX_SHOWN_CHARS].decode("utf-8", "replace")
            raise ClientError(f"The server sent no JSON: {shown!r}: check the address", self.status) from error


def error_of(answer: Answer) -> ClientError:
    """Return the error for an answer that is not a success, in the server's words where it has some."""
    try:
        said: Any = json.loads(answer.body)
    except (ValueError, RecursionError):
        said = None
    text = said.get("error") if is_object(said) else None
    stream_id = said.get("streamId") if is_object(said) else None
    message = text if isinstance(text, str) and text else f"The server answered {answer.status}"
    if answer.status == 404 and not isinstance(text, str):
        message += ": check the address and the prefix"
    return ClientError(message, answer.status, stream_id=stream_id if isinstance(stream_id, str) else None)


# --- replies ---------------------------------------------------------------------------------------------------------


def _post(path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Call:
    sent = {name: value for name, value in body.items() if value is not None}
    content = json.dumps(sent, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # A lone surrogate cannot be sent as UTF-8.
    return Call(
        "POST", path, {"content-type": "application/json", **(headers or {})}, content.encode("utf-8", "replace")
    )


_EVENTS = {"accept": "text/event-stream"}


def ask_call(endpoint: str, request_id: str | None, body: Mapping[str, Any]) -> Call:
    """Return the request for a reply."""
    return _post(f"/{endpoint}", body, {**_EVENTS, **({"idempotency-key": request_id} if request_id else {})})


def resume_call(stream_id: str, after: int, *, short: bool = False) -> Call:
    """Return the request for the rest of a stream; with ``short`` in messages of a few bytes each."""
    return Call("GET", "/stream/resume" + _query(id=stream_id, after=after, short="true" if short else None), _EVENTS)


def approve_call(session_id: str, answers: Mapping[str, ApprovalAnswer]) -> Call:
    """Return the request that answers calls which wait for a user."""
    return _post(f"{_session_path(session_id)}/approvals", answers_body(answers), _EVENTS)


def attach_call(session_id: str, after: int) -> Call:
    """Return the request for the reply under way in a session."""
    return Call("GET", f"{_session_path(session_id)}/stream" + _query(after=after or None), _EVENTS)


# --- operations ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Operation(Generic[_T]):
    """A request with a short answer, and how the answer is read.

    ``read`` is called with an answer whose status is 200 to 299, or one of ``expected``.
    """

    call: Call
    read: Callable[[Answer], _T]
    expected: frozenset[int] = frozenset()

    def result(self, answer: Answer) -> _T:
        """Return the result. Raises ClientError for an answer that is not a success."""
        if not 200 <= answer.status < 300 and answer.status not in self.expected:
            raise error_of(answer)
        return self.read(answer)


def _query(**parameters: object) -> str:
    given = {name: value for name, value in parameters.items() if value is not None}
    return "?" + urlencode(given) if given else ""


def _session_path(session_id: str) -> str:
    if session_id in ("", ".", ".."):
        raise ValueError(f"session_id is {session_id!r}: give another one, since this has a meaning in an address")
    return "/sessions/" + quote(session_id, safe="")


def _nothing(_: Answer) -> None:
    return None


def stop(stream_id: str) -> Operation[None]:
    """Stop a stream."""
    return Operation(_post("/stream/stop", {"id": stream_id}), _nothing)


def list_sessions(limit: int | None, before: str | None, *, live: bool) -> Operation[SessionList]:
    """List sessions."""
    path = "/sessions" + _query(limit=limit, before=before, live="true" if live else None)
    return Operation(Call("GET", path), lambda answer: list_of(answer.json))


def open_session(session_id: str, limit: int | None, before: str | None) -> Operation[Session | None]:
    """Return a session with a page of its messages; None when it is unknown."""
    path = _session_path(session_id) + _query(limit=limit, before=before)
    return Operation(
        Call("GET", path),
        lambda answer: None if answer.status == 404 else session_of(answer.json),
        frozenset({404}),
    )


def list_approvals(session_id: str) -> Operation[tuple[WaitingCall, ...]]:
    """Return the calls that a session waits with."""
    return Operation(Call("GET", f"{_session_path(session_id)}/approvals"), lambda answer: waiting_calls(answer.json))


def change_session(session_id: str, changes: Mapping[str, Any]) -> Operation[Session]:
    """Change the title or the current path of a session."""
    content = json.dumps(changes, ensure_ascii=False).encode("utf-8", "replace")
    call = Call("PATCH", _session_path(session_id), {"content-type": "application/json"}, content)
    return Operation(call, lambda answer: session_of(answer.json))


def delete_session(session_id: str) -> Operation[None]:
    """Delete a session."""
    return Operation(Call("DELETE", _session_path(session_id)), _nothing)


def export_session(session_id: str) -> Operation[bytes]:
    """Return a conversation as JSON."""
    return Operation(Call("GET", f"{_session_path(session_id)}/export"), lambda answer: answer.body)


def import_session(content: bytes, session_id: str | None, title: str | None) -> Operation[str]:
    """Store an exported conversation, and return its session's id."""
    path = "/sessions/import" + _query(sessionId=session_id, title=title)
    call = Call("POST", path, {"content-type": "application/json"}, content)
    return Operation(call, lambda answer: str(answer.json["id"]))
