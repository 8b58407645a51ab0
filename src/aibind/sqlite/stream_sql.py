"""The SQL statements of the stream store, each atomic by itself, with their arguments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from ..streams.store import TerminalState
from .client import SqliteValue, Statement
from .schema import quote_identifier

__all__ = ["EXTRA_COLUMNS", "MAX_PAGE_CHUNKS", "MAX_SWEPT_STREAMS", "StreamSql"]

MAX_PAGE_CHUNKS = 500
"""Chunks in one page. A chunk that this package writes holds at most 64 Ki characters."""

MAX_SWEPT_STREAMS = 500
"""Streams that one statement removes, so that it stays within a database's time limit."""

EXTRA_COLUMNS = (
    *("session_id", "owner", "created_at", "request", "question_id"),
    *("takeovers", "reference", "continuation"),
)
"""The columns of the status table that the JavaScript packages do not have, in the order of the migrations."""

_FOR_CLAIMS = frozenset({"takeovers", "reference", "continuation"})
"""Those of them that are read when a stream is claimed, and not with its state: a continuation may be long."""

STOP_REQUESTED = -1
"""The count of chunks of an active stream whose producer was asked to stop; it is counted when the stream ends."""

WAITING = -1
"""The count of chunks of a lost stream until its answer is in its conversation."""

MAX_PARAMETER_CHARS = 250_000
"""Characters in one JSON parameter, unless a single chunk is longer: a value on D1 holds at most 2 MB, and a character
takes up to 6 bytes."""


