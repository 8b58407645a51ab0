"""Conversations as the page shows them; the StreamHandler runs their turns."""

from __future__ import annotations

import logging
from typing import Any

from ..errors import AibindError, NodeNotFoundError, RequestError
from ..history import ChatHistory
from ..server import Recovery, StreamHandler
from ..server.exchanges import last_question, pending_stream
from ..streams.store import StreamStore
from .catalogue import Catalogue, ListedConversations
from .replies import ReplyDetails

__all__ = ["Chats"]

MAX_MESSAGES = 200
"""The limit of the messages of a long conversation that the page gets at first."""

MAX_TITLE_CHARS = 120

logger = logging.getLogger("aibind")


class Chats:
    """The conversations of the page: listed, opened, renamed, deleted, and walked through by their branches."""

    def __init__(
        self, handler: StreamHandler, streams: StreamStore, conversations: ListedConversations, catalogue: Catalogue
    ) -> None:
        self._handler = handler
        self._conversations = conversations
        self._catalogue = catalogue
        self._replies = ReplyDetails(streams)

    async def list(self) -> list[dict[str, Any]]:
        """Return the conversations, newest first."""
        return [
            {
                "id": entry.session_id,
                "title": entry.title,
                "updatedAt": entry.updated_at,
                "live": self._handler.live_stream(entry.session_id),
            }
            for entry in await self._catalogue.newest()
        ]

    async def open(self, session_id: str, limit: int = MAX_MESSAGES) -> dict[str, Any]:
        """Return a conversation as the page shows it: its current path, at most the last ``limit`` messages of it.

        ``live`` is the stream that is producing the next message. ``unanswered`` is why the last question has no
        answer, when it has none and none is coming.
        """
        entry = await self._catalogue.find(session_id)
        if entry is None:
            raise RequestError("This conversation does not exist any more", 404)
        found = await self._handler.recover(session_id)
        chat = found.chat
        if chat.is_empty:
            raise RequestError("This conversation does not exist any more", 404)
        if not found.live_stream and not found.unanswered and last_question(chat) is not None:
            chat = await self._select_last_answer(session_id)
        path = chat.tree.get_active_path(limit=limit)
        messages = [await self._view(chat, node_id) for node_id in path.node_ids]
        leaf_id = chat.tree.active_leaf_id
        return {
            "id": session_id,
            "title": entry.title,
            "updatedAt": entry.updated_at,
            "live": found.live_stream,
            "unanswered": _in_words(found),
            "earlier": chat.tree.depth(leaf_id) + 1 - len(messages) if leaf_id else 0,
            "messages": messages,
        }

    async def select(self, session_id: str, node_id: str, step: int) -> None:
        """Select the next (1) or the previous (-1) version of a message."""
        async with self._handler.changing(session_id):
            chat = await self._conversations.load(session_id)
            if self._handler.live_stream(session_id):
                raise RequestError("Wait until the reply is there, or stop it, before you go to another version", 409)
            try:
                found = chat.next_alternative(node_id) if step > 0 else chat.prev_alternative(node_id)
            except NodeNotFoundError as error:
                raise RequestError("This conversation has no such message", 404) from error
            if found is not None:
                await self._conversations.save(session_id, chat)

    async def rename(self, session_id: str, title: str) -> None:
        """Change a conversation's title."""
        title = " ".join(title.encode("utf-8", "replace").decode().split())
        if not 1 <= len(title) <= MAX_TITLE_CHARS:
            raise RequestError(f"A title has 1 to {MAX_TITLE_CHARS} characters")
        if not await self._catalogue.rename(session_id, title):
            raise RequestError("This conversation does not exist any more", 404)

    async def delete(self, session_id: str) -> None:
        """Stop what is being produced for a conversation, then delete it."""
        stopped: set[str] = set()
        while (stream_id := self._handler.live_stream(session_id)) and stream_id not in stopped:
            stopped.add(stream_id)
            await self._handler.stop({"id": stream_id})
        elsewhere = pending_stream(await self._conversations.load(session_id))
        if elsewhere:
            await self._handler.stop({"id": elsewhere})
        async with self._handler.changing(session_id):
            await self._conversations.delete(session_id)

    async def recover(self) -> None:
        """Recover the answers of killed servers, as far as their streams hold them."""
        for session_id in await self._catalogue.waiting():
            try:
                await self._handler.recover(session_id)
            except AibindError:
                logger.exception("The answer in conversation %s could not be recovered", session_id)

    async def _select_last_answer(self, session_id: str) -> ChatHistory:
        """Select the newest answer to the question that the conversation was left at, and return the conversation."""
        async with self._handler.changing(session_id):
            chat = await self._conversations.load(session_id)
            question = last_question(chat)
            if question is not None and question.children:
                chat.tree.set_active_leaf(_last_leaf(chat, question.id))
                await self._conversations.save(session_id, chat)
            return chat

    async def _view(self, chat: ChatHistory, node_id: str) -> dict[str, Any]:
        node = chat.tree.get(node_id)
        assert node is not None
        role = node.message.get("role")
        content = node.message.get("content")
        text = content if isinstance(content, str) else ""
        view: dict[str, Any] = {
            "id": node_id,
            "role": role,
            "content": text,
            "metadata": node.metadata,
            "createdAt": node.created_at,
            "alternatives": {"index": chat.alternative_index(node_id), "count": chat.alternative_count(node_id)},
        }
        if role != "user":
            stream_id = node.metadata.get("streamId")
            if isinstance(stream_id, str):
                view["details"] = await self._replies.read(stream_id)
        return view


def _last_leaf(chat: ChatHistory, node_id: str) -> str:
    while (node := chat.tree.get(node_id)) is not None and node.children:
        node_id = node.children[-1]
    return node_id


def _in_words(found: Recovery) -> str | None:
    match found.unanswered:
        case "no stream":
            return "Nothing was asked"
        case "expired":
            return "The answer was not kept"
        case "failed":
            return found.error or "The answer failed"
        case reason:
            return reason
