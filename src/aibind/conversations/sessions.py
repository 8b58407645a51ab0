"""Sessions as a store lists them, and the pages of their messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ..history import ChatHistory
from .store import ConversationStore

__all__ = ["MessagePage", "SessionInfo", "SessionStore", "StoredMessage"]


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session, without its messages.

    ``active_leaf_id`` is the id of the message that ends the current path. ``revision`` grows with every change. Times
    are in milliseconds since the epoch; ``updated_at`` is that of the last save, and grows with each. ``expires_at`` is
    None for a session that is kept until it is deleted.
    """

    session_id: str
    owner: str | None
    title: str | None
    active_leaf_id: str | None
    revision: int
    created_at: int
    updated_at: int
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of a page.

    ``alternatives`` are the ids of all its versions, oldest first, itself included. ``replaces`` is the id
    of the last message that this one, a summary, stands for; None for any other message. The model sees nothing above
    a summary. ``created_at`` is an ISO 8601 time in UTC.
    """

    id: str
    parent_id: str | None
    message: Mapping[str, Any]
    metadata: Mapping[str, Any]
    created_at: str
    alternatives: tuple[str, ...]
    replaces: str | None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A part of a path through a conversation, oldest message first.

    ``before`` is what to ask the next older page with; None when there is nothing above.
    """

    session: SessionInfo
    messages: tuple[StoredMessage, ...]
    before: str | None


@runtime_checkable
class SessionStore(ConversationStore, Protocol):
    """A conversation store that can list its sessions and read them page by page."""

    async def save(
        self, session_id: str, chat: ChatHistory, *, owner: str | None = None, title: str | None = None
    ) -> None:
        """Store the conversation, as every store does; ``owner`` and ``title`` are recorded when the session is new."""
        ...

    async def list_sessions(
        self, *, owner: str | None = None, limit: int = 50, before: SessionInfo | None = None
    ) -> list[SessionInfo]:
        """Return the sessions of an ``owner`` (None: all sessions), most recently saved first.

        For the next page, pass the last session of the page before as ``before``, of which the id and ``updated_at``
        count.
        """
        ...

    async def find_session(self, session_id: str) -> SessionInfo | None:
        """Return a session without its messages; None when it is unknown or has expired."""
        ...

    async def read_page(self, session_id: str, *, before: str | None = None, limit: int = 50) -> MessagePage | None:
        """Return the last messages of the current path, or those above the message ``before``."""
        ...

    async def select(self, session_id: str, message_id: str) -> str | None:
        """Make the branch of a message the current path, and return the id of the message that it ends with."""
        ...

    async def rename(self, session_id: str, title: str | None) -> bool:
        """Change the title of a session, and return False when it is unknown or has expired."""
        ...
