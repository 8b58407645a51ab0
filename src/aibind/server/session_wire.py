"""Sessions and their messages as JSON, and the tags of their versions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from .._json import compact_json
from ..conversations.sessions import MessagePage, SessionInfo, StoredMessage
from .recovery import Unanswered

__all__ = ["NO_OUTCOME", "Outcome", "disposition_of", "info_json", "matches", "page_json", "tag_of"]

_TAG = re.compile(r'(?:W/)?"([^"]*)"')
_UNSAFE = re.compile(r"[^A-Za-z0-9._ -]+")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of the last question: the stream that is producing its answer, or why there is none."""

    live_stream: str | None = None
    unanswered: Unanswered | None = None
    error: str | None = None


NO_OUTCOME = Outcome()


def info_json(session: SessionInfo) -> dict[str, Any]:
    """Return a session without its messages."""
    return {
        "id": session.session_id,
        "title": session.title,
        "revision": session.revision,
        "activeLeafId": session.active_leaf_id,
        "createdAt": session.created_at,
        "updatedAt": session.updated_at,
        "expiresAt": session.expires_at,
    }


def page_json(page: MessagePage, outcome: Outcome, approvals: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return a session with a page of its messages, and the calls that wait for approval."""
    return {
        **info_json(page.session),
        "messages": [_message_json(message) for message in page.messages],
        "before": page.before,
        "liveStream": outcome.live_stream,
        "unanswered": outcome.unanswered,
        "error": outcome.error,
        "approvals": approvals,
    }


def tag_of(session: SessionInfo, outcome: Outcome = NO_OUTCOME) -> str:
    """Return the ETag of a session, which differs whenever a page of it may.

    Every change raises the revision. A session that was deleted and begun again differs in the time of its creation,
    and what comes after the last message changes without a change of the session.
    """
    tag = f"{session.created_at:x}-{session.revision}"
    if outcome != NO_OUTCOME:
        state = compact_json([outcome.live_stream, outcome.unanswered, outcome.error])
        tag += "-" + hashlib.sha256(state.encode("utf-8", "replace")).hexdigest()[:16]
    return f'"{tag}"'


def matches(header: str, tag: str, *, session_only: bool = False) -> bool:
    """Return whether a header ``If-None-Match`` or ``If-Match`` names a tag.

    With ``session_only`` what comes after the last message is left out of the comparison.
    """
    if header.strip() == "*":
        return True
    wanted = _session_part(tag.strip('"')) if session_only else tag.strip('"')
    named: Sequence[str] = _TAG.findall(header)
    return wanted in ([_session_part(each) for each in named] if session_only else named)


def disposition_of(session: SessionInfo) -> str:
    """Return the Content-Disposition of an export, with the title as the name of the file (RFC 6266)."""
    title = session.title or "conversation"
    plain = " ".join(_UNSAFE.sub(" ", title).split()).strip(".") or "conversation"
    full = quote(title.replace("/", " "), safe="")
    return f"attachment; filename=\"{plain}.json\"; filename*=UTF-8''{full}.json"


def _session_part(tag: str) -> str:
    return "-".join(tag.split("-")[:2])


def _message_json(message: StoredMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "parentId": message.parent_id,
        "message": message.message,
        "metadata": message.metadata,
        "createdAt": message.created_at,
        "alternatives": message.alternatives,
        "replaces": message.replaces,
    }
