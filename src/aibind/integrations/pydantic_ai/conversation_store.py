"""pydantic-ai's conversation store over the tables of the message store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote, unquote

from pydantic import TypeAdapter
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
)

from ..._json import load_json
from ..._retry import retry
from ..._time import earliest_ms
from ...errors import SqliteSchemaError
from ...history.entry import new_entry
from ...history.json import encode_object
from ...sqlite import SqliteClient, SqliteResult, SqliteRow, Statement, TableNames
from ...sqlite.message_rows import id_of, key_of, texts_of
from ...sqlite.message_sql import MAX_PART_CHARS, MessageRow
from .conversation_sql import ENTRY_PREFIX, ConversationSql, RecordChange
from .messages import from_pydantic_ai, to_entries

__all__ = ["PydanticAIConversationStore"]

RECORDS_TABLE = "aibind_pydantic_ai"

_PAGE = 500
"""Messages that one statement reads, since databases limit the size of an answer."""

_RECORDS = 200
"""Records that one statement reads."""

_OTHERS = "aibind:"
"""The beginning of the ids of entries that were not saved as such."""

_TABLES = TableNames()

_ADAPTER: TypeAdapter[ConversationRecord] = TypeAdapter(ConversationRecord)


class PydanticAIConversationStore(ConversationStore):
    """pydantic-ai's conversation store in the tables of a :class:`~aibind.sqlite.SqliteMessageStore`.

    A conversation is a session of the message store: its id is the session's, which is ``ada/s1`` for the session
    ``s1`` of the owner ``ada``, and its scope the owner. What pydantic-ai saves, a
    :class:`~aibind.server.StreamHandler` over the same tables lists, shows and goes on from; what a handler has added
    is loaded here, and gives the conversation another revision.

    Saving is one transaction, which stores nothing on a conflict, and a transient error is retried for ``patience_s``
    seconds: a repeated save changes nothing. A fork copies the messages that it goes on from, in the database, with
    their ids. Deleting a conversation deletes its messages, and leaves those of its forks.

    :meth:`setup` makes one more table and an index; the others are made by :func:`aibind.sqlite.migrate`. Every method
    also raises the ``Sqlite…`` errors of the client. Raises ValueError for an invalid table name.
    """

    def __init__(
        self,
        client: SqliteClient,
        *,
        tables: TableNames = _TABLES,
        records_table: str = RECORDS_TABLE,
        patience_s: float = 5.0,
    ) -> None:
        self._client = client
        self._names = tables.sessions_table, tables.messages_table, records_table
        self._sql = ConversationSql(tables, records_table)
        self._patience_s = patience_s

    def __repr__(self) -> str:
        return f"<PydanticAIConversationStore {self._client!r}>"

    async def setup(self) -> None:
        """Create the table and the index of this store, unless they are there, after those of the message store.

        Any number of processes may call this at once.
        """
        await self._batch(self._sql.create())

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """Return the record of a conversation; None when it is unknown or has expired."""
        rows = (await self._batch([self._sql.read(conversation_id, earliest_ms())]))[0].rows
        return _record(rows[0]) if rows else None

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """Return the records of a ``scope`` (None: all), most recently saved first, 200 in each round trip."""
        records: list[ConversationRecord] = []
        before: tuple[int, str] | None = None
        while limit is None or len(records) < limit:
            size = _RECORDS if limit is None else min(limit - len(records), _RECORDS)
            rows = (await self._batch([self._sql.page(earliest_ms(), scope, before, size)]))[0].rows
            records += map(_record, rows)
            if len(rows) < size:
                break
            before = cast("int", rows[-1]["updated_at"]), cast("str", rows[-1]["session_id"])
        return records

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Store a record and new entries, in one transaction. Raises ConversationConflict, and stores nothing then."""
        texts = [text for entry in new_entries for text in _texts(entry)]
        rows = [
            MessageRow(key_of(node_id), part, seq, seq, None if parent is None else key_of(parent), None, data)
            for seq, (node_id, parent, text) in enumerate(texts)
            for part, data in enumerate(_split(text))
        ]
        base_id = new_entries[0].parent_id if new_entries else record.head_id
        session_id, base = _place(base_id) if base_id is not None else (None, None)
        change = RecordChange(
            conversation_id=record.conversation_id,
            expected_revision=expected_revision,
            revision=record.revision,
            scope=record.scope,
            data=_ADAPTER.dump_json(record).decode(),
            head=None if record.head_id is None else key_of(_place(record.head_id)[1]),
            base=None if base is None else key_of(base),
            base_session=session_id,
            now=earliest_ms(),
            updated_at=int(record.updated_at.timestamp() * 1000),
        )
        results = await self._batch(self._sql.write(change, rows, len(texts)))
        if not results[-1].rows:
            raise ConversationConflict(record.conversation_id)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Delete a conversation with its messages. Raises ConversationConflict, and deletes nothing then."""
        results = await self._batch(self._sql.delete(conversation_id, expected_revision, earliest_ms()))
        if not results[0].rows:
            raise ConversationConflict(conversation_id)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """Return an entry. Raises LookupError when there is none with this id."""
        return (await self.read_history(entry_id, limit=1))[0]

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """Return the entries up to one, oldest first, 500 messages in each round trip; the last ``limit`` of them.

        Raises LookupError when there is no entry with the id ``head_id``.
        """
        if head_id is None or limit == 0:
            return []
        session_id, node_id = _place(head_id)
        key: str | None = key_of(node_id)
        rows: list[SqliteRow] = []
        while key is not None:
            size = _PAGE if limit is None else min(_PAGE, 4 * limit + 4)  # an entry is mostly one message
            found = (await self._batch([self._sql.path(key, session_id, size)]))[0].rows
            rows += found
            if not found:
                raise LookupError(f"Entry {head_id!r} is not in the store")
            session_id = cast("str", found[-1]["session_id"])
            key = cast("str | None", found[-1]["parent_id"])
            if limit is not None and key is not None:
                entries = list(_entries(rows, session_id))
                if len(entries) > limit:
                    return entries[-limit:]
        entries = list(_entries(rows, cast("str", session_id)))
        return entries if limit is None else entries[-limit:]

    async def _batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        try:
            return await retry(lambda: self._client.batch(statements), patience_s=self._patience_s)
        except SqliteSchemaError as error:
            text = f"The tables {', '.join(self._names)} are missing or not those of this store: await migrate() of"
            raise SqliteSchemaError(f"{text} aibind.sqlite once, and then setup() of the store", error.sql) from error


def _record(row: SqliteRow) -> ConversationRecord:
    session_id, leaf, data = cast("str", row["session_id"]), cast("str | None", row["active_leaf_id"]), row["data"]
    changes: dict[str, Any] = {
        "head_id": None if leaf is None else _entry_id(session_id, id_of(leaf)),
        "scope": row["owner"],
        "revision": row["revision"],
    }
    if data is None:
        return ConversationRecord(conversation_id=session_id, updated_at=_time(row), **changes)
    record = _ADAPTER.validate_json(cast("str", data))
    if not row["is_current"]:  # what has changed the conversation has answered, or left, what it waited for
        changes |= {"deferred_tool_requests": None, "updated_at": _time(row)}
    return dataclasses.replace(record, **changes)


def _time(row: SqliteRow) -> datetime:
    return datetime.fromtimestamp(cast("int", row["updated_at"]) / 1000, UTC)


def _texts(entry: ConversationEntry) -> Iterator[tuple[str, str | None, str]]:
    """Yield the messages of an entry: their ids, the ids of those above them, and their JSON."""
    node_id = ENTRY_PREFIX + entry.id
    parent = None if entry.parent_id is None else _place(entry.parent_id)[1]
    *others, last = from_pydantic_ai([entry.message])
    for number, message in enumerate([*others, last]):
        place = node_id if message is last else f"{number}:{node_id}"
        yield place, parent, new_entry(place, parent, encode_object(message, "message"), "{}").text
        parent = place


def _split(text: str) -> list[str]:
    return [text[start : start + MAX_PART_CHARS] for start in range(0, len(text), MAX_PART_CHARS)]


def _entries(rows: Sequence[SqliteRow], session_id: str) -> Iterator[ConversationEntry]:
    """Yield the entries of a path, oldest first; ``rows`` have it from its end."""
    nodes = [(row, _node(text)) for row, text in texts_of(rows)]
    nodes.reverse()
    times = [datetime.fromisoformat(node["createdAt"]) for _, node in nodes]
    above = nodes[0][0]["parent_id"] if nodes else None
    parent = None if above is None else _entry_id(session_id, id_of(cast("str", above)))
    for place, message in to_entries([node["message"] for _, node in nodes], times):
        entry_id = _entry_id(session_id, cast("str", nodes[place][1]["id"]))
        yield ConversationEntry(id=entry_id, parent_id=parent, message=message)
        parent = entry_id


def _node(text: str) -> Any:
    """Return a node from its JSON, which is a member of an object without its braces."""
    ((_, node),) = load_json(f"{{{text}}}").items()
    return node


def _entry_id(session_id: str, node_id: str) -> str:
    if node_id.startswith(ENTRY_PREFIX):
        return node_id.removeprefix(ENTRY_PREFIX)
    return f"{_OTHERS}{quote(session_id, safe='')}:{node_id}"


def _place(entry_id: str) -> tuple[str | None, str]:
    """Return the session of an entry, unless it may be in any, and its message."""
    if not entry_id.startswith(_OTHERS):
        return None, ENTRY_PREFIX + entry_id
    session_id, _, node_id = entry_id.removeprefix(_OTHERS).partition(":")
    return unquote(session_id), node_id
