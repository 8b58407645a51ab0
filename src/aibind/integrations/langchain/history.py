"""LangChain's interface of chat histories over a conversation store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from ...conversations import ConversationStore
from .messages import from_langchain, to_langchain

__all__ = ["StoredMessageHistory"]


class StoredMessageHistory(BaseChatMessageHistory):
    """A session of any :class:`~aibind.conversations.ConversationStore`, such as SqliteMessageStore, as a chat history.

    It reads the conversation's current path and adds to its end, so that LangChain and a StreamHandler can share a
    conversation. Only the asynchronous methods work, as ``RunnableWithMessageHistory.ainvoke`` and ``astream`` call
    them; the others raise NotImplementedError. Each method also raises the errors of the store.
    """

    def __init__(self, store: ConversationStore, session_id: str) -> None:
        self._store = store
        self._session_id = session_id

    def __repr__(self) -> str:
        return f"<StoredMessageHistory session_id={self._session_id!r}>"

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the messages of the current path, oldest first."""
        return to_langchain((await self._store.load(self._session_id)).messages)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages to the end of the current path, all of them or none."""
        said = from_langchain(messages)
        if not said:
            return
        chat = await self._store.load(self._session_id)
        for message in said:
            chat.append(message)
        await self._store.save(self._session_id, chat)

    async def aclear(self) -> None:
        """Delete the conversation."""
        await self._store.delete(self._session_id)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override] # pyright: ignore
        """Raise NotImplementedError: use :meth:`aget_messages`."""
        _refuse("aget_messages() instead of messages")

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:  # noqa: ARG002
        """Raise NotImplementedError: use :meth:`aadd_messages`."""
        _refuse("aadd_messages() instead of add_messages()")

    def clear(self) -> None:
        """Raise NotImplementedError: use :meth:`aclear`."""
        _refuse("aclear() instead of clear()")


def _refuse(instead: str) -> NoReturn:
    raise NotImplementedError(
        f"StoredMessageHistory is asynchronous: await {instead}, and run the chain with ainvoke() or astream()"
    )
