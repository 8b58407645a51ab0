"""The SQL statements of the search over messages, each atomic by itself, with their arguments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from .client import SqliteValue, Statement
from .schema import quote_identifier

__all__ = ["Document", "Filter", "SearchSql"]

_MAX_SESSIONS = 200
"""Sessions that one survey returns."""

_SYMBOLS = "$+<=>^`|~"
"""The ASCII symbols that belong to words. All other ASCII characters of folded text are letters and digits."""


@dataclass(frozen=True, slots=True)
class Filter:
    """The sessions in which to search at a time: those of an owner, one session, both, or all."""

    owner: str | None
    session_id: str | None
    now: int


@dataclass(frozen=True, slots=True)
class Document:
    """A message in the index: the number of its session, its place there, its id, and its folded text in parts."""

    session: int
    seq: int
    id: str
    parts: Sequence[str]
    grams: str


class SearchSql:
    """The statements for an index beside the tables of conversations. Its tables are named after that of the messages.

    ``has_fts`` tells whether the engine has FTS5; without it, every text is compared with the query.
    """

    def __init__(self, sessions_table: str, messages_table: str, *, has_fts: bool) -> None:
        self.has_fts = has_fts
        self._sessions, self._messages = quote_identifier(sessions_table), quote_identifier(messages_table)
        self._docs = f'"{messages_table}_search"'
        self._states = f'"{messages_table}_search_sessions"'
        self._fts = f'"{messages_table}_search_fts"'
        self._fts_name = f"{messages_table}_search_fts"
        # A session that was deleted and made again is another one.
        self._same = "s.session_id = t.session_id AND s.created_at = t.created_at AND s.owner IS t.owner"

    def create(self) -> list[Statement]:
        """Create the tables that are missing."""
        statements = [
            (
                f"CREATE TABLE IF NOT EXISTS {self._states} (number INTEGER PRIMARY KEY, session_id TEXT NOT NULL,"
                " gone INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL, owner TEXT,"
                " next_seq INTEGER NOT NULL DEFAULT 0, UNIQUE (session_id, gone))"
            ),
            # With a rowid: a text of up to 4 KB is then on one page, and comparing it takes a fifth of the time.
            (
                f"CREATE TABLE IF NOT EXISTS {self._docs} (doc INTEGER PRIMARY KEY, session INTEGER NOT NULL,"
                " seq INTEGER NOT NULL, part INTEGER NOT NULL, parts INTEGER NOT NULL, id TEXT NOT NULL,"
                " text TEXT NOT NULL, UNIQUE (session, seq, part))"
            ),
        ]
        if self.has_fts:
            # What an engine without FTS5 indexed is not in its table.
            new = f"NOT EXISTS (SELECT 1 FROM sqlite_master WHERE name = '{self._fts_name}')"
            statements += [f"DELETE FROM {self._docs} WHERE {new}", f"DELETE FROM {self._states} WHERE {new}"]
            statements.append(
                f"CREATE VIRTUAL TABLE IF NOT EXISTS {self._fts} USING fts5(grams, content='', detail=none,"
                f" columnsize=0, tokenize = \"ascii tokenchars '{_SYMBOLS}'\")"
            )
        return [Statement(sql) for sql in statements]

    # --- what is to be done ---

    def behind(self, among: Filter) -> Statement:
        """Select the sessions with messages that are not indexed, least recently saved first."""
        where, args = self._where(among, "s")
        return Statement(
            f"SELECT s.session_id, s.next_seq, t.number, t.owner, t.next_seq AS indexed FROM {self._sessions} s"
            f" LEFT JOIN {self._states} t ON t.gone = 0 AND {self._same}"
            " WHERE (t.number IS NULL OR t.next_seq < s.next_seq)"
            f" AND {where} ORDER BY s.updated_at, s.session_id LIMIT {_MAX_SESSIONS}",
            args,
        )

    def stale(self, among: Filter) -> Statement:
        """Select the numbers of indexed sessions that are no longer there."""
        conditions, args = _conditions(among, "t")
        return Statement(
            f"SELECT t.number, t.gone FROM {self._states} t LEFT JOIN {self._sessions} s ON {self._same}"
            f" WHERE {' AND '.join(['(t.gone <> 0 OR s.session_id IS NULL)', *conditions])} LIMIT {_MAX_SESSIONS}",
            args,
        )

    def enroll(self, among: Filter) -> list[Statement]:
        """Mark the indexed sessions that are no longer there, and give numbers to new ones.

        They are not passed as parameters: JSON in SQLite has no NUL, and ids may.
        """
        where, args = self._where(among, "s")
        return [
            Statement(
                f"UPDATE {self._states} AS t SET gone = number WHERE gone = 0"
                f" AND NOT EXISTS (SELECT 1 FROM {self._sessions} s WHERE {self._same})"
            ),
            Statement(
                f"INSERT INTO {self._states} (session_id, created_at, owner)"
                f" SELECT s.session_id, s.created_at, s.owner FROM {self._sessions} s LEFT JOIN {self._states} t"
                f" ON t.gone = 0 AND {self._same} WHERE t.number IS NULL AND {where}"
                f" ORDER BY s.updated_at, s.session_id LIMIT {_MAX_SESSIONS} ON CONFLICT DO NOTHING",
                args,
            ),
        ]

    def gone(self, session_id: str | None) -> list[Statement]:
        """Mark an indexed session (None: every one) that is no longer there, and select the numbers of such."""
        only = "" if session_id is None else " AND t.session_id = ?"
        args = () if session_id is None else (session_id,)
        missing = f"NOT EXISTS (SELECT 1 FROM {self._sessions} s WHERE {self._same})"
        return [
            Statement(f"UPDATE {self._states} AS t SET gone = number WHERE gone = 0 AND {missing}{only}", args),
            Statement(f"SELECT number FROM {self._states} t WHERE gone <> 0{only}", args),
        ]

    # --- reading messages ---

    def on_paths(self, sessions: Sequence[tuple[int, int]]) -> Statement:
        """Select what is on the current paths of sessions, given by number, from a seq on, without the texts.

        This reads the new messages alone; all others are found by reading the whole session.
        """
        up = "coalesce(m.parent_id, m.replaces)"
        return Statement(
            "WITH RECURSIVE path (place, session_id, low, id) AS (SELECT j.key, s.session_id, json_extract(j.value,"
            f" '$[1]'), s.active_leaf_id FROM json_each(?) j CROSS JOIN {self._states} t CROSS JOIN {self._sessions} s"
            f" WHERE t.number = json_extract(j.value, '$[0]') AND {self._same}"
            f" UNION SELECT p.place, p.session_id, p.low, {up} FROM path p CROSS JOIN {self._messages} m"
            " WHERE m.session_id = p.session_id AND m.id = p.id AND m.part = 0 AND m.seq >= p.low)"
            " SELECT p.place, m.id, m.seq, length(m.data) AS size"
            f" FROM path p CROSS JOIN {self._messages} m WHERE m.session_id = p.session_id AND m.id = p.id"
            " AND m.seq >= p.low",
            (json.dumps(sessions),),
        )

    def page(self, session_id: str, low: int, high: int, after: tuple[str, int], limit: int) -> Statement:
        """Select the messages of a session between two seqs, past a row, without their texts."""
        return Statement(
            f"SELECT id, part, seq, length(data) AS size FROM {self._messages} WHERE session_id = ? AND seq >= ?"
            " AND seq < ? AND (id, part) > (?, ?) ORDER BY id, part LIMIT ?",
            (session_id, low, high, *after, limit),
        )

    def texts(self, places: Sequence[tuple[int, str, int]]) -> Statement:
        """Select the rows of messages, given by number of the session, id and seq, in the order of their parts."""
        return Statement(
            f"SELECT j.key AS place, m.data FROM json_each(?) j CROSS JOIN {self._states} t"
            f" CROSS JOIN {self._messages} m WHERE t.number = json_extract(j.value, '$[0]')"
            " AND m.session_id = t.session_id AND m.id = json_extract(j.value, '$[1]')"
            " AND m.seq = json_extract(j.value, '$[2]') ORDER BY j.key, m.part",
            (json.dumps(places),),
        )

    # --- writing the index ---

    def add(
        self, documents: Sequence[Document], progress: Sequence[tuple[int, int, int]], max_chars: int
    ) -> list[Statement]:
        """Add messages, unless another process has; ``progress`` are sessions, from which seq, and up to which."""
        low = {number: start for number, start, _ in progress}
        at_low = f"JOIN {self._states} t ON t.number = {_item(0)} AND t.next_seq = {_item(1)} AND t.gone = 0"
        texts = [
            (d.session, low[d.session], d.seq, part, len(d.parts), d.id, text)
            for d in documents
            for part, text in enumerate(d.parts)
        ]
        pieces = [(d.session, low[d.session], d.seq, d.grams) for d in documents]
        items = ", ".join(_item(number) for number in (0, 2, 3, 4, 5, 6))
        statements = [
            Statement(
                f"INSERT INTO {self._docs} (doc, session, seq, part, parts, id, text)"
                f" SELECT (SELECT coalesce(max(doc), 0) FROM {self._docs}) + 1 + j.key, {items}"
                f" FROM json_each(?) j {at_low}",
                (values,),
            )
            for values in _runs(texts, max_chars)
        ]
        found = f"JOIN {self._docs} d ON d.session = {_item(0)} AND d.seq = {_item(2)} AND d.part = 0"
        if self.has_fts:
            statements += [
                Statement(
                    f"INSERT INTO {self._fts} (rowid, grams) SELECT d.doc, {_item(3)} FROM json_each(?) j"
                    f" {at_low} {found}",
                    (values,),
                )
                for values in _runs(pieces, max_chars)
            ]
        statements.append(
            Statement(
                f"UPDATE {self._states} AS t SET next_seq = (SELECT {_item(2)} FROM json_each(?1) j"
                f" WHERE {_item(0)} = t.number) WHERE EXISTS (SELECT 1 FROM json_each(?1) j"
                f" WHERE {_item(0)} = t.number AND {_item(1)} = t.next_seq) AND t.gone = 0",
                (json.dumps(progress),),
            )
        )
        return statements

    def leftovers(self, sessions: Sequence[int], limit: int) -> Statement:
        """Select indexed messages of sessions, with all of their parts."""
        return self._documents("SELECT value FROM json_each(?)", "session", (json.dumps(sessions), limit))

    def documents_of(self, session_id: str, ids: Sequence[str]) -> Statement:
        """Select indexed messages of a session by their ids, with all of their parts."""
        docs = (
            f"SELECT x.doc FROM {self._states} n JOIN {self._docs} x ON x.session = n.number AND x.part = 0"
            " WHERE n.session_id = ? AND n.gone = 0 AND x.id IN (SELECT value FROM json_each(?))"
        )
        return self._documents(docs, "doc", (session_id, json.dumps(ids), len(ids)))

    def documents(self, docs: Sequence[int]) -> Statement:
        """Select indexed messages by their numbers, with all of their parts."""
        return self._documents("SELECT value FROM json_each(?)", "doc", (json.dumps(docs), len(docs)))

    def _documents(self, values: str, column: str, args: Sequence[SqliteValue]) -> Statement:
        return Statement(
            f"WITH first AS (SELECT doc, session, seq FROM {self._docs} WHERE part = 0 AND {column} IN ({values})"
            " LIMIT ?) SELECT f.doc, f.session, f.seq, d.text, t.session_id, t.owner"
            f" FROM first f JOIN {self._docs} d ON d.session = f.session AND d.seq = f.seq"
            f" JOIN {self._states} t ON t.number = f.session ORDER BY f.doc, d.part",
            args,
        )

    def remove(self, documents: Sequence[tuple[int, int, int, str]], max_chars: int) -> list[Statement]:
        """Remove messages, given by number, session, seq and pieces, and the sessions that have none left."""
        there = f"d.doc = {_item(0)} AND d.session = {_item(1)} AND d.seq = {_item(2)}"
        runs = _runs(documents, max_chars)
        statements: list[Statement] = []
        if self.has_fts:
            statements += [
                Statement(
                    f"INSERT INTO {self._fts} ({self._fts}, rowid, grams) SELECT 'delete', d.doc, {_item(3)}"
                    f" FROM json_each(?) j JOIN {self._docs} d ON {there} AND d.part = 0",
                    (values,),
                )
                for values in runs
            ]
        keys = json.dumps([document[:3] for document in documents])
        statements.append(
            Statement(
                f"DELETE FROM {self._docs} WHERE (session, seq) IN (SELECT d.session, d.seq FROM json_each(?) j"
                f" JOIN {self._docs} d ON {there} AND d.part = 0)",
                (keys,),
            )
        )
        statements.append(
            Statement(
                f"DELETE FROM {self._states} WHERE gone <> 0"
                f" AND NOT EXISTS (SELECT 1 FROM {self._docs} WHERE session = number)"
            )
        )
        return statements

    # --- searching ---

    def hits(self, among: Filter, match: str, terms: Sequence[str], limit: int) -> Statement:
        """Select the newest messages with all terms, a row a part; ``data`` is NULL where the message is gone."""
        where, args = self._where(among, "s")
        values: list[SqliteValue] = list(args)
        # The order of the joins is that of the index, newest first, so that a common term stops at the limit.
        source = f"{self._docs} d"
        order = "d.doc"
        conditions = ["d.part = 0", "t.gone = 0", where]
        if self.has_fts and match:
            source = f"{self._fts} f CROSS JOIN {source}"
            order = "f.rowid"
            conditions = [f"f.{self._fts} MATCH ?", "d.doc = f.rowid", *conditions]
            values.insert(0, match)
        for term in terms:
            conditions.append(
                f"(instr(d.text, ?) OR d.parts > 1 AND EXISTS (SELECT 1 FROM {self._docs} x"
                " WHERE x.session = d.session AND x.seq = d.seq AND instr(x.text, ?)))"
            )
            values += [term, term]
        return Statement(
            "WITH hit AS (SELECT d.doc, d.seq, d.id, s.session_id, s.title"
            f" FROM {source} CROSS JOIN {self._states} t CROSS JOIN {self._sessions} s"
            f" WHERE {' AND '.join(conditions)} AND t.number = d.session AND {self._same}"
            f" ORDER BY {order} DESC LIMIT ?)"
            f" SELECT hit.doc, hit.id, hit.session_id, hit.title, m.data FROM hit LEFT JOIN {self._messages} m"
            " ON m.session_id = hit.session_id AND m.id = hit.id AND m.seq = hit.seq ORDER BY hit.doc DESC, m.part",
            (*values, limit),
        )

    def _where(self, among: Filter, table: str) -> tuple[str, list[SqliteValue]]:
        """Return the condition for sessions, with arguments."""
        conditions, args = _conditions(among, table)
        return " AND ".join(["(s.expires_at IS NULL OR s.expires_at > ?)", *conditions]), [among.now, *args]


def _conditions(among: Filter, table: str) -> tuple[list[str], list[SqliteValue]]:
    given = {"owner": among.owner, "session_id": among.session_id}
    conditions = [f"{table}.{name} = ?" for name, value in given.items() if value is not None]
    return conditions, [value for value in given.values() if value is not None]


def _item(number: int) -> str:
    return f"json_extract(j.value, '$[{number}]')"


def _runs(rows: Sequence[tuple[SqliteValue, ...]], max_chars: int) -> list[str]:
    """Return rows as JSON, in runs of which each fits one parameter."""
    runs: list[list[tuple[SqliteValue, ...]]] = []
    size = 0
    for row in rows:
        length = sum(len(value) for value in row if isinstance(value, str)) + 50
        if not runs or size + length > max_chars:
            runs.append([])
            size = 0
        runs[-1].append(row)
        size += length
    return [json.dumps(run, ensure_ascii=False, separators=(",", ":")) for run in runs]
