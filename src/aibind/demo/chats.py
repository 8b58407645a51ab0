"""What the page can do with conversations, apart from the turns, which the StreamHandler does."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ..errors import AibindError, NodeNotFoundError, RequestError
from ..history import ChatHistory
from ..server import StreamHandler
from ..server.turns import add_answer
from ..streams import DurableStream
from ..streams.store import StreamStore
from .catalogue import Catalogue, ListedConversations, pending_stream
from .replies import StoredReplies

__all__ = ["Chats"]

MOST_MESSAGES = 200
"""How many messages of a long conversation the page gets at first."""

TITLE_CHARS = 120

OTHERS_SAVE_S = 0.25
"""How long another process may take to save an answer whose stream has ended."""

logger = logging.getLogger("aibind")


class Chats:
    """Lists, opens, renames and deletes conversations, and walks through their branches."""

    def __init__(
        self, handler: StreamHandler, streams: StreamStore, conversations: ListedConversations, catalogue: Catalogue
    ) -> None:
        self._handler = handler
        self._streams = streams
        self._conversations = conversations
        self._catalogue = catalogue
        self._replies = StoredReplies(streams)

    async def list(self) -> list[dict[str, Any]]:
        """List the conversations, newest first."""
        return [
            {
                "id": entry.session_id,
                "title": entry.title,
                "updatedAt": entry.updated_at,
                "live": self._handler.live_stream(entry.session_id),
            }
            for entry in await self._catalogue.newest()
        ]

    async def open(self, session_id: str, limit: int = MOST_MESSAGES) -> dict[str, Any]:
        """Return a conversation as the page shows it: its current path, at most the last ``limit`` messages of it.

        ``live`` is the stream that is producing the next message. ``unanswered`` tells why the last question has no
        answer, when it has none and none is coming.
        """
        entry = await self._catalogue.find(session_id)
        async with self._handler.changing(session_id):
            chat = await self._conversations.load(session_id)
            if entry is None or chat.is_empty:
                raise RequestError("This conversation does not exist any more", 404)
            live, unanswered = await self._settle(session_id, chat)
        path = chat.tree.get_active_path(limit=limit)
        messages = [await self._view(chat, node_id) for node_id in path.node_ids]
        leaf_id = chat.tree.active_leaf_id
        return {
            "id": session_id,
            "title": entry.title,
            "updatedAt": entry.updated_at,
            "live": live,
            "unanswered": unanswered,
            "earlier": chat.tree.depth(leaf_id) + 1 - len(messages) if leaf_id else 0,
            "messages": messages,
        }

    async def select(self, session_id: str, node_id: str, step: int) -> None:
        """Go to the next (1) or the previous (-1) version of a message."""
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
        """Give a conversation another title."""
        title = " ".join(title.encode("utf-8", "replace").decode().split())
        if not 1 <= len(title) <= TITLE_CHARS:
            raise RequestError(f"A title has 1 to {TITLE_CHARS} characters")
        if not await self._catalogue.rename(session_id, title):
            raise RequestError("This conversation does not exist any more", 404)

    async def delete(self, session_id: str) -> None:
        """Stop what is being produced for a conversation, then forget it."""
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
        """Put the answers of killed servers into their conversations, as far as they had been stored."""
        for session_id in await self._catalogue.waiting():
            try:
                async with self._handler.changing(session_id):
                    await self._settle(session_id, await self._conversations.load(session_id))
            except AibindError:
                logger.exception("Conversation %s could not be looked after", session_id)

    # --- the parts ---

    async def _settle(self, session_id: str, chat: ChatHistory) -> tuple[str | None, str | None]:
        """Find out what became of the last question: the live stream's id, and else why there is no answer.

        An answer that was stored in its stream, but not in the conversation, since the server was killed, is put in
        its place.
        """
        live = self._handler.live_stream(session_id)
        leaf = chat.tree.get(chat.tree.active_leaf_id) if chat.tree.active_leaf_id else None
        if live or leaf is None or leaf.message.get("role") != "user":
            return live, None
        stream_id = pending_stream(chat)
        if stream_id is None:
            if not leaf.children:
                return None, "Nothing was asked"
            # Another answer was asked for, and never came: the last one that did is what there is to show.
            chat.tree.set_active_leaf(_last_leaf(chat, leaf.id))
            await self._conversations.save(session_id, chat)
            return None, None
        if DurableStream.find(self._streams, stream_id) is not None:
            return stream_id, None  # its end is being stored
        reply = await self._replies.read(stream_id)
        if reply is None:
            return None, "The answer was not kept"
        if reply.end is None:
            return stream_id, None  # it comes from another process, or that has just died
        if reply.end.error == "producer lost":
            await self._streams.fail(stream_id, "producer lost")  # so that it is kept as long as the others
        elif await self._is_answered(session_id, chat):
            return None, None
        if not reply.text:
            return None, reply.end.error or ("stopped" if reply.end.state == "stopped" else "The answer was empty")
        add_answer(chat, leaf.id, reply.text, reply.end, stream_id)
        await self._conversations.save(session_id, chat)
        return None, None

    async def _is_answered(self, session_id: str, chat: ChatHistory) -> bool:
        """Look again, as a server that lives stores the end of its stream and the answer side by side."""
        await asyncio.sleep(OTHERS_SAVE_S)
        stored = await self._conversations.load(session_id)
        leaf_id = stored.tree.active_leaf_id
        if leaf_id is None or leaf_id == chat.tree.active_leaf_id:
            return False
        chat.merge(stored)
        chat.tree.set_active_leaf(leaf_id)
        return True

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
                view["details"] = await self._replies.details(stream_id)
        return view


def _last_leaf(chat: ChatHistory, node_id: str) -> str:
    while (node := chat.tree.get(node_id)) is not None and node.children:
        node_id = node.children[-1]
    return node_id
