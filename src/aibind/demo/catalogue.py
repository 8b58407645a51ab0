"""The demo's list of conversations: a small table of its own beside the stores' tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from .._time import now_ms
from ..conversations.store import ConversationStore
from ..history import ChatHistory
from ..sqlite.client import SqliteClient

__all__ = ["Catalogue", "Entry", "ListedConversations", "pending_stream", "title_of"]

TITLE_CHARS = 60
_COMMAND = re.compile(r"\A/(\w+)(?:\s+\d+)?\s*")
_MARKUP = re.compile(r"[`*_#>\[\]|~\\]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """Is a line of the list. ``updated_at`` is in milliseconds since the epoch, and grows with every save."""

    session_id: str
    title: str
    updated_at: int


class Catalogue:
    """Keeps what the list shows, and which conversations wait for an answer."""

    def __init__(self, client: SqliteClient) -> None:
        self._client = client

    async def create_table(self) -> None:
        """Make the table, unless it is there."""
        await self._client.execute(
            "CREATE TABLE IF NOT EXISTS aibind_demo_conversations ("
            "session_id TEXT PRIMARY KEY, title TEXT NOT NULL, updated_at INTEGER NOT NULL, pending TEXT)"
        )

    async def record(self, session_id: str, title: str, pending: str | None) -> None:
        """Note that a conversation was saved. Its first title stays, until it is renamed."""
        await self._client.execute(
            "INSERT INTO aibind_demo_conversations VALUES (?1, ?2, ?3, ?4) ON CONFLICT (session_id) DO UPDATE"
            " SET updated_at = max(?3, updated_at + 1), pending = ?4",
            [session_id, title, now_ms(), pending],
        )

    async def newest(self, most: int = 200) -> list[Entry]:
        """List the conversations, the one that was saved last first."""
        result = await self._client.execute(
            "SELECT session_id, title, updated_at FROM aibind_demo_conversations"
            " ORDER BY updated_at DESC, session_id LIMIT ?",
            [most],
        )
        return [
            Entry(cast("str", row["session_id"]), cast("str", row["title"]), cast("int", row["updated_at"]))
            for row in result.rows
        ]

    async def find(self, session_id: str) -> Entry | None:
        """Find one line of the list."""
        result = await self._client.execute(
            "SELECT title, updated_at FROM aibind_demo_conversations WHERE session_id = ?", [session_id]
        )
        for row in result.rows:
            return Entry(session_id, cast("str", row["title"]), cast("int", row["updated_at"]))
        return None

    async def rename(self, session_id: str, title: str) -> bool:
        """Give a conversation another title; False when it is not in the list."""
        result = await self._client.execute(
            "UPDATE aibind_demo_conversations SET title = ? WHERE session_id = ? RETURNING 1 AS found",
            [title, session_id],
        )
        return bool(result.rows)

    async def remove(self, session_id: str) -> None:
        """Take a conversation off the list."""
        await self._client.execute("DELETE FROM aibind_demo_conversations WHERE session_id = ?", [session_id])

    async def waiting(self) -> list[str]:
        """List the conversations whose last question had no answer when they were saved."""
        result = await self._client.execute(
            "SELECT session_id FROM aibind_demo_conversations WHERE pending IS NOT NULL"
        )
        return [cast("str", row["session_id"]) for row in result.rows]

    async def prune(self, age_ms: int) -> None:
        """Take conversations off the list that were not saved for so long."""
        await self._client.execute("DELETE FROM aibind_demo_conversations WHERE updated_at < ?", [now_ms() - age_ms])


class ListedConversations:
    """Is a conversation store that keeps the list up to date, whoever saves."""

    def __init__(self, store: ConversationStore, catalogue: Catalogue) -> None:
        self._store = store
        self._catalogue = catalogue

    async def load(self, session_id: str) -> ChatHistory:
        """Load a conversation."""
        return await self._store.load(session_id)

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store a conversation, then its line in the list."""
        await self._store.save(session_id, chat)
        path = chat.tree.get_path_to(chat.tree.root_ids[0], limit=1).messages if chat.tree.root_ids else ()
        content = path[0].get("content") if path else ""
        title = title_of(content if isinstance(content, str) else "")
        await self._catalogue.record(session_id, title, pending_stream(chat))

    async def delete(self, session_id: str) -> None:
        """Forget a conversation, and its line in the list."""
        await self._store.delete(session_id)
        await self._catalogue.remove(session_id)


def pending_stream(chat: ChatHistory) -> str | None:
    """Tell which stream owes the last question its answer; None when it is there, or nobody was asked."""
    leaf = chat.tree.get(chat.tree.active_leaf_id) if chat.tree.active_leaf_id else None
    stream_id = leaf.metadata.get("streamId") if leaf and leaf.message.get("role") == "user" else None
    if leaf is None or not isinstance(stream_id, str):
        return None
    children = [chat.tree.get(child_id) for child_id in leaf.children]
    if any(child and child.metadata.get("streamId") == stream_id for child in children):
        return None
    return stream_id


def title_of(prompt: str) -> str:
    """Make a title of the first words of a prompt, without a command before them and without markup."""
    text = _COMMAND.sub("", prompt, count=1) or prompt
    whole = text.encode("utf-8", "replace").decode()  # half a character is not for SQLite
    words = _MARKUP.sub(" ", whole).split()
    title = ""
    for word in words:
        if title and len(title) + len(word) + 1 > TITLE_CHARS:
            return title + " …"
        title = f"{title} {word}" if title else word
    return (title if len(title) <= TITLE_CHARS else title[: TITLE_CHARS - 1] + "…") or "New conversation"
