"""The SQL statements of the message store, each atomic by itself, with their arguments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from .client import SqliteValue, Statement
from .save_sql import SaveSql
from .schema import quote_identifier

__all__ = ["EXPIRED_SESSIONS", "MAX_PART_CHARS", "MAX_SWEPT_SESSIONS", "MessageRow", "MessageSql", "SessionChange"]

MAX_PART_CHARS = 250_000
"""Characters in one row or JSON parameter: a value on D1 holds at most 2 MB, and a character takes up to 8 bytes."""

MAX_SWEPT_SESSIONS = 100
"""Sessions that one statement removes, so that it stays within a database's time limit."""

EXPIRED_SESSIONS = (
    f"SELECT session_id FROM {{sessions}} WHERE expires_at <= ?1 ORDER BY session_id LIMIT {MAX_SWEPT_SESSIONS}"
)
"""The sessions that are removed next."""


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A row of a message. ``seq`` and ``place`` count from the first message of the same save."""

    id: str
    part: int
    seq: int
    place: int
    parent_id: str | None
    replaces: str | None
    data: str


@dataclass(frozen=True, slots=True)
class SessionChange:
    """The changes that a save makes to a session's row.

    ``required`` are the ids of stored messages that the new ones are below; without them nothing is changed. When no
    message is required, ``required_files`` are the hashes of stored files, without which nothing is changed.
    ``adds_leaf`` is whether the message at the end of the current path is one of the new ones.
    """

    session_id: str
    owner: str | None
    title: str | None
    active_leaf_id: str | None
    moves: bool
    adds_leaf: bool
    added: int
    floor_seq: int
    unknown: str
    now: int
    expires_at: int | None
    required: Sequence[str]
    required_files: Sequence[str] = ()


class MessageSql:
    """The statements for the tables of sessions and messages, which know when those of files have a file.

    Raises ValueError for a table name that is not a plain identifier.
    """

    def __init__(self, sessions_table: str, messages_table: str, files_table: str) -> None:
        sessions, messages = quote_identifier(sessions_table), quote_identifier(messages_table)
        files = quote_identifier(files_table)
        self._save = SaveSql(
            sessions, messages, f"SELECT 1 FROM {messages} WHERE session_id = ?1 AND id = r.value AND part = 0"
        )
        self._save_with_files = SaveSql(
            sessions, messages, f"SELECT 1 FROM {files} WHERE sha256 = r.value AND part = 0"
        )
        # A message that another client continued from stays, with those above it.
        self._remove = (
            f"WITH RECURSIVE gone (id) AS (SELECT value FROM json_each(?2)), kept (id) AS ("
            f"SELECT m.parent_id FROM {messages} m WHERE m.session_id = ?1 AND m.part = 0"
            " AND m.id NOT IN (SELECT id FROM gone) AND m.parent_id IN (SELECT id FROM gone)"
            f" UNION SELECT m.parent_id FROM kept JOIN {messages} m"
            " ON m.session_id = ?1 AND m.id = kept.id AND m.part = 0 WHERE m.parent_id IS NOT NULL)"
            f" DELETE FROM {messages} WHERE session_id = ?1 AND id IN (SELECT id FROM gone)"
            " AND id NOT IN (SELECT id FROM kept)"
        )
        self._session = (
            f"SELECT active_leaf_id, next_seq, floor_seq, unknown FROM {sessions}"
            " WHERE session_id = ? AND (expires_at IS NULL OR expires_at > ?)"
        )
        fields = "m.id, m.part, m.seq, m.place, m.parent_id, m.data"
        self._page = (
            f"SELECT {fields} FROM {messages} m WHERE m.session_id = ?1 AND (m.id, m.part) > (?2, ?3) AND m.seq >="
            f" (SELECT floor_seq FROM {sessions} WHERE session_id = ?1) ORDER BY m.id, m.part LIMIT ?4"
        )
        self._above = (
            f"WITH RECURSIVE above (id) AS (SELECT value FROM json_each(?2) UNION SELECT m.parent_id FROM above"
            f" JOIN {messages} m ON m.session_id = ?1 AND m.id = above.id AND m.part = 0 WHERE m.parent_id IS NOT NULL)"
            f" SELECT {fields} FROM above JOIN {messages} m ON m.session_id = ?1 AND m.id = above.id"
        )
        # From a message (NULL: the end of the current path) upwards, with the children of the first.
        self._path = (
            "WITH RECURSIVE path (id, parent_id, above) AS ("
            f"SELECT id, parent_id, 1 FROM {messages} WHERE session_id = ?1 AND part = 0"
            f" AND id = coalesce(?2, (SELECT active_leaf_id FROM {sessions} WHERE session_id = ?1))"
            " UNION ALL SELECT m.id, m.parent_id, path.above + 1"
            f" FROM path CROSS JOIN {messages} m ON m.session_id = ?1 AND m.id = path.parent_id AND m.part = 0"
            " WHERE path.above < ?3)"
            f" SELECT {fields}, m.replaces, path.above FROM path"
            f" CROSS JOIN {messages} m ON m.session_id = ?1 AND m.id = path.id ORDER BY path.above, m.part"
        )
        self._children = (
            f"SELECT {fields} FROM {messages} c CROSS JOIN {messages} m ON m.session_id = ?1 AND m.id = c.id"
            " WHERE c.session_id = ?1 AND c.part = 0"
            f" AND c.parent_id = coalesce(?2, (SELECT active_leaf_id FROM {sessions} WHERE session_id = ?1))"
        )
        self._delete = (
            f"DELETE FROM {messages} WHERE session_id = ?",
            f"DELETE FROM {sessions} WHERE session_id = ? RETURNING 1",
        )
        self._rename = (
            f"UPDATE {sessions} SET title = ?, revision = revision + 1"
            " WHERE session_id = ? AND (expires_at IS NULL OR expires_at > ?) RETURNING 1"
        )
        info = (
            "SELECT session_id, owner, title, active_leaf_id, revision, created_at, updated_at, expires_at"
            f" FROM {sessions} WHERE (expires_at IS NULL OR expires_at > ?1)"
        )
        self._find_session = f"{info} AND session_id = ?2"
        newest = (
            " AND (?2 IS NULL OR (updated_at, session_id) < (?2, ?3))"
            " ORDER BY updated_at DESC, session_id DESC LIMIT ?4"
        )
        self._sessions = f"{info}{newest}"
        self._sessions_of = f"{info} AND owner = ?5{newest}"
        # Down from a message along first children; the last step finds none.
        self._select = (
            "WITH RECURSIVE down (id, below) AS ("
            f"SELECT id, 0 FROM {messages} WHERE session_id = ?1 AND id = ?2 AND part = 0"
            f" UNION ALL SELECT (SELECT c.id FROM {messages} c WHERE c.session_id = ?1 AND c.parent_id = down.id"
            " AND c.part = 0 ORDER BY c.place, c.seq LIMIT 1), below + 1 FROM down WHERE id IS NOT NULL)"
            f" UPDATE {sessions} SET revision = revision + 1,"
            " active_leaf_id = (SELECT id FROM down WHERE id IS NOT NULL ORDER BY below DESC LIMIT 1)"
            " WHERE session_id = ?1 AND (expires_at IS NULL OR expires_at > ?3)"
            " AND EXISTS (SELECT 1 FROM down WHERE id IS NOT NULL) RETURNING active_leaf_id"
        )
        self._children_of = (
            f"SELECT id, parent_id FROM {messages} WHERE session_id = ?1 AND part = 0"
            " AND parent_id IN (SELECT value FROM json_each(?2)) ORDER BY place, seq"
        )
        self._current_root = (
            f"WITH RECURSIVE up (id) AS (SELECT active_leaf_id FROM {sessions} WHERE session_id = ?1"
            f" UNION SELECT m.parent_id FROM up CROSS JOIN {messages} m"
            " ON m.session_id = ?1 AND m.id = up.id AND m.part = 0 WHERE m.parent_id IS NOT NULL)"
            f" SELECT m.id FROM up CROSS JOIN {messages} m"
            " ON m.session_id = ?1 AND m.id = up.id AND m.part = 0 WHERE m.parent_id IS NULL"
        )
        self._roots = (
            "SELECT m.id, m.seq, m.place, m.replaces,"
            f" m.seq >= (SELECT floor_seq FROM {sessions} WHERE session_id = ?1) AS is_current"
            f" FROM (SELECT id, seq FROM {messages} WHERE session_id = ?1 AND part = 0 AND parent_id IS NULL) r"
            f" CROSS JOIN {messages} m ON m.session_id = ?1 AND m.id = r.id AND m.part = 0 ORDER BY r.seq"
        )
        expired = EXPIRED_SESSIONS.format(sessions=sessions)
        self._remove_expired = (
            f"DELETE FROM {messages} WHERE session_id IN ({expired})",
            f"DELETE FROM {sessions} WHERE session_id IN ({expired}) RETURNING 1",
        )

    def save(self, change: SessionChange, rows: Sequence[MessageRow], removed: Sequence[str]) -> list[Statement]:
        """Change a session's row and insert messages.

        The first statement returns a row unless something that is required is missing.
        """
        sql = self._save_with_files if change.required_files else self._save
        session_id, required = change.session_id, json.dumps(change.required_files or change.required)
        statements = [
            Statement(
                sql.session,
                (
                    session_id,
                    required,
                    change.owner,
                    change.active_leaf_id,
                    change.moves,
                    change.added,
                    change.floor_seq,
                    change.unknown,
                    change.now,
                    change.expires_at,
                    change.title,
                    change.adds_leaf,
                ),
            )
        ]
        for run in _runs(rows):
            place: tuple[SqliteValue, ...] = (session_id, required, change.added)
            if len(run) == 1:
                statements.append(Statement(sql.insert_one, (*place, *_fields(run[0]))))
            else:
                values = json.dumps([_fields(row) for row in run], ensure_ascii=False, separators=(",", ":"))
                statements.append(Statement(sql.insert, (*place, values)))
        if removed:
            statements.append(Statement(self._remove, (session_id, json.dumps(removed))))
        return statements

    def load(self, session_id: str, now: int, limit: int) -> list[Statement]:
        """Select a session's row, unless it has expired, and the first page of its messages."""
        return [Statement(self._session, (session_id, now)), self.page(session_id, "", -1, limit)]

    def page(self, session_id: str, after_id: str, after_part: int, limit: int) -> Statement:
        """Select the messages past a row, in the order of their ids."""
        return Statement(self._page, (session_id, after_id, after_part, limit))

    def above(self, session_id: str, ids: Sequence[str]) -> Statement:
        """Select messages and all messages above them."""
        return Statement(self._above, (session_id, json.dumps(ids)))

    def path(self, session_id: str, leaf_id: str | None, limit: int) -> Statement:
        """Select at most ``limit`` messages upwards from one (None: the end of the current path), nearest first."""
        return Statement(self._path, (session_id, leaf_id, limit))

    def load_path(self, session_id: str, now: int, leaf_id: str | None, limit: int) -> list[Statement]:
        """Select a session's row, the end of a path, and the children of its last message."""
        return [
            Statement(self._session, (session_id, now)),
            self.path(session_id, leaf_id, limit),
            Statement(self._children, (session_id, leaf_id)),
        ]

    def rename(self, session_id: str, title: str | None, now: int) -> Statement:
        """Change the title of a session that has not expired, returning a row."""
        return Statement(self._rename, (title, session_id, now))

    def sessions(self, now: int, owner: str | None, before: tuple[int, str] | None, limit: int) -> Statement:
        """Select sessions that have not expired, newest first, past the time and id of another."""
        place = (now, *(before or (None, None)), limit)
        return Statement(self._sessions, place) if owner is None else Statement(self._sessions_of, (*place, owner))

    def find_session(self, session_id: str, now: int) -> Statement:
        """Select a session that has not expired."""
        return Statement(self._find_session, (now, session_id))

    def select(self, session_id: str, message_id: str, now: int) -> Statement:
        """Make the branch of a message the current path, returning the message that it ends with."""
        return Statement(self._select, (session_id, message_id, now))

    def children(self, session_id: str, parent_ids: Sequence[str]) -> Statement:
        """Select the ids of the messages below others, oldest first."""
        return Statement(self._children_of, (session_id, json.dumps(parent_ids)))

    def current_root(self, session_id: str) -> Statement:
        """Select the id of the message that begins the current path, which is walked to its beginning."""
        return Statement(self._current_root, (session_id,))

    def roots(self, session_id: str) -> Statement:
        """Select the ids of the messages that begin a conversation, replaced ones included, in the tree's order."""
        return Statement(self._roots, (session_id,))

    def delete(self, session_id: str) -> list[Statement]:
        """Delete a session with its messages."""
        return [Statement(sql, (session_id,)) for sql in self._delete]

    def remove_expired(self, now: int) -> list[Statement]:
        """Delete sessions that have expired, returning a row for each."""
        return [Statement(sql, (now,)) for sql in self._remove_expired]


def _fields(row: MessageRow) -> tuple[str, int, int, int, str | None, str | None, str]:
    return row.id, row.part, row.seq, row.place, row.parent_id, row.replaces, row.data


def _runs(rows: Sequence[MessageRow]) -> list[list[MessageRow]]:
    """Split rows into runs of which each fits one parameter."""
    runs: list[list[MessageRow]] = []
    size = 0
    for row in rows:
        length = len(row.data) + len(row.id) + 100
        if not runs or size + length > MAX_PART_CHARS:
            runs.append([])
            size = 0
        runs[-1].append(row)
        size += length
    return runs
