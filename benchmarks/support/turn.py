"""One turn of a stored conversation: what the benchmark runs on a file and in workerd, and the test of counts runs too.

Imports nothing but aibind and the standard library, so that it runs inside a Worker as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from aibind.history import ChatHistory
from aibind.sqlite.client import SqliteClient, SqliteResult, SqliteValue, Statement
from aibind.sqlite.message_store import SqliteMessageStore
from aibind.sqlite.schema import migrate

from .chat import message
from .sizes import bytes_of

__all__ = ["ANSWER", "QUESTION", "SizingClient", "store_conversation", "store_turn"]

QUESTION, ANSWER = message(0), message(1)
AFTER_ALL = "~"
"""A session whose id comes after those of the other sessions."""


async def store_conversation(client: SqliteClient, session_id: str, messages: int) -> None:
    """Make the tables, a conversation of so many messages, and one that comes after it in the order of the tables.

    A look-up reads the row after the one it finds, to see that there are no more. Without another conversation there is
    none after the last message, whose id is random, so that the rows read would differ by one from run to run.
    """
    await migrate(client)
    store = SqliteMessageStore(client)
    await store.save(session_id, _make_chat(messages))
    await store.save(AFTER_ALL, _make_chat(1))


async def store_turn(client: SqliteClient, session_id: str, messages: int, seen: int) -> int:
    """Load what the model is given, store a question and its answer, and return the bytes that were sent."""
    sizing = SizingClient(client)
    store = SqliteMessageStore(sizing)
    chat = await store.load(session_id, limit=seen)
    loaded = [told["content"] for told in chat.messages]
    assert loaded == [message(number)["content"] for number in range(max(0, messages - seen), messages)]
    for said in (QUESTION, ANSWER):
        chat.append(said)
        await store.save(session_id, chat)
    return sizing.bytes_sent


class SizingClient:
    """Pass everything on, and sum up the bytes of statements, with their arguments."""

    def __init__(self, client: SqliteClient) -> None:
        self._client = client
        self.bytes_sent = 0

    @property
    def shares_wakeups(self) -> bool:
        """Whether tasks that use the client may wake each other."""
        return self._client.shares_wakeups

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        """Run one statement."""
        self.bytes_sent += bytes_of((sql, *args))
        return await self._client.execute(sql, args)

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        """Run several."""
        self.bytes_sent += sum(bytes_of((statement.sql, *statement.args)) for statement in statements)
        return await self._client.batch(statements)


def _make_chat(count: int) -> ChatHistory:
    chat = ChatHistory()
    for number in range(count):
        chat.append(message(number))
    return chat
