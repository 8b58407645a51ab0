"""The SQL statements of the message store's files, with their arguments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from .client import SqliteValue, Statement
from .message_sql import EXPIRED_SESSIONS
from .schema import quote_identifier

__all__ = ["FileRow", "FileSql"]


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row that says that a message, by its key, refers to a file."""

    message_id: str
    sha256: str
    mime_type: str
    name: str | None


class FileSql:
    """The statements for the tables of files. Raises ValueError for a table name that is not a plain identifier."""

    def __init__(self, files_table: str, message_files_table: str, sessions_table: str, messages_table: str) -> None:
        files, references = quote_identifier(files_table), quote_identifier(message_files_table)
        sessions, messages = quote_identifier(sessions_table), quote_identifier(messages_table)
        refer = f"INSERT INTO {references} (session_id, message_id, sha256, mime_type, name, pending_at) SELECT"
        row = ", ".join(f"json_extract(j.value, '$[{number}]')" for number in range(4))
        key = "(session_id, message_id, sha256)"
        self._announce = (
            f"{refer} ?1, {row}, ?3 FROM json_each(?2) j WHERE true"
            f" ON CONFLICT {key} DO UPDATE SET pending_at = excluded.pending_at WHERE pending_at IS NOT NULL"
        )
        self._found = f"SELECT sha256 FROM {files} WHERE part = 0 AND sha256 IN (SELECT value FROM json_each(?))"
        self._put = f"INSERT INTO {files} (sha256, part, size, data) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
        self._save = (
            f"{refer} ?1, {row}, NULL FROM json_each(?2) j WHERE EXISTS (SELECT 1 FROM {messages} m"
            " WHERE m.session_id = ?1 AND m.id = json_extract(j.value, '$[0]') AND m.part = 0)"
            f" ON CONFLICT {key} DO UPDATE SET pending_at = NULL"
        )
        self._page = (
            f"SELECT f.sha256, f.part, f.size, f.data FROM {files} f"
            " WHERE f.sha256 IN (SELECT value FROM json_each(?2)) AND (f.sha256, f.part) > (?3, ?4)"
            f" AND EXISTS (SELECT 1 FROM {references} r WHERE r.sha256 = f.sha256 AND r.session_id = ?1)"
            " ORDER BY f.sha256, f.part LIMIT ?5"
        )
        self._find = (
            f"SELECT mime_type, name FROM {references} WHERE sha256 = ?2 AND session_id = ?1"
            f" AND NOT EXISTS (SELECT 1 FROM {sessions} WHERE session_id = ?1 AND expires_at <= ?3) LIMIT 1"
        )

        def delete(doomed: str) -> tuple[str, str]:
            """Return the statements that delete references x, and first the files that nothing else refers to."""
            unneeded = (
                f"f.sha256 IN (SELECT x.sha256 FROM {references} x WHERE {doomed})"
                f" AND NOT EXISTS (SELECT 1 FROM {references} x WHERE x.sha256 = f.sha256 AND NOT ({doomed}))"
            )
            return f"DELETE FROM {files} AS f WHERE {unneeded}", f"DELETE FROM {references} AS x WHERE {doomed}"

        # Pending references stay: their messages are about to be saved.
        self._delete = delete("x.session_id = ?1 AND x.pending_at IS NULL")
        self._remove = delete(
            "x.session_id = ?1 AND x.pending_at IS NULL AND x.message_id IN (SELECT value FROM json_each(?2))"
            f" AND NOT EXISTS (SELECT 1 FROM {messages} m WHERE m.session_id = ?1 AND m.id = x.message_id)"
        )
        expired = EXPIRED_SESSIONS.format(sessions=sessions)
        self._remove_expired = delete(f"x.pending_at IS NULL AND x.session_id IN ({expired})")
        self._sweep = delete("x.pending_at IS NOT NULL AND x.pending_at <= ?1")

    def announce(self, session_id: str, rows: Sequence[FileRow], now: int) -> list[Statement]:
        """Insert references of a message that is not stored yet, and select the files that are stored."""
        return [
            Statement(self._announce, (session_id, _json(rows), now)),
            Statement(self._found, (json.dumps([row.sha256 for row in rows]),)),
        ]

    def put(self, sha256: str, part: int, size: int, data: bytes) -> Statement:
        """Insert a part of a file, unless it is there."""
        return Statement(self._put, (sha256, part, size, data))

    def save(self, session_id: str, rows: Sequence[FileRow]) -> list[Statement]:
        """Insert the references of messages that were inserted before in the same transaction."""
        return [Statement(self._save, (session_id, _json(rows)))] if rows else []

    def page(self, session_id: str, sha256s: Sequence[str], after: tuple[str, int], limit: int) -> Statement:
        """Select parts of files that a session refers to, past a part."""
        return Statement(self._page, (session_id, json.dumps(list(sha256s)), *after, limit))

    def find(self, session_id: str, sha256: str, now: int) -> Statement:
        """Select the type and the name of a file that a session refers to, unless the session has expired."""
        return Statement(self._find, (session_id, sha256, now))

    def remove(self, session_id: str, removed: Sequence[str]) -> list[Statement]:
        """Delete the references of messages that were deleted before in the same transaction, and their files."""
        return _statements(self._remove, session_id, json.dumps(removed)) if removed else []

    def delete(self, session_id: str) -> list[Statement]:
        """Delete the references of a session's messages, and the files that no other message refers to."""
        return _statements(self._delete, session_id)

    def remove_expired(self, now: int) -> list[Statement]:
        """Delete the references of the expired sessions that are to be deleted next, and their files."""
        return _statements(self._remove_expired, now)

    def sweep(self, before: int) -> list[Statement]:
        """Delete references that have been pending since a time, and their files."""
        return _statements(self._sweep, before)


def _statements(sqls: tuple[str, str], *args: SqliteValue) -> list[Statement]:
    return [Statement(sql, args) for sql in sqls]


def _json(rows: Sequence[FileRow]) -> str:
    return json.dumps([(row.message_id, row.sha256, row.mime_type, row.name) for row in rows])
