"""Sessions as a server describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ClientError
from .approvals import WaitingCall, waiting_calls

__all__ = ["Session", "SessionList", "SessionMessage", "list_of", "session_of"]


@dataclass(frozen=True, slots=True)
class SessionMessage:
    """One message of a session.

    ``message`` is as the model gets it: ``{"role", "content", …}``. ``alternatives`` are the ids of all versions, its
    own included. ``replaces`` is not None for a summary. ``created_at`` is in milliseconds since the epoch.
    """

    id: str
    parent_id: str | None
    message: Mapping[str, Any]
    metadata: Mapping[str, Any] | None
    created_at: int
    alternatives: Sequence[str]
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A session, and a page of its messages, oldest first, where those were asked for.

    ``before`` is what asks for the next older page, None on the oldest. ``live_stream`` is the id of the reply under
    way, and ``unanswered`` why the last question has no answer. ``approvals`` are the calls that wait for a user. Times
    are in milliseconds since the epoch.
    """

    id: str
    title: str | None
    revision: int
    active_leaf_id: str | None
    created_at: int
    updated_at: int
    expires_at: int | None
    messages: Sequence[SessionMessage] = ()
    before: str | None = None
    live_stream: str | None = None
    unanswered: str | None = None
    error: str | None = None
    approvals: Sequence[WaitingCall] = ()


@dataclass(frozen=True, slots=True)
class SessionList:
    """A page of sessions, most recently saved first. ``before`` is what asks for the next page, None on the last."""

    sessions: Sequence[Session]
    before: str | None


def list_of(value: Any) -> SessionList:
    """Return the list in a server's answer. Raises ClientError for any other JSON."""
    try:
        return SessionList(tuple(map(_session, value["sessions"])), value["before"])
    except (KeyError, TypeError) as error:
        raise _unexpected(error) from error


def session_of(value: Any) -> Session:
    """Return the session in a server's answer. Raises ClientError for any other JSON."""
    try:
        return _session(value)
    except (KeyError, TypeError) as error:
        raise _unexpected(error) from error


def _session(value: Any) -> Session:
    return Session(
        value["id"],
        value["title"],
        value["revision"],
        value["activeLeafId"],
        value["createdAt"],
        value["updatedAt"],
        value["expiresAt"],
        tuple(map(_message, value.get("messages", ()))),
        value.get("before"),
        value.get("liveStream"),
        value.get("unanswered"),
        value.get("error"),
        waiting_calls(value.get("approvals", [])),
    )


def _message(value: Any) -> SessionMessage:
    return SessionMessage(
        value["id"],
        value["parentId"],
        value["message"],
        value["metadata"],
        value["createdAt"],
        tuple(value["alternatives"]),
        value["replaces"],
    )


def _unexpected(error: Exception) -> ClientError:
    return ClientError(f"The server's answer is not that of a session ({error}): check the address, and its version")
