"""The list of conversations that are in objects, in a database that all Workers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._time import now_ms
from ..server.access import OwnedSessions, session_key
from ..server.responses import json_response
from ..server.session_requests import cursor_of, parse_cursor, parse_limit
from ..server.session_titles import title_of
from ..server.session_wire import info_json
from ..sqlite import SqliteClient, SqliteMessageStore
from ..streams.response import Body, HttpResponse

__all__ = ["SessionIndex"]

_NOTE = """INSERT INTO aibind_sessions (session_id, owner, title, next_seq, revision, created_at, updated_at)
VALUES (?, ?, ?, 0, 1, ?, ?)
ON CONFLICT (session_id) DO UPDATE SET updated_at = excluded.updated_at, revision = revision + 1"""


class SessionIndex:
    """The conversations of an :class:`ObjectRouter`, in the table ``aibind_sessions`` of a database such as D1.

    Each object knows its own conversation alone. The router notes one with each question, which is one statement, and
    lists an owner's. Messages stay in the objects, so that the table has a row for each conversation. It is made by
    :func:`aibind.sqlite.migrate`, or by the SQL that ``aibind schema`` prints.
    """

    def __init__(self, client: SqliteClient) -> None:
        self._client = client
        self._store = SqliteMessageStore(client)

    def __repr__(self) -> str:
        return f"<SessionIndex client={self._client!r}>"

    async def note(self, session_id: str, prompt: str | None, *, owner: str | None) -> None:
        """Note that a conversation goes on; one that is new gets a title of the prompt's first words."""
        now = now_ms()
        title = title_of(prompt) if prompt else None
        await self._client.execute(_NOTE, (session_key(session_id, owner), owner, title, now, now))

    async def rename(self, session_id: str, title: str | None, *, owner: str | None) -> None:
        """Change the title of a conversation."""
        await self._store.rename(session_key(session_id, owner), title)

    async def remove(self, session_id: str, *, owner: str | None) -> None:
        """Remove a conversation from the list."""
        await self._store.delete(session_key(session_id, owner))

    async def list_sessions(self, fields: Mapping[str, Sequence[str]], *, owner: str | None) -> HttpResponse[Body]:
        """Return the response of ``GET sessions`` with these parameters: the conversations, most recent first.

        Raises RequestError for a wrong parameter.
        """
        limit = parse_limit(fields)
        store = self._store if owner is None else OwnedSessions(self._store, owner)
        found = await store.list_sessions(limit=limit + 1, before=parse_cursor(fields))
        shown = found[:limit]
        before = cursor_of(shown[-1]) if len(found) > limit else None
        response = json_response({"sessions": [info_json(session) for session in shown], "before": before})
        return HttpResponse(response.status, {**response.headers, "Cache-Control": "private, no-cache"}, response.body)
