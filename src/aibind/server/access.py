"""Who may do what: the function that a host asks, what it grants, and sessions that belong to their owners."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from .._kinds import kind_of
from ..conversations.sessions import MessagePage, SessionInfo, SessionStore
from ..errors import RequestError
from ..history import ChatHistory

__all__ = [
    "Access",
    "Action",
    "Authorize",
    "Granted",
    "HttpRequest",
    "OwnedSessions",
    "ask_authorize",
    "owner_of",
    "session_key",
]

Action: TypeAlias = Literal[
    "stream",
    "structured",
    "chat",
    "complete",
    "title",
    "compact",
    "resume",
    "stop",
    "list",
    "open",
    "change",
    "delete",
    "attach",
    "file",
    "export",
    "import",
    "approvals",
    "approve",
]
"""The name of the endpoint that a request is for; from ``list`` on, they are those below ``sessions``."""

MAX_OWNER_BYTES = 1024
"""The limit of an owner's name, in bytes of UTF-8."""

MAX_PLAIN_OWNER_CHARS = 64
"""Characters of an owner's name in a key; a longer name is replaced by its hash, so that keys stay within KV's 512."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """The request that ``authorize`` is asked about where the host has no class for requests.

    ``path`` is percent-encoded, ``query`` the raw query string, and the names in ``headers`` are in lower case.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Access:
    """The right to do what was asked.

    ``owner`` is the user's stable id, to whom sessions and streams belong: not a name that changes hands.
    ``context`` reaches the model, as :attr:`ModelRequest.context`. Raises TypeError for an owner that is not a string,
    and ValueError for one that is empty, longer than 1,024 bytes or not Unicode.
    """

    owner: str
    context: Any = None

    def __post_init__(self) -> None:
        owner: object = self.owner
        if not isinstance(owner, str):
            raise TypeError(f"owner is {kind_of(owner)}: give a string, such as str(user.id)")
        if not owner:
            raise ValueError("owner is empty: refuse the request with None, or give an id to guests as well")
        try:
            size = len(owner.encode())
        except UnicodeEncodeError as error:
            raise ValueError(f"owner is {owner!r}, which holds half of a character (a lone surrogate)") from error
        if size > MAX_OWNER_BYTES:
            raise ValueError(f"owner has {size:,} bytes: use an id of at most {MAX_OWNER_BYTES:,}")


Granted: TypeAlias = Access | str | None
"""The answer of ``authorize``: an Access, an owner alone, or None to refuse with status 401."""

Authorize: TypeAlias = Callable[[Any, Action, str | None, str | None], Granted | Awaitable[Granted]]
"""A function of (request, action, session_id, stream_id), asked before each endpoint.

The ids are those that the request names, or None. It returns the owner, or an :class:`Access`, and refuses with None
(401) or with a RequestError of status 401 or 403. It may be a coroutine function. Any other exception refuses as well,
with status 500, and is logged.
"""


async def ask_authorize(
    authorize: Authorize, request: object, action: Action, session_id: str | None, stream_id: str | None
) -> Access:
    """Return what a request is granted. Raises RequestError when it is refused, and TypeError for a wrong answer."""
    granted: object = authorize(request, action, session_id, stream_id)
    if inspect.isawaitable(granted):
        granted = await granted
    if granted is None:
        raise RequestError("Sign in first", 401, headers={"WWW-Authenticate": "Bearer"})
    if isinstance(granted, Access):
        return granted
    if not isinstance(granted, str):
        raise TypeError(f"authorize returned {kind_of(granted)}: return an owner's id, an Access, or None")
    return Access(granted)


def owner_of(access: Access | None) -> str | None:
    """Return the owner of what a request makes; None where nobody is asked."""
    return None if access is None else access.owner


def session_key(session_id: str, owner: str | None) -> str:
    """Return the id under which stores keep an owner's session: ``ada/s1`` for the session ``s1`` of ``ada``.

    Each owner's sessions thus have ids of their own: another's session is simply not there, in every store. The
    owner's name is percent-encoded; a name that is longer than 64 characters then is replaced by ``=`` and its SHA-256.
    Without an owner it is the id as it is.
    """
    return session_id if owner is None else _prefix(owner) + session_id


def _prefix(owner: str) -> str:
    name = quote(owner, safe="@")
    return (name if len(name) <= MAX_PLAIN_OWNER_CHARS else "=" + hashlib.sha256(owner.encode()).hexdigest()) + "/"


class OwnedSessions:
    """The sessions of one owner in a store, by the ids that the owner's requests name."""

    def __init__(self, store: SessionStore, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._prefix = _prefix(owner)

    async def load(self, session_id: str, *, limit: int | None = None, leaf_id: str | None = None) -> ChatHistory:
        """Return a conversation; an empty one when the session is unknown or has expired."""
        return await self._store.load(self._prefix + session_id, limit=limit, leaf_id=leaf_id)

    async def save(
        self, session_id: str, chat: ChatHistory, *, owner: str | None = None, title: str | None = None
    ) -> None:
        """Store a conversation, as the owner's."""
        await self._store.save(self._prefix + session_id, chat, owner=owner or self._owner, title=title)

    async def delete(self, session_id: str) -> None:
        """Delete a session."""
        await self._store.delete(self._prefix + session_id)

    async def list_sessions(
        self, *, owner: str | None = None, limit: int = 50, before: SessionInfo | None = None
    ) -> list[SessionInfo]:
        """Return the owner's sessions, most recently saved first."""
        if before is not None:
            before = replace(before, session_id=self._prefix + before.session_id)
        found = await self._store.list_sessions(owner=owner or self._owner, limit=limit, before=before)
        return [self._named(session) for session in found]

    async def find_session(self, session_id: str) -> SessionInfo | None:
        """Return a session without its messages; None when it is unknown or has expired."""
        session = await self._store.find_session(self._prefix + session_id)
        return None if session is None else self._named(session)

    async def read_page(self, session_id: str, *, before: str | None = None, limit: int = 50) -> MessagePage | None:
        """Return the last messages of the current path, or those above the message ``before``."""
        page = await self._store.read_page(self._prefix + session_id, before=before, limit=limit)
        return None if page is None else replace(page, session=self._named(page.session))

    async def select(self, session_id: str, message_id: str) -> str | None:
        """Make the branch of a message the current path, and return the id of the message that it ends with."""
        return await self._store.select(self._prefix + session_id, message_id)

    async def rename(self, session_id: str, title: str | None) -> bool:
        """Change the title of a session, and return False when it is unknown or has expired."""
        return await self._store.rename(self._prefix + session_id, title)

    def _named(self, session: SessionInfo) -> SessionInfo:
        return replace(session, session_id=session.session_id.removeprefix(self._prefix))
