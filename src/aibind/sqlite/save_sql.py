"""The SQL statements that save messages."""

from __future__ import annotations

__all__ = ["SaveSql"]


class SaveSql:
    """The statements of a save, for quoted names of tables.

    They change nothing unless the subquery ``there`` finds a row for each value of the second parameter, a JSON array;
    it calls the value ``r.value``, and the session ``?1``.
    """

    def __init__(self, sessions: str, messages: str, there: str) -> None:
        lacking = f"EXISTS (SELECT 1 FROM json_each(?2) r WHERE NOT EXISTS ({there}))"
        # A network may deliver a save twice, or after the client has repeated it and saved more. The session then has
        # the message already, and was written later than this save was made: the current path stays where it is.
        stale = (
            f"(?12 AND ?9 < s.updated_at AND EXISTS"
            f" (SELECT 1 FROM {messages} WHERE session_id = ?1 AND id = ?4 AND part = 0))"
        )
        self.session = (
            f"INSERT INTO {sessions} AS s (session_id, owner, title, active_leaf_id, next_seq, floor_seq, revision,"
            " unknown, created_at, updated_at, expires_at)"
            f" SELECT ?1, ?3, ?11, ?4, ?6, ?7, 1, ?8, ?9, ?9, ?10 WHERE NOT {lacking}"
            " ON CONFLICT (session_id) DO UPDATE SET"
            f" active_leaf_id = CASE WHEN ?5 AND NOT {stale} THEN excluded.active_leaf_id ELSE s.active_leaf_id END,"
            " next_seq = s.next_seq + ?6, floor_seq = max(s.floor_seq, ?7), revision = s.revision + 1,"
            " unknown = excluded.unknown, updated_at = max(excluded.updated_at, s.updated_at + 1),"
            " expires_at = excluded.expires_at RETURNING next_seq"
        )
        insert = f"INSERT INTO {messages} (session_id, id, part, seq, place, parent_id, replaces, data) SELECT ?1,"
        self.insert_one = (
            f"{insert} ?4, ?5, next_seq - ?3 + ?6, next_seq - ?3 + ?7, ?8, ?9, ?10"
            f" FROM {sessions} WHERE session_id = ?1 AND NOT {lacking} ON CONFLICT DO NOTHING"
        )
        columns = ", ".join(
            f"next_seq - ?3 + json_extract(j.value, '$[{number}]')"
            if number in (2, 3)
            else f"json_extract(j.value, '$[{number}]')"
            for number in range(7)
        )
        self.insert = (
            f"{insert} {columns} FROM json_each(?4) j, {sessions}"
            f" WHERE session_id = ?1 AND NOT {lacking} ON CONFLICT DO NOTHING"
        )
