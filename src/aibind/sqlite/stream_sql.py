"""The statements of the stream store, with their arguments. Each is atomic by itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from ..streams.store import TerminalState
from .client import SqliteValue, Statement
from .schema import quote_identifier

__all__ = ["PAGE_CHUNKS", "SWEEP_STREAMS", "StreamSql"]

PAGE_CHUNKS = 500
"""How many chunks one look returns at most; of 64 Ki characters each, at most."""

SWEEP_STREAMS = 500
"""How many streams one sweep removes, so that it stays within a database's time limit."""

PARAMETER_CHARS = 250_000
"""About how many characters one JSON parameter carries: a value may hold 2 MB on D1, and a character take 6 bytes."""


class StreamSql:
    """Makes the statements for two tables, whose names are checked and quoted.

    With ``counted`` the client tells exactly how many rows a statement wrote. Then numbered chunks do not come back:
    SQLite takes as long to return a row as to insert it.
    """

    def __init__(self, chunks_table: str, status_table: str, *, counted: bool = False) -> None:
        chunks, status = quote_identifier(chunks_table), quote_identifier(status_table)
        is_active = f"EXISTS (SELECT 1 FROM {status} WHERE id = ? AND state = 'active')"
        next_seq = f"(SELECT coalesce(max(seq), 0) + 1 FROM {chunks} WHERE id = ?)"
        insert = f"INSERT INTO {chunks} (id, seq, data) SELECT ?,"
        stored = f"coalesce((SELECT max(seq) FROM {chunks} WHERE id = s.id), 0)"
        self._create = (
            f"INSERT INTO {status} (id, state, error, total_chunks, expires_at) VALUES (?, 'active', NULL, 0, ?)"
        )
        stored_at = "" if counted else " RETURNING seq"
        self._append_at = f"{insert} ? + key, value FROM json_each(?) WHERE {is_active}{stored_at}"
        self._append = f"{insert} {next_seq} + key, value FROM json_each(?) WHERE {is_active} RETURNING seq"
        self._append_one_at = f"{insert} ?, ? WHERE {is_active}{stored_at}"
        self._append_one = f"{insert} {next_seq}, ? WHERE {is_active} RETURNING seq"
        self._renew = f"UPDATE {status} SET expires_at = ? WHERE id = ? AND state = 'active' RETURNING id"
        self._finish = (
            f"UPDATE {status} SET state = ?, error = ?, expires_at = ?,"
            f" total_chunks = coalesce((SELECT max(seq) FROM {chunks} WHERE id = ?), 0)"
            f" WHERE id = ? AND state = 'active' RETURNING id"
        )
        self._read = (
            f"SELECT s.state, s.error, s.total_chunks, s.expires_at, c.seq, c.data FROM {status} s"
            f" LEFT JOIN {chunks} c ON c.id = s.id AND c.seq > ? WHERE s.id = ? ORDER BY c.seq LIMIT {PAGE_CHUNKS}"
        )
        self._status = (
            f"SELECT s.state, s.error, s.expires_at,"
            f" CASE s.state WHEN 'active' THEN {stored} ELSE s.total_chunks END AS total_chunks"
            f" FROM {status} s WHERE s.id = ?"
        )
        self._silent = (
            f"SELECT s.id, {stored} AS stored FROM {status} s"
            f" WHERE s.state = 'active' AND s.expires_at <= ? LIMIT {SWEEP_STREAMS}"
        )
        expired = (
            f"SELECT id FROM {status} WHERE state <> 'active' AND expires_at <= ? ORDER BY id LIMIT {SWEEP_STREAMS}"
        )
        self._remove_expired = (
            f"DELETE FROM {chunks} WHERE id IN ({expired})",
            f"DELETE FROM {status} WHERE id IN ({expired}) RETURNING id",
        )
        still_silent = (
            f"SELECT s.id FROM json_each(?) j JOIN {status} s ON s.id = json_extract(j.value, '$[0]')"
            f" WHERE s.state = 'active' AND s.expires_at <= ? AND {stored} = json_extract(j.value, '$[1]')"
        )
        self._remove_silent = (
            f"DELETE FROM {chunks} WHERE id IN ({still_silent})",
            # A stream that did make progress has kept its chunks, and so its row.
            (
                f"DELETE FROM {status} WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(?))"
                f" AND state = 'active' AND expires_at <= ?"
                f" AND NOT EXISTS (SELECT 1 FROM {chunks} c WHERE c.id = {status}.id) RETURNING id"
            ),
        )

    def create(self, stream_id: str, expires_at: int) -> Statement:
        """Begin a stream; a constraint fails when the id is taken."""
        return Statement(self._create, (stream_id, expires_at))

    def append(self, stream_id: str, chunks: Sequence[str], first_seq: int | None) -> list[Statement]:
        """Store chunks while the stream is active; a constraint fails when a seq is taken. Rows stored come back.

        One parameter carries many chunks as a JSON array. A chunk by itself travels as it is, and one that holds NUL is
        always by itself, since SQLite's JSON ends a string there.
        """
        statements: list[Statement] = []
        for run in _runs(chunks):
            place: tuple[SqliteValue, ...] = (stream_id,) if first_seq is None else (first_seq,)
            if len(run) == 1:
                sql = self._append_one if first_seq is None else self._append_one_at
                value = run[0]
            else:
                sql = self._append if first_seq is None else self._append_at
                value = json.dumps(run, ensure_ascii=False)
            statements.append(Statement(sql, (stream_id, *place, value, stream_id)))
            if first_seq is not None:
                first_seq += len(run)
        return statements

    def renew(self, stream_id: str, expires_at: int) -> Statement:
        """Move the lease of an active stream; its row comes back."""
        return Statement(self._renew, (expires_at, stream_id))

    def finish(self, stream_id: str, state: TerminalState, error: str | None, expires_at: int) -> Statement:
        """End an active stream; its row comes back."""
        return Statement(self._finish, (state, error, expires_at, stream_id, stream_id))

    def read(self, stream_id: str, after_seq: int) -> Statement:
        """Look at the state and at some chunks: one row a chunk, or a single one with NULLs; none for an unknown id."""
        return Statement(self._read, (after_seq, stream_id))

    def status(self, stream_id: str) -> Statement:
        """Look at the state."""
        return Statement(self._status, (stream_id,))

    def silent(self, now: int) -> Statement:
        """Find active streams whose lease has run out, with how many chunks they have."""
        return Statement(self._silent, (now,))

    def remove_silent(self, now: int, seen: Iterable[tuple[str, int]]) -> list[Statement]:
        """Remove those of them that have no more chunks than when they were seen."""
        found = json.dumps(list(seen), ensure_ascii=False)
        return [Statement(sql, (found, now)) for sql in self._remove_silent]

    def remove_expired(self, now: int) -> list[Statement]:
        """Remove ended streams that have expired."""
        return [Statement(sql, (now,)) for sql in self._remove_expired]


def _runs(chunks: Sequence[str]) -> Sequence[Sequence[str]]:
    """Split chunks into runs that can travel in one parameter each."""
    if len(chunks) == 1:
        return [chunks]
    runs: list[list[str]] = []
    size = 0
    for chunk in chunks:
        alone = "\0" in chunk
        if not runs or alone or "\0" in runs[-1][0] or size + len(chunk) > PARAMETER_CHARS:
            runs.append([])
            size = 0
        runs[-1].append(chunk)
        size += len(chunk)
    return runs