class StreamSql:
    """The statements for two tables. Raises ValueError for a table name that is not a plain identifier.

    With ``counted`` the client counts the rows that a statement writes exactly. Inserting chunks with known seqs then
    returns no rows: SQLite takes as long to return a row as to insert it. ``extra`` are those of ``EXTRA_COLUMNS`` that
    the status table has; the JavaScript packages make it with none.
    """

    def __init__(
        self, chunks_table: str, status_table: str, *, counted: bool = False, extra: Sequence[str] = EXTRA_COLUMNS
    ) -> None:
        self.extended = bool(extra)
        self.can_claim = "continuation" in extra
        self._extra = extra
        self._options = chunks_table, status_table, counted
        read = [name for name in extra if name not in _FOR_CLAIMS]
        extra_names = "".join(f", {name}" for name in read)
        extra_of_s = "".join(f", s.{name}" for name in read)
        # In a session the time grows with each stream, also between processes: the order of turns depends on it.
        created_at = (
            f"max(?, coalesce((SELECT max(created_at) + 1 FROM {quote_identifier(status_table)}"
            " WHERE session_id = ? AND state = 'active'), 0))"
        )
        created = [*read, *(("continuation",) if "continuation" in extra else ())]
        self._created = created
        created_names = "".join(f", {name}" for name in created)
        created_values = "".join(f", {created_at if name == 'created_at' else '?'}" for name in created)
        chunks, status = quote_identifier(chunks_table), quote_identifier(status_table)
        # The count of an active stream of ours is 0, or STOP_REQUESTED: no statement and no column more.
        is_active = f"EXISTS (SELECT 1 FROM {status} WHERE id = ? AND state = 'active' AND total_chunks >= ?{{}})"
        next_seq = f"(SELECT coalesce(max(seq), 0) + 1 FROM {chunks} WHERE id = ?)"
        insert = f"INSERT INTO {chunks} (id, seq, data) SELECT ?,"
        stored = f"coalesce((SELECT max(seq) FROM {chunks} WHERE id = s.id), 0)"
        self._create = (
            f"INSERT INTO {status} (id, state, error, total_chunks, expires_at{created_names})"
            f" VALUES (?, 'active', NULL, 0, ?{created_values})"
        )
        stored_at = "" if counted else " RETURNING seq"
        self._append_at = f"{insert} ? + key, value FROM json_each(?) WHERE {is_active}{stored_at}"
        self._append = f"{insert} {next_seq} + key, value FROM json_each(?) WHERE {is_active} RETURNING seq"
        self._append_one_at = f"{insert} ?, ? WHERE {is_active}{stored_at}"
        self._append_one = f"{insert} {next_seq}, ? WHERE {is_active} RETURNING seq"
        self._renew = f"UPDATE {status} SET expires_at = ? WHERE id = ? AND state = 'active'{{}} RETURNING id"
        self._refer = f"UPDATE {status} SET reference = ? WHERE id = ? AND state = 'active'{{}} RETURNING id"
        self._claim = (
            # Another lease in any case: it is what only one of several claims still finds.
            f"UPDATE {status} SET expires_at = max(?, expires_at + 1), takeovers = takeovers + 1"
            f" WHERE id = ? AND state = 'active' AND total_chunks = 0 AND expires_at = ? AND takeovers < ?"
            f" AND continuation IS NOT NULL RETURNING expires_at, takeovers, reference, continuation{extra_names}"
        )
        self._request_stop = (
            f"UPDATE {status} SET total_chunks = {STOP_REQUESTED}"
            f" WHERE id = ? AND state = 'active' AND total_chunks <= 0 AND expires_at > ? RETURNING id"
        )
        has_session = "s.session_id IS NOT NULL" if self.extended else "0"
        is_ours = "s.created_at IS NOT NULL" if "created_at" in extra else "0"
        self._give_up = (
            f"UPDATE {status} AS s SET state = 'error', error = ?,"
            f" expires_at = CASE WHEN {has_session} THEN ? ELSE ? END,"
            f" total_chunks = CASE WHEN {has_session} THEN {WAITING} ELSE {stored} END"
            f" WHERE id = ? AND state = 'active' AND total_chunks <= 0 AND {{}} RETURNING id"
        )
        self._settle = (
            f"UPDATE {status} AS s SET expires_at = ?, total_chunks = {stored}"
            f" WHERE id = ? AND state <> 'active' AND total_chunks < 0"
        )
        self._finish = (
            f"UPDATE {status} SET state = ?, error = ?, expires_at = ?,"
            f" total_chunks = coalesce((SELECT max(seq) FROM {chunks} WHERE id = ?), 0)"
            f" WHERE id = ? AND state = 'active'{{}} RETURNING id"
        )
        self._keep = (
            f"UPDATE {status} AS s SET expires_at = ?, total_chunks = {stored}"
            f" WHERE id = ? AND state <> 'active' AND total_chunks = 0 AND expires_at <= min(?, ?)"
            f" RETURNING state, error, total_chunks, expires_at{extra_names}"
        )
        self._read = (
            f"SELECT s.state, s.error, s.total_chunks, s.expires_at{extra_of_s}, c.seq, c.data FROM {status} s"
            f" LEFT JOIN {chunks} c ON c.id = s.id AND c.seq > ? WHERE s.id = ? ORDER BY c.seq LIMIT {MAX_PAGE_CHUNKS}"
        )
        select_status = (
            f"SELECT s.id, s.state, s.error, s.expires_at{extra_of_s},"
            f" CASE WHEN s.state = 'active' OR s.total_chunks < 0 THEN {stored} ELSE s.total_chunks END"
            f" AS total_chunks, s.total_chunks < 0 AS stop_requested{', s.takeovers, s.reference' * self.can_claim}"
            f" FROM {status} s"
        )
        self._status = f"{select_status} WHERE s.id = ?"
        self._orphans = (
            f"{select_status} WHERE s.state = 'active' AND s.total_chunks = 0 AND s.expires_at <= ?"
            f" AND s.continuation IS NOT NULL ORDER BY s.created_at, s.id LIMIT {MAX_SWEPT_STREAMS}"
        )
        self._lost = (
            f"{select_status} WHERE s.session_id {{}} AND ((s.state = 'active' AND s.total_chunks <= 0"
            f" AND s.expires_at <= ?) OR (s.state <> 'active' AND s.total_chunks < 0)) ORDER BY s.created_at, s.id"
        )
        self._listed = f"{select_status} WHERE (s.state = 'active' OR s.expires_at > ?)"
        self._live = (
            f"SELECT id FROM {status} WHERE session_id = ? AND state = 'active' AND expires_at > ?"
            f" ORDER BY created_at, id"
        )
        self._silent = (
            f"SELECT s.id, s.total_chunks, s.expires_at, {has_session} AS has_session, {stored} AS stored"
            f" FROM {status} s"
            # Those of JavaScript last, which may have to stay: they must not keep others from being swept.
            f" WHERE s.state = 'active' AND (s.expires_at <= ? OR ({is_ours} AND s.expires_at > ?))"
            f" ORDER BY s.total_chunks > 0, s.expires_at LIMIT {MAX_SWEPT_STREAMS}"
        )
        expired = (
            f"SELECT id FROM {status} WHERE state <> 'active' AND expires_at <= ? ORDER BY id LIMIT {MAX_SWEPT_STREAMS}"
        )
        self._remove_expired = (
            f"DELETE FROM {chunks} WHERE id IN ({expired})",
            f"DELETE FROM {status} WHERE id IN ({expired}) RETURNING id",
        )
        one_expired = f"SELECT id FROM {status} WHERE id = ? AND state <> 'active' AND expires_at <= ?"
        self._remove_one = (
            f"DELETE FROM {chunks} WHERE id IN ({one_expired})",
            f"DELETE FROM {status} WHERE id IN ({one_expired})",
        )
        is_asked_for = " AND (?2 IS NULL OR request = ?2)" if "request" in extra else ""
        one_active = f"SELECT id FROM {status} WHERE id = ?1 AND state = 'active'{is_asked_for}"
        self._discard = (
            f"DELETE FROM {chunks} WHERE id IN ({one_active})",
            f"DELETE FROM {status} WHERE id IN ({one_active})",
        )
        still_silent = (
            f"SELECT s.id FROM json_each(?) j JOIN {status} s ON s.id = json_extract(j.value, '$[0]')"
            f" WHERE s.state = 'active' AND s.expires_at = json_extract(j.value, '$[2]')"
            f" AND {stored} = json_extract(j.value, '$[1]')"
        )
        self._remove_silent = (
            f"DELETE FROM {chunks} WHERE id IN ({still_silent})",
            # A stream that made progress still has its chunks, and so keeps its row.
            (
                f"DELETE FROM {status} WHERE (id, expires_at) IN"
                f" (SELECT json_extract(value, '$[0]'), json_extract(value, '$[2]') FROM json_each(?))"
                f" AND state = 'active'"
                f" AND NOT EXISTS (SELECT 1 FROM {chunks} c WHERE c.id = {status}.id) RETURNING id"
            ),
        )

    def without_column(self, name: str) -> StreamSql:
        """Return the statements for a status table that lacks one of ``EXTRA_COLUMNS``, and so those after it."""
        chunks_table, status_table, counted = self._options
        extra = EXTRA_COLUMNS[: EXTRA_COLUMNS.index(name)]
        return StreamSql(chunks_table, status_table, counted=counted, extra=extra)

    def create(
        self,
        stream_id: str,
        expires_at: int,
        *,
        session_id: str | None = None,
        owner: str | None = None,
        created_at: int | None = None,
        request: str | None = None,
        question_id: str | None = None,
        continuation: str | None = None,
    ) -> Statement:
        """Insert a stream. A constraint fails when the id is taken."""
        values: dict[str, tuple[SqliteValue, ...]] = {
            "session_id": (session_id,),
            "owner": (owner,),
            "created_at": (created_at, session_id),
            "request": (request,),
            "question_id": (question_id,),
            "continuation": (continuation,),
        }
        return Statement(self._create, (stream_id, expires_at, *(v for name in self._created for v in values[name])))

    def remove_one(self, stream_id: str, now: int) -> list[Statement]:
        """Delete a stream if it has ended and expired."""
        return [Statement(sql, (stream_id, now)) for sql in self._remove_one]

    @property
    def knows_requests(self) -> bool:
        """Whether the status table has the column of requests."""
        return "request" in self._extra

    def discard(self, stream_id: str, request: str | None) -> list[Statement]:
        """Delete a stream if it is active, and was created with ``request`` (None: any)."""
        args = (stream_id, request) if self.knows_requests else (stream_id,)
        return [Statement(sql, args) for sql in self._discard]

    def append(
        self,
        stream_id: str,
        chunks: Sequence[str],
        first_seq: int | None,
        *,
        ending: bool = False,
        epoch: int | None = None,
    ) -> list[Statement]:
        """Insert chunks if the stream is active, returning the rows. A constraint fails when a seq is taken.

        Unless they come with the end (``ending``), none is inserted once the producer has been asked to stop.
        One parameter carries many chunks as a JSON array; a single chunk is passed as it is. A chunk that contains NUL
        is always passed singly, since SQLite's JSON ends a string there. ``epoch`` is as in :meth:`renew`.
        """
        statements: list[Statement] = []
        fence, epochs = self._fence(epoch)
        for run in _runs(chunks):
            place: tuple[SqliteValue, ...] = (stream_id,) if first_seq is None else (first_seq,)
            if len(run) == 1:
                sql = self._append_one if first_seq is None else self._append_one_at
                value = run[0]
            else:
                sql = self._append if first_seq is None else self._append_at
                value = json.dumps(run, ensure_ascii=False)
            args = stream_id, *place, value, stream_id, STOP_REQUESTED if ending else 0, *epochs
            statements.append(Statement(sql.format(fence), args))
            if first_seq is not None:
                first_seq += len(run)
        return statements

    def renew(self, stream_id: str, expires_at: int, epoch: int | None = None) -> Statement:
        """Restart the lease of an active stream, returning its row.

        With ``epoch`` only if the stream has been claimed that often, where the table counts it.
        """
        fence, epochs = self._fence(epoch)
        return Statement(self._renew.format(fence), (expires_at, stream_id, *epochs))

    def refer(self, stream_id: str, reference: str, epoch: int) -> Statement:
        """Store what the provider knows an active stream's answer by, returning its row."""
        fence, epochs = self._fence(epoch)
        return Statement(self._refer.format(fence), (reference, stream_id, *epochs))

    def claim(self, stream_id: str, lease: int, expires_at: int, max_takeovers: int) -> Statement:
        """Make the caller the producer of a stream that still has ``lease``, returning its row."""
        return Statement(self._claim, (expires_at, stream_id, lease, max_takeovers))

    def select_orphans(self, now: int) -> Statement:
        """Select the active streams whose lease has run out and that can be gone on with, oldest first."""
        return Statement(self._orphans, (now,))

    def finish(
        self, stream_id: str, state: TerminalState, error: str | None, expires_at: int, epoch: int | None = None
    ) -> Statement:
        """End an active stream, returning its row. ``epoch`` is as in :meth:`renew`."""
        fence, epochs = self._fence(epoch)
        return Statement(self._finish.format(fence), (state, error, expires_at, stream_id, stream_id, *epochs))

    def _fence(self, epoch: int | None) -> tuple[str, tuple[int, ...]]:
        return (" AND takeovers = ?", (epoch,)) if epoch is not None and self.can_claim else ("", ())

    def request_stop(self, stream_id: str, now: int) -> Statement:
        """Note that the producer of a live stream is to end it, returning its row. JavaScript producers do not look."""
        return Statement(self._request_stop, (stream_id, now))

    def give_up(
        self, stream_id: str, error: str, *, kept_until: int, expires_at: int, now: int, lease: int | None
    ) -> Statement:
        """End an active stream whose lease has run out, or is still ``lease``, returning its row.

        JavaScript producers have no lease. A stream of a session is kept until ``kept_until``, or until it is settled.
        """
        condition = "expires_at <= ?" if lease is None else "expires_at = ?"
        args = error, kept_until, expires_at, stream_id, now if lease is None else lease
        return Statement(self._give_up.format(condition), args)

    def settle(self, stream_id: str, expires_at: int) -> Statement:
        """Let a lost stream expire."""
        return Statement(self._settle, (expires_at, stream_id))

    def select_lost(self, session_id: str | None, now: int) -> Statement:
        """Select the streams of a session (None: of all) that are lost and not settled, oldest first."""
        if session_id is None:
            return Statement(self._lost.format("IS NOT NULL"), (now,))
        return Statement(self._lost.format("= ?"), (session_id, now))

    def keep(self, stream_id: str, expires_at: int, lease: int) -> Statement:
        """Do for a stream that JavaScript stopped what our end does, returning its row.

        ``lease`` is the ``expires_at`` that the producer wrote last. It does nothing where an end of ours, or this
        statement, has moved that.
        """
        return Statement(self._keep, (expires_at, stream_id, lease, expires_at))

    def read(self, stream_id: str, after_seq: int) -> Statement:
        """Select the state and a page of chunks.

        There is a row for each chunk, one with NULLs when there is no chunk, and none for an unknown stream.
        """
        return Statement(self._read, (after_seq, stream_id))

    def status(self, stream_id: str, owner: str | None = None) -> Statement:
        """Select the state, with the number of chunks, unless the stream is another's."""
        if owner is None:
            return Statement(self._status, (stream_id,))
        return Statement(f"{self._status} AND {'s.owner' if self.extended else 'NULL'} = ?", (stream_id, owner))

    def live(self, session_id: str, now: int) -> Statement:
        """Select the ids of a session's active streams whose lease has not run out, oldest first."""
        return Statement(self._live, (session_id, now))

    def select_listed(
        self, now: int, *, owner: str | None, session_id: str | None, since_ms: int | None, limit: int
    ) -> Statement:
        """Select streams that have not expired, with the number of chunks, newest first."""
        sql, args = self._listed, list[SqliteValue]([now])
        for condition, value in (
            ("s.session_id = ?", session_id),
            ("s.owner = ?", owner),
            ("s.created_at >= ?", since_ms),
        ):
            if value is not None:
                sql += f" AND {condition}"
                args.append(value)
        return Statement(f"{sql} ORDER BY s.created_at DESC, s.id DESC LIMIT ?", (*args, limit))

    def silent(self, now: int, too_late: int) -> Statement:
        """Select active streams past their ``expires_at``, with the chunks that are counted and those stored.

        One of ours that is to expire after ``too_late`` was written by a clock that was wrong, and counts as past it.
        """
        return Statement(self._silent, (now, too_late))

    def remove_silent(self, seen: Iterable[tuple[str, int, int]]) -> list[Statement]:
        """Delete those of them that still have the number of chunks and the ``expires_at`` that they were seen with."""
        found = json.dumps(list(seen), ensure_ascii=False)
        return [Statement(sql, (found,)) for sql in self._remove_silent]

    def remove_expired(self, now: int) -> list[Statement]:
        """Delete streams that have ended and expired."""
        return [Statement(sql, (now,)) for sql in self._remove_expired]


def _runs(chunks: Sequence[str]) -> Sequence[Sequence[str]]:
    """Split chunks into runs of which each fits one parameter."""
    if len(chunks) == 1:
        return [chunks]
    runs: list[list[str]] = []
    size = 0
    for chunk in chunks:
        alone = "\0" in chunk
        if not runs or alone or "\0" in runs[-1][0] or size + len(chunk) > MAX_PARAMETER_CHARS:
            runs.append([])
            size = 0
        runs[-1].append(chunk)
        size += len(chunk)
    return runs
