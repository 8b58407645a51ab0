"""Turns of one conversation that run at the same time, what became of them, and a store that loses some."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable

from aibind.conversations import ConversationStore
from aibind.errors import AibindError
from aibind.history import ChatHistory
from aibind.sqlite.client import SqliteClient

__all__ = ["BlindConversationStore", "lost_turns", "try_turn"]


class BlindConversationStore:
    """The JSON table as a JavaScript service writes it: a save replaces the row, whatever it holds by then."""

    def __init__(self, client: SqliteClient) -> None:
        self._client = client

    async def load(self, session_id: str, *, limit: int | None = None, leaf_id: str | None = None) -> ChatHistory:
        del limit, leaf_id
        sql = "SELECT data FROM aibind_conversations WHERE session_id = ?"
        rows = (await self._client.execute(sql, (session_id,))).rows
        return ChatHistory.from_json(str(rows[0]["data"])) if rows else ChatHistory()

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        await self._client.execute(
            "INSERT OR REPLACE INTO aibind_conversations (session_id, data, expires_at) VALUES (?, ?, ?)",
            (session_id, chat.to_json(), int(time.time() * 1000) + 1_800_000),
        )

    async def delete(self, session_id: str) -> None:
        await self._client.execute("DELETE FROM aibind_conversations WHERE session_id = ?", (session_id,))


async def try_turn(store: ConversationStore, session_id: str, name: str) -> str | None:
    """Take a turn, and return the error that it ended with; None when it was saved."""
    try:
        await _take_turn(store, session_id, name)
    except AibindError as error:
        return f"{type(error).__name__}: {error}"
    return None


async def _take_turn(store: ConversationStore, session_id: str, name: str) -> None:
    """Load a conversation, save it with a question, then save it with the answer, as a server does."""
    chat = await store.load(session_id)
    chat.append({"role": "user", "content": f"question {name}"})
    await store.save(session_id, chat)
    await asyncio.sleep(0)
    chat.append({"role": "assistant", "content": f"answer {name}"})
    await store.save(session_id, chat)


def lost_turns(chat: ChatHistory, names: Iterable[str]) -> list[str]:
    """Return the turns of which the conversation lacks the question, or the answer below it."""
    nodes = json.loads(chat.to_json())["nodes"].values()
    questions = {node["id"]: node["message"]["content"] for node in nodes}
    kept = {(questions.get(node["parentId"]), node["message"]["content"]) for node in nodes}
    return [name for name in names if (f"question {name}", f"answer {name}") not in kept]
