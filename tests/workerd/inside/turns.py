"""Turns of one conversation inside the Worker, on D1 and in KV."""

from __future__ import annotations

from typing import Any

from aibind.cloudflare import KVConversationStore, wrap_d1
from aibind.conversations import ConversationStore
from aibind.history import ChatHistory
from aibind.sqlite import SqliteConversationStore, SqliteMessageStore
from tests.support.turns import BlindConversationStore, lost_turns, try_turn


class BlindKV:
    """A KV namespace as the store wrote it before it merged: a save replaces the value, whatever it is by then."""

    def __init__(self, kv: Any) -> None:
        self._kv = kv

    async def load(self, session_id: str, *, limit: int | None = None, leaf_id: str | None = None) -> ChatHistory:
        del limit, leaf_id
        text = await self._kv.get(f"blind:{session_id}")
        return ChatHistory.from_json(text) if isinstance(text, str) else ChatHistory()

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        await self._kv.put(f"blind:{session_id}", chat.to_json())

    async def delete(self, session_id: str) -> None:
        await self._kv.delete(f"blind:{session_id}")


def _store(env: Any, name: str) -> ConversationStore:
    match name:
        case "messages on D1":
            return SqliteMessageStore(wrap_d1(env.NATIVE_DB))
        case "conversations on D1":
            return SqliteConversationStore(wrap_d1(env.NATIVE_DB))
        case "blind on D1":
            return BlindConversationStore(wrap_d1(env.NATIVE_DB))
        case "KV":
            return KVConversationStore(env.KV)
        case "KV, verify_s=1":
            return KVConversationStore(env.KV, verify_s=1)
        case "KV, verify_s=None":
            return KVConversationStore(env.KV, verify_s=None)
        case _:
            return BlindKV(env.KV)


async def serve(env: Any, path: str, body: dict[str, Any]) -> Any:
    """Take a turn and return its error, or return the turns that are lost."""
    store = _store(env, body["store"])
    if path == "/turns/lost":
        return lost_turns(await store.load(body["session"]), body["names"])
    return await try_turn(store, body["session"], body["name"])
