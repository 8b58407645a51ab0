"""Adapters of our stores, and of the libraries that ``turns`` compares with, to one interface.

Libraries are imported where they are used: the yardsticks run in an environment without aibind.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any, Protocol

__all__ = ["KEEPERS", "Keeper"]

Said = dict[str, str]


class Keeper(Protocol):
    """A library that keeps conversations."""

    async def fill(self, session_id: str, messages: Sequence[Said]) -> None:
        """Make a conversation."""

    async def load(self, session_id: str, limit: int, /) -> Any:
        """Load the last messages, or all where the library cannot do that."""

    async def turn(self, session_id: str, limit: int, question: Said, answer: Said, /) -> None:
        """Load, store a question, and store its answer."""

    async def read(self, session_id: str) -> list[str]:
        """Return the contents of all messages."""


class _Ours:
    """Our stores of conversations, which have one interface."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def fill(self, session_id: str, messages: Sequence[Said]) -> None:
        from aibind.history import ChatHistory

        chat = ChatHistory()
        for said in messages:
            chat.append(said)
        await self._store.save(session_id, chat)

    async def load(self, session_id: str, limit: int) -> Any:
        return await self._store.load(session_id, limit=limit)

    async def turn(self, session_id: str, limit: int, question: Said, answer: Said) -> None:
        chat = await self.load(session_id, limit)
        for said in (question, answer):
            chat.append(said)
            await self._store.save(session_id, chat)

    async def read(self, session_id: str) -> list[str]:
        chat = await self._store.load(session_id)
        return [message["content"] for message in chat.messages]


@asynccontextmanager
async def _ours(path: Path, synchronous: Any) -> AsyncIterator[Keeper]:
    from aibind.sqlite import SqliteMessageStore, migrate, wrap_sqlite3

    async with wrap_sqlite3(path, synchronous=synchronous) as client:
        await migrate(client)
        yield _Ours(SqliteMessageStore(client))


@asynccontextmanager
async def _json_table(path: Path, synchronous: Any) -> AsyncIterator[Keeper]:
    from aibind.sqlite import SqliteConversationStore, migrate, wrap_sqlite3

    async with wrap_sqlite3(path, synchronous=synchronous) as client:
        await migrate(client)
        yield _Ours(SqliteConversationStore(client))


class _Agents:
    """One SQLiteSession that is used for every session, so that its connection stays open and warm.

    An object for each session or request would open a connection, and create the tables, each time.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    async def fill(self, session_id: str, messages: Sequence[Said]) -> None:
        self._session.session_id = session_id
        await self._session.add_items(list(messages))

    async def load(self, session_id: str, limit: int) -> Any:
        self._session.session_id = session_id
        return await self._session.get_items(limit=limit)

    async def turn(self, session_id: str, limit: int, question: Said, answer: Said) -> None:
        await self.load(session_id, limit)
        await self._session.add_items([question])
        await self._session.add_items([answer])

    async def read(self, session_id: str) -> list[str]:
        self._session.session_id = session_id
        return [item["content"] for item in await self._session.get_items()]


class _AgentsAsUsed:
    """A SQLiteSession for each request, as its documentation shows it, of which a run loads all messages."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def load(self, session_id: str, limit: int) -> Any:
        del limit
        with self._open(session_id) as session:
            return await session.get_items()

    async def turn(self, session_id: str, limit: int, question: Said, answer: Said) -> None:
        del limit
        with self._open(session_id) as session:
            await session.get_items()
            await session.add_items([question])
            await session.add_items([answer])

    async def fill(self, session_id: str, messages: Sequence[Said]) -> None:
        with self._open(session_id) as session:
            await session.add_items(list(messages))

    async def read(self, session_id: str) -> list[str]:
        return [item["content"] for item in await self.load(session_id, 0)]

    def _open(self, session_id: str) -> Any:
        from agents import SQLiteSession

        return closing(SQLiteSession(session_id, self._path))


@asynccontextmanager
async def _sqlite_session_as_used(path: Path, synchronous: str | None) -> AsyncIterator[Keeper]:
    del synchronous
    yield _AgentsAsUsed(path)


@asynccontextmanager
async def _sqlite_session(path: Path, synchronous: str | None) -> AsyncIterator[Keeper]:
    from agents import SQLiteSession

    class Session(SQLiteSession):
        """As it is, but for how it flushes."""

        @staticmethod
        def _configure_connection(connection: Any) -> None:
            SQLiteSession._configure_connection(connection)
            if synchronous is not None:
                connection.execute(f"PRAGMA synchronous = {synchronous}")

    session = Session("", path)
    try:
        yield _Agents(session)
    finally:
        session.close()


class _Graph:
    """A graph of one node, which answers; the checkpointer keeps the messages of each thread."""

    def __init__(self, saver: Any) -> None:
        from langgraph.graph import END, START, MessagesState, StateGraph

        self._answer: Said = {}
        self._saver = saver
        builder = StateGraph(MessagesState)
        builder.add_node("answer", lambda _: {"messages": [self._answer]})
        builder.add_edge(START, "answer")
        builder.add_edge("answer", END)
        self._graph: Any = builder.compile(checkpointer=saver)

    async def fill(self, session_id: str, messages: Sequence[Said]) -> None:
        *before, self._answer = messages
        await self._graph.ainvoke({"messages": before}, _thread(session_id))

    async def load(self, session_id: str, _limit: int) -> Any:
        return await self._saver.aget_tuple(_thread(session_id))

    async def turn(self, session_id: str, _limit: int, question: Said, answer: Said) -> None:
        self._answer = answer
        await self._graph.ainvoke({"messages": [question]}, _thread(session_id))

    async def read(self, session_id: str) -> list[str]:
        state = await self._graph.aget_state(_thread(session_id))
        return [message.content for message in state.values["messages"]]


def _thread(session_id: str) -> Any:
    return {"configurable": {"thread_id": session_id}}


@asynccontextmanager
async def _langgraph(path: Path, synchronous: str | None) -> AsyncIterator[Keeper]:
    import aiosqlite
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with aiosqlite.connect(path) as connection:
        if synchronous is not None:
            await connection.execute(f"PRAGMA synchronous = {synchronous}")
        yield _Graph(AsyncSqliteSaver(connection))


KEEPERS: dict[str, Callable[[Path, str | None], AbstractAsyncContextManager[Keeper]]] = {
    "ours": _ours,
    "json_table": _json_table,
    "sqlite_session": _sqlite_session,
    "sqlite_session_as_used": _sqlite_session_as_used,
    "langgraph": _langgraph,
}
