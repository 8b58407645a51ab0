"""The SQL statements of the conversation store, with their arguments; they need no pydantic-ai.

Messages are those of the message store, in its tables. One more table has what pydantic-ai keeps for a conversation,
and an index finds the messages that were saved as entries, whose ids come without that of their session.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ...sqlite import SqliteValue, Statement, TableNames
from ...sqlite.file_sql import FileSql
from ...sqlite.message_sql import MAX_PART_CHARS, MessageRow, MessageSql
from ...sqlite.schema import quote_identifier

__all__ = ["ENTRY_PREFIX", "ConversationSql", "RecordChange"]

ENTRY_PREFIX = "pydantic-ai:"
"""The beginning of the ids of messages that end an entry."""

_DOOMED = 0
"""The time at which a session has expired that is deleted in the same transaction."""

_IS_ENTRY = f"id GLOB '{ENTRY_PREFIX}*'"


@dataclass(frozen=True, slots=True)
class RecordChange:
    """A record to be stored. ``head`` is the key of the message at its end, and ``base`` of that above the new ones.

    ``base_session`` is the session of ``base`` where its key does not tell.
    """

    conversation_id: str
    expected_revision: str | None
    revision: str
    scope: str | None
    data: str
    head: str | None
    base: str | None
    base_session: str | None
    now: int
    updated_at: int


class ConversationSql:
    """The statements for the tables of messages, and one more. Raises ValueError for an invalid table name."""

    def __init__(self, tables: TableNames, records_table: str) -> None:
        names = tables.sessions_table, tables.messages_table
        files = FileSql(tables.files_table, tables.message_files_table, *names)
        sessions, messages = map(quote_identifier, names)
        records, index = quote_identifier(records_table), quote_identifier(f"{tables.messages_table}_by_entry")
        create = (
            f"CREATE TABLE IF NOT EXISTS {records} (conversation_id TEXT PRIMARY KEY, revision TEXT NOT NULL,"
            " session_revision INTEGER, created_at INTEGER, data TEXT NOT NULL) WITHOUT ROWID"
        )
        self._create = (
            create,
            f"CREATE INDEX IF NOT EXISTS {index} ON {messages} (id) WHERE part = 0 AND {_IS_ENTRY}",
        )
        # A session that something else has changed, or begun again, since the record was stored has another revision.
        is_current = "r.session_revision = s.revision AND r.created_at = s.created_at"
        joined = f"{sessions} s LEFT JOIN {records} r ON r.conversation_id = s.session_id"
        live = "(s.expires_at IS NULL OR s.expires_at > {now})"
        revision = f"CASE WHEN {is_current} THEN r.revision ELSE printf('%x-%d', s.created_at, s.revision) END"
        selected = (
            f"SELECT s.session_id, s.owner, s.active_leaf_id, s.updated_at, {revision} AS revision,"
            f" coalesce({is_current}, 0) AS is_current,"
            f" CASE WHEN r.created_at = s.created_at THEN r.data END AS data FROM {joined}"
        )
        self._read = f"{selected} WHERE s.session_id = ?1 AND {live.format(now='?2')}"
        page = (
            f" WHERE {live.format(now='?1')} AND (?2 IS NULL OR (s.updated_at, s.session_id) < (?2, ?3)){{owner}}"
            " ORDER BY s.updated_at DESC, s.session_id DESC LIMIT ?4"
        )
        self._list = selected + page.format(owner="")
        self._list_of = selected + page.format(owner=" AND s.owner = ?5")

        matches = f"EXISTS (SELECT 1 FROM {joined} WHERE s.session_id = ?1 AND {{live}} AND {revision} = {{expected}})"
        absent = f"NOT EXISTS (SELECT 1 FROM {sessions} s WHERE s.session_id = ?1 AND {live.format(now='?3')})"
        # A message in this session, or an entry in any.
        found = (
            f"(?5 IS NULL OR EXISTS (SELECT 1 FROM {messages} WHERE session_id = coalesce(?6, ?1) AND id = ?5"
            f" AND part = 0) OR EXISTS (SELECT 1 FROM {messages} WHERE id = ?5 AND part = 0 AND {_IS_ENTRY}))"
        )
        self._clear = f"UPDATE {sessions} SET expires_at = {_DOOMED} WHERE session_id = ?1 AND expires_at <= ?2"
        # The column session_revision is null until the last statement, so that a repeated write changes nothing.
        self._claim = (
            f"INSERT INTO {records} (conversation_id, revision, data) SELECT ?1, ?4, ?7 WHERE {found}"
            f" AND CASE WHEN ?2 IS NULL THEN {absent}"
            f" ELSE {matches.format(live=live.format(now='?3'), expected='?2')} END"
            " ON CONFLICT (conversation_id) DO UPDATE SET revision = excluded.revision, session_revision = NULL,"
            " created_at = NULL, data = excluded.data"
        )
        going = (
            f"EXISTS (SELECT 1 FROM {records} WHERE conversation_id = ?1 AND revision = ?2"
            " AND session_revision IS NULL)"
        )
        path = (
            "WITH RECURSIVE at (session_id) AS (SELECT coalesce({session}, (SELECT session_id FROM {messages} WHERE"
            " id = {id} AND part = 0 AND {is_entry} LIMIT 1))), path (id, parent_id, above) AS ("
            "SELECT m.id, m.parent_id, 1 FROM at CROSS JOIN {messages} m ON m.session_id = at.session_id"
            " AND m.id = {id} AND m.part = 0 UNION ALL SELECT m.id, m.parent_id, path.above + 1 FROM path"
            " CROSS JOIN at CROSS JOIN {messages} m ON m.session_id = at.session_id AND m.id = path.parent_id"
            " AND m.part = 0 WHERE path.above < {limit})"
        )
        given = {"messages": messages, "is_entry": _IS_ENTRY}
        self._path = (
            f"{path.format(id='?1', session='?2', limit='?3', **given)} SELECT at.session_id, m.id, m.part,"
            f" m.parent_id, m.data FROM path CROSS JOIN at CROSS JOIN {messages} m ON m.session_id = at.session_id"
            " AND m.id = path.id ORDER BY path.above, m.part"
        )
        # What a conversation goes on from in another one is copied, so that either can be deleted.
        self._copy = (
            f"INSERT INTO {messages} (session_id, id, part, seq, place, parent_id, replaces, data)"
            f" {path.format(id='?3', session='?4', limit='1000000000', **given)}"
            " SELECT ?1, m.id, m.part, m.seq, m.place, m.parent_id, m.replaces, m.data FROM path CROSS JOIN at"
            f" CROSS JOIN {messages} m ON m.session_id = at.session_id AND m.id = path.id WHERE {going}"
            f" AND NOT EXISTS (SELECT 1 FROM {messages} WHERE session_id = ?1 AND id = ?3 AND part = 0)"
            " ON CONFLICT DO NOTHING"
        )
        self._session = (
            f"INSERT INTO {sessions} AS s (session_id, owner, active_leaf_id, next_seq, revision, created_at,"
            f" updated_at) SELECT ?1, ?3, ?4, ?5 + (SELECT coalesce(max(seq) + 1, 0) FROM {messages}"
            f" WHERE session_id = ?1), 1, ?6, ?6 WHERE {going} ON CONFLICT (session_id) DO UPDATE SET"
            " owner = excluded.owner, active_leaf_id = excluded.active_leaf_id, next_seq = s.next_seq + ?5,"
            " revision = s.revision + 1, updated_at = max(excluded.updated_at, s.updated_at + 1)"
        )
        fields = [f"json_extract(j.value, '$[{number}]')" for number in range(6)]
        fields[2] = f"next_seq - ?3 + {fields[2]}"
        self._insert = (
            f"INSERT INTO {messages} (session_id, id, part, seq, place, parent_id, data)"
            f" SELECT ?1, {', '.join([*fields[:3], fields[2], *fields[4:]])} FROM json_each(?4) j, {sessions}"
            f" WHERE session_id = ?1 AND {going} ON CONFLICT DO NOTHING"
        )
        self._settle = (
            f"UPDATE {records} SET (session_revision, created_at) ="
            f" (SELECT revision, created_at FROM {sessions} WHERE session_id = ?1)"
            " WHERE conversation_id = ?1 AND revision = ?2 AND session_revision IS NULL"
        )
        self._stored = f"SELECT 1 FROM {records} WHERE conversation_id = ?1 AND revision = ?2"
        self._doom = (
            f"UPDATE {sessions} SET expires_at = {_DOOMED} WHERE session_id = ?1"
            f" AND {matches.format(live=live.format(now='?3'), expected='?2')} RETURNING 1"
        )
        self._forget = (
            f"DELETE FROM {records} WHERE conversation_id = ?1 AND NOT EXISTS"
            f" (SELECT 1 FROM {sessions} WHERE session_id = ?1)"
        )
        messages_sql = MessageSql(*names, tables.files_table)
        self._remove = [*files.remove_expired(_DOOMED), *messages_sql.remove_expired(_DOOMED)]

    def create(self) -> list[Statement]:
        """Create the table and the index, unless they are there."""
        return list(map(Statement, self._create))

    def read(self, conversation_id: str, now: int) -> Statement:
        """Select a conversation, unless it has expired."""
        return Statement(self._read, (conversation_id, now))

    def page(self, now: int, scope: str | None, before: tuple[int, str] | None, limit: int) -> Statement:
        """Select conversations that have not expired, newest first, past the time and id of another."""
        args = (now, *(before or (None, None)), limit)
        return Statement(self._list, args) if scope is None else Statement(self._list_of, (*args, scope))

    def path(self, key: str, session_id: str | None, limit: int) -> Statement:
        """Select a message and those above it, nearest first; without a session those of the entry, in any session."""
        return Statement(self._path, (key, session_id, limit))

    def write(self, change: RecordChange, rows: Sequence[MessageRow], count: int) -> list[Statement]:
        """Store a record and ``count`` new messages; the last statement returns a row if they are stored.

        All of it does nothing when the revision is not the expected one, or when it was done before.
        """
        place: tuple[SqliteValue, ...] = (change.conversation_id, change.revision)
        statements: list[Statement] = []
        if change.expected_revision is None:
            statements += [Statement(self._clear, (change.conversation_id, change.now)), *self._remove]
        claim = (
            *(change.conversation_id, change.expected_revision, change.now, change.revision),
            *(change.base, change.base_session, change.data),
        )
        statements.append(Statement(self._claim, claim))
        if change.base is not None and change.base_session != change.conversation_id:
            statements.append(Statement(self._copy, (*place, change.base, change.base_session)))
        session = (*place, change.scope, change.head, count, change.updated_at)
        statements.append(Statement(self._session, session))
        statements += [Statement(self._insert, (*place, count, values)) for values in _values(rows)]
        return [*statements, Statement(self._settle, place), Statement(self._stored, place)]

    def delete(self, conversation_id: str, expected_revision: str, now: int) -> list[Statement]:
        """Delete a conversation that has the expected revision; the first statement returns a row if it has."""
        doom = Statement(self._doom, (conversation_id, expected_revision, now))
        return [doom, *self._remove, Statement(self._forget, (conversation_id,))]


def _values(rows: Sequence[MessageRow]) -> list[str]:
    """Return rows as JSON parameters of which each has at most about twice ``MAX_PART_CHARS`` characters."""
    runs: list[list[MessageRow]] = []
    size = 0
    for row in rows:
        if not runs or size + len(row.data) > MAX_PART_CHARS:
            runs.append([])
            size = 0
        runs[-1].append(row)
        size += len(row.data) + 200
    return [
        json.dumps([(row.id, row.part, row.seq, row.place, row.parent_id, row.data) for row in run], ensure_ascii=False)
        for run in runs
    ]
