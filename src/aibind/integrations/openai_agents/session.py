"""The interface of sessions of OpenAI's Agents SDK over a conversation store."""

from __future__ import annotations

from typing import Any, cast

from agents import SessionSettings, TResponseInputItem

from ...conversations import ConversationStore
from ...history import ChatHistory, Message
from .items import from_items, to_items

__all__ = ["StoredSession"]


class StoredSession:
    """A session of any :class:`~aibind.conversations.ConversationStore`, such as SqliteMessageStore, for an agent.

    It reads the conversation's current path and adds to its end, so that the Agents SDK and a StreamHandler can share a
    conversation: items of the SDK are messages of the conversation, which any model reads, and come back as they were.
    Each method also raises the errors of the store.
    """

    def __init__(
        self, store: ConversationStore, session_id: str, *, session_settings: SessionSettings | None = None
    ) -> None:
        self._store = store
        self.session_id = session_id
        self.session_settings = session_settings

    def __repr__(self) -> str:
        return f"<StoredSession session_id={self.session_id!r}>"

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the items of the current path, oldest first; with ``limit``, that many at its end.

        Without ``limit``, that of the session's settings applies.
        """
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        if limit is None:
            return _items((await self._store.load(self.session_id)).messages)
        if limit <= 0:
            return []
        chat = await self._store.load(self.session_id, limit=limit)
        items = _items(chat.messages)
        if len(items) < limit and chat.has_more_above:  # an answer that says nothing has no items
            items = _items((await self._store.load(self.session_id)).messages)
        return items[-limit:]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items to the end of the current path, all of them or none."""
        if not items:
            return
        chat = await self._store.load(self.session_id)
        given: list[Any] = list(items)
        _append(chat, given)
        await self._store.save(self.session_id, chat)

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the last item of the current path, and return it; None when there is none.

        The other items of its message stay.
        """
        chat = await self._store.load(self.session_id)
        while (leaf := chat.tree.active_leaf_id) is not None:
            node = chat.tree.get(leaf)
            assert node is not None
            items = to_items([node.message])
            if node.parent_id is not None and node.children:
                chat.tree.set_active_leaf(node.parent_id)  # other answers go on below it
            else:
                chat.tree.remove(leaf)
            if not items:
                continue
            for message in from_items(items[:-1]):
                chat.append(message)
            await self._store.save(self.session_id, chat)
            return cast("TResponseInputItem", items[-1])
        return None

    async def clear_session(self) -> None:
        """Delete the conversation."""
        await self._store.delete(self.session_id)


def _append(chat: ChatHistory, items: list[dict[str, Any]]) -> None:
    for message in from_items(items):
        chat.append(message)


def _items(messages: list[Message]) -> list[TResponseInputItem]:
    return cast("list[TResponseInputItem]", to_items(messages))
