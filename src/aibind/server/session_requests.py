"""Paths, parameters and bodies of the endpoints of sessions, checked."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from .._json import is_object
from ..conversations.sessions import SessionInfo
from ..errors import RequestError
from .requests import MAX_SESSION_BYTES
from .session_titles import MAX_TITLE_CHARS

__all__ = [
    "MAX_LIMIT",
    "SessionChanges",
    "check_session_id",
    "cursor_of",
    "imported_id",
    "parse_cursor",
    "parse_limit",
    "parse_title",
]

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
"""The limit of the sessions or messages in one answer."""

_SQLITE_MAX_INTEGER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SessionChanges:
    """The body of ``PATCH sessions/{id}``. What it does not name stays."""

    has_title: bool
    title: str | None
    active_leaf_id: str | None

    @classmethod
    def parse(cls, body: object) -> SessionChanges:
        """Return a checked body."""
        if not is_object(body):
            raise RequestError("The body must be a JSON object")
        leaf_id = body.get("activeLeafId")
        if leaf_id is not None and not isinstance(leaf_id, str):
            raise RequestError("activeLeafId must be a string, the id of a message")
        has_title = "title" in body
        if not has_title and leaf_id is None:
            raise RequestError("title or activeLeafId is required")
        title: object = body.get("title")
        return cls(has_title, None if title is None else parse_title(title), leaf_id)


def check_session_id(segment: str) -> str:
    """Return the session id in a percent-encoded segment of a path."""
    if len(segment) > 3 * MAX_SESSION_BYTES:  # decoding takes long where all of it is percent signs
        raise RequestError(f"The session id is longer than {MAX_SESSION_BYTES} bytes")
    try:
        session_id = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise RequestError("The session id is not percent-encoded UTF-8") from error
    if len(session_id.encode()) > MAX_SESSION_BYTES:
        raise RequestError(f"The session id is longer than {MAX_SESSION_BYTES} bytes")
    return session_id


def imported_id(fields: Mapping[str, Sequence[str]]) -> str | None:
    """Return the parameter ``sessionId`` of an import, None when it is absent."""
    given = fields.get("sessionId", [""])[0]
    return check_session_id(given) if given else None


def parse_title(value: object) -> str:
    """Return a title with single spaces. Half a character, which no store keeps, becomes a question mark."""
    if not isinstance(value, str):
        raise RequestError("title must be a string")
    title = " ".join(value.encode("utf-8", "replace").decode().split())
    if not 1 <= len(title) <= MAX_TITLE_CHARS:
        raise RequestError(f"title must have 1 to {MAX_TITLE_CHARS} characters")
    return title


def parse_limit(fields: Mapping[str, Sequence[str]]) -> int:
    """Return the parameter ``limit``, 50 when it is absent."""
    text = fields.get("limit", [str(DEFAULT_LIMIT)])[0]
    # Checked before int(), so that clients see our error and not Python's digit limit.
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIMIT)) and 1 <= int(text) <= MAX_LIMIT):
        raise RequestError(f"limit must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def cursor_of(session: SessionInfo) -> str:
    """Return the cursor of the sessions that are listed after one."""
    return base64.urlsafe_b64encode(f"{session.updated_at}.{session.session_id}".encode()).decode().rstrip("=")


def parse_cursor(fields: Mapping[str, Sequence[str]]) -> SessionInfo | None:
    """Return the place of the parameter ``before`` in the list of sessions, as stores take it; None when it is absent.

    Of the session only the id and ``updated_at`` are known.
    """
    cursor = fields.get("before", [""])[0]
    if not cursor:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        updated_at, separator, session_id = text.partition(".")
        if not (separator and updated_at.isascii() and updated_at.isdigit() and len(updated_at) <= 19):
            raise ValueError(text)
    except (ValueError, binascii.Error) as error:
        raise RequestError("before is not a cursor that this endpoint returned") from error
    when = min(int(updated_at), _SQLITE_MAX_INTEGER)
    return SessionInfo(session_id, None, None, None, 0, 0, when, None)
