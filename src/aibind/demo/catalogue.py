"""The demo's list of conversations, in a table beside those of the stores."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from .._time import now_ms
from ..conversations.store import ConversationStore
from ..history import ChatHistory
from ..server.exchanges import pending_stream
from ..sqlite.client import SqliteClient

__all__ = ["Catalogue", "Entry", "ListedConversations", "title_of"]

MAX_ENTRIES = 200
MAX_TITLE_CHARS = 60
_COMMAND = re.compile(r"\A/(\w+)(?:\s+\d+)?\s*")
_MARKUP = re.compile(r"[`*_#>\[\]|~\\]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the list. ``updated_at`` is in milliseconds since the epoch, and grows with every save."""

    session_id: str
    title: str
    updated_at: int


class Catalogue:
    """The lines of the list, and which conversations wait for an answer."""

    def __init__(self, client: SqliteClient) -> None:
        self._client = client

    async def create_table(self) -> None:
        """Create the table unless it exists."""
        await self._client.execute(
            "CREATE TABLE IF NOT EXISTS aibind_demo_conversations ("
            "session_id TEXT PRIMARY KEY, title TEXT NOT NULL, updated_at INTEGER NOT NULL, pending TEXT)"
        )

    async def record(self, session_id: str, title: str, pending: str | None) -> None:
        """Record that a conversation was saved. Its first title stays until it is renamed."""
        await self._client.execute(
            "INSERT INTO aibind_demo_conversations VALUES (?1, ?2, ?3, ?4) ON CONFLICT (session_id) DO UPDATE"
            " SET updated_at = max(?3, updated_at + 1), pending = ?4",
            [session_id, title, now_ms(), pending],
        )

    async def newest(self, limit: int = MAX_ENTRIES) -> list[Entry]:
        """Return the conversations, most recently saved first."""
        result = await self._client.execute(
            "SELECT session_id, title, updated_at FROM aibind_demo_conversations"
            " ORDER BY updated_at DESC, session_id LIMIT ?",
            [limit],
        )
        return [
            Entry(cast("str", row["session_id"]), cast("str", row["title"]), cast("int", row["updated_at"]))
            for row in result.rows
        ]

    async def find(self, session_id: str) -> Entry | None:
        """Return a conversation's line, or None when it is not in the list."""
        result = await self._client.execute(
            "SELECT title, updated_at FROM aibind_demo_conversations WHERE session_id = ?", [session_id]
        )
        for row in result.rows:
            return Entry(session_id, cast("str", row["title"]), cast("int", row["updated_at"]))
        return None

    async def rename(self, session_id: str, title: str) -> bool:
        """Change a conversation's title; return False when it is not in the list."""
        result = await self._client.execute(
            "UPDATE aibind_demo_conversations SET title = ? WHERE session_id = ? RETURNING 1 AS found",
            [title, session_id],
        )
        return bool(result.rows)

    async def remove(self, session_id: str) -> None:
        """Remove a conversation from the list."""
        await self._client.execute("DELETE FROM aibind_demo_conversations WHERE session_id = ?", [session_id])

    async def waiting(self) -> list[str]:
        """Return the ids of the conversations whose last question had no answer when they were saved."""
        result = await self._client.execute(
            "SELECT session_id FROM aibind_demo_conversations WHERE pending IS NOT NULL"
        )
        return [cast("str", row["session_id"]) for row in result.rows]

    async def prune(self, max_age_ms: int) -> None:
        """Remove the conversations that were last saved longer ago than this."""
        await self._client.execute(
            "DELETE FROM aibind_demo_conversations WHERE updated_at < ?", [now_ms() - max_age_ms]
        )


class ListedConversations:
    """A conversation store that keeps the list up to date."""

    def __init__(self, store: ConversationStore, catalogue: Catalogue) -> None:
        self._store = store
        self._catalogue = catalogue

    async def load(self, session_id: str, *, limit: int | None = None, leaf_id: str | None = None) -> ChatHistory:
        """Load a conversation."""
        return await self._store.load(session_id, limit=limit, leaf_id=leaf_id)

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store a conversation, then its line in the list."""
        await self._store.save(session_id, chat)
        is_new = not chat.is_partial and bool(chat.tree.root_ids)
        path = chat.tree.get_path_to(chat.tree.root_ids[0], limit=1).messages if is_new else ()
        content = path[0].get("content") if path else ""
        title = title_of(content if isinstance(content, str) else "")
        await self._catalogue.record(session_id, title, pending_stream(chat))

    async def delete(self, session_id: str) -> None:
        """Delete a conversation and its line in the list."""
        await self._store.delete(session_id)
        await self._catalogue.remove(session_id)


def title_of(prompt: str) -> str:
    """Return a title made of a prompt's first words, without markup and without a command before them."""
    text = _COMMAND.sub("", prompt, count=1) or prompt
    whole = text.encode("utf-8", "replace").decode()  # SQLite refuses a lone surrogate
    words = _MARKUP.sub(" ", whole).split()
    title = ""
    for word in words:
        if title and len(title) + len(word) + 1 > MAX_TITLE_CHARS:
            return title + " …"
        title = f"{title} {word}" if title else word
    return (title if len(title) <= MAX_TITLE_CHARS else title[: MAX_TITLE_CHARS - 1] + "…") or "New conversation"
