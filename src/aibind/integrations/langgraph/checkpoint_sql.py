"""The SQL statements of the checkpoint saver, with their arguments.

A checkpoint or a write that is longer than a row may be has several rows, its parts. ``size``, in part 0, says how many
of them count: an upsert with fewer parts leaves the others behind, and they are not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...sqlite import SqliteValue, Statement
from ...sqlite.schema import quote_identifier

__all__ = ["MAX_PART_BYTES", "CheckpointKey", "CheckpointSql", "WriteRow"]

MAX_PART_BYTES = 1_000_000
"""Bytes in one row: a value on D1 holds at most 2 MB, and its answer has up to four characters for a byte."""

PARTS_READ = 4
"""Parts that one statement reads, so that an answer stays small in the memory of a Worker."""

_ROWS_INSERTED = 15
"""Rows of writes in one statement: 5 parameters and 6 for each row, of the 100 that D1 allows."""

_SIMPLE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class CheckpointKey:
    """The primary key of a checkpoint."""

    thread_id: str
    namespace: str
    checkpoint_id: str


@dataclass(frozen=True, slots=True)
class WriteRow:
    """A pending write. A negative ``idx`` is that of a special channel, whose last write counts."""

    idx: int
    channel: str
    type: str
    data: bytes


class CheckpointSql:
    """The statements for two tables. Raises ValueError for a table name that is not a plain identifier."""

    def __init__(self, checkpoints_table: str, writes_table: str) -> None:
        checkpoints, writes = quote_identifier(checkpoints_table), quote_identifier(writes_table)
        self._tables = checkpoints, writes
        key = "thread_id = ?1 AND checkpoint_ns = ?2"
        columns = "c.thread_id, c.checkpoint_ns, c.checkpoint_id, c.parent_id, c.type, c.size, c.metadata, c.data"
        self._checkpoint = f"SELECT {columns} FROM {checkpoints} c WHERE {key} AND part = 0 AND checkpoint_id = "
        writes_columns = (
            "w.thread_id, w.checkpoint_ns, w.checkpoint_id, w.task_id, w.idx, w.channel, w.type, w.size, w.data"
        )
        order = "w.task_path, w.task_id, w.idx"
        self._writes = f"SELECT {writes_columns} FROM {writes} w WHERE {key} AND part = 0 AND checkpoint_id = "
        self._writes_order = f" ORDER BY {order}"
        self._latest = f"(SELECT max(checkpoint_id) FROM {checkpoints} WHERE {key} AND part = 0)"
        self._page = f"SELECT {columns} FROM {checkpoints} c WHERE c.part = 0"
        self._writes_of = (
            f"SELECT {writes_columns} FROM json_each(?1) j CROSS JOIN {writes} w"
            " ON w.thread_id = json_extract(j.value, '$[0]') AND w.checkpoint_ns = json_extract(j.value, '$[1]')"
            f" AND w.checkpoint_id = json_extract(j.value, '$[2]') WHERE w.part = 0 ORDER BY j.key, {order}"
        )
        self._put = (
            f"INSERT INTO {checkpoints} (thread_id, checkpoint_ns, checkpoint_id, part, parent_id, type, size,"
            " metadata, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, part)"
            " DO UPDATE SET parent_id = excluded.parent_id, type = excluded.type, size = excluded.size,"
            " metadata = excluded.metadata, data = excluded.data"
        )
        # CROSS JOIN keeps the walk outside: each step is a look-up by primary key, without statistics as well.
        walk = (
            "WITH RECURSIVE path (id, depth) AS (SELECT ?3, 0 UNION ALL"
            f" SELECT c.parent_id, path.depth + 1 FROM path CROSS JOIN {checkpoints} c ON c.thread_id = ?1"
            " AND c.checkpoint_ns = ?2 AND c.checkpoint_id = path.id AND c.part = 0"
            " WHERE c.parent_id IS NOT NULL AND path.depth + 1 < ?4)"
        )
        on_path = "ON {0}.thread_id = ?1 AND {0}.checkpoint_ns = ?2 AND {0}.checkpoint_id = path.id AND {0}.part = 0"
        self._path = (
            f"{walk} SELECT {columns} FROM path CROSS JOIN {checkpoints} c {on_path.format('c')} ORDER BY path.depth"
        )
        self._path_writes = (
            f"{walk} SELECT {writes_columns} FROM path CROSS JOIN {writes} w {on_path.format('w')}"
            f" AND w.channel IN (SELECT value FROM json_each(?5)) ORDER BY path.depth, {order}"
        )
        self._runs = (
            f"SELECT thread_id, checkpoint_ns, checkpoint_id FROM {checkpoints} WHERE part = 0"
            " AND json_extract(metadata, '$.run_id') IN (SELECT value FROM json_each(?1))"
        )

    def create(self) -> list[Statement]:
        """Create the tables, unless they are there.

        WITHOUT ROWID: D1 bills the index of a primary key as a second row.
        """
        checkpoints, writes = self._tables
        return [
            Statement(
                f"CREATE TABLE IF NOT EXISTS {checkpoints} (thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL,"
                " checkpoint_id TEXT NOT NULL, part INTEGER NOT NULL, parent_id TEXT, type TEXT NOT NULL,"
                " size INTEGER NOT NULL, metadata TEXT NOT NULL, data BLOB NOT NULL,"
                " PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, part)) WITHOUT ROWID"
            ),
            Statement(
                f"CREATE TABLE IF NOT EXISTS {writes} (thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL,"
                " checkpoint_id TEXT NOT NULL, task_id TEXT NOT NULL, idx INTEGER NOT NULL, part INTEGER NOT NULL,"
                " task_path TEXT NOT NULL, channel TEXT NOT NULL, type TEXT NOT NULL, size INTEGER NOT NULL,"
                " data BLOB NOT NULL, PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, part))"
                " WITHOUT ROWID"
            ),
        ]

    def get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> list[Statement]:
        """Select a checkpoint, by default the latest of its namespace, and its writes in their order."""
        chosen, args = (self._latest, ()) if checkpoint_id is None else ("?3", (checkpoint_id,))
        return [
            Statement(self._checkpoint + chosen, (thread_id, namespace, *args)),
            Statement(self._writes + chosen + self._writes_order, (thread_id, namespace, *args)),
        ]

    def page(
        self,
        where: Mapping[str, str],
        metadata: Mapping[str, Any],
        before: str | None,
        after: CheckpointKey | None,
        limit: int,
    ) -> Statement:
        """Select checkpoints, newest first.

        ``where`` gives columns and their values, and ``after`` the last checkpoint of the page before. ``metadata`` is
        a filter of which only simple values are compared: the rest is left to the caller.
        """
        sql, args = [self._page], list[SqliteValue]()
        for column, value in where.items():
            sql.append(f"AND c.{column} = ?")
            args.append(value)
        for name, value in metadata.items():
            if _SIMPLE_KEY.match(name) and isinstance(value, str) and value.isprintable():
                sql.append(f"AND json_extract(c.metadata, '$.{name}') = ?")
                args.append(value)
        if before is not None:
            sql.append("AND c.checkpoint_id < ?")
            args.append(before)
        if after is not None:
            sql.append("AND (c.checkpoint_id < ? OR (c.checkpoint_id = ? AND (c.thread_id, c.checkpoint_ns) > (?, ?)))")
            args += [after.checkpoint_id, after.checkpoint_id, after.thread_id, after.namespace]
        sql.append("ORDER BY c.checkpoint_id DESC, c.thread_id, c.checkpoint_ns LIMIT ?")
        return Statement(" ".join(sql), (*args, limit))

    def writes_of(self, keys: Iterable[CheckpointKey]) -> Statement:
        """Select the writes of several checkpoints, each one's in their order."""
        return Statement(self._writes_of, (json.dumps([(k.thread_id, k.namespace, k.checkpoint_id) for k in keys]),))

    def path(self, key: CheckpointKey, channels: Sequence[str], limit: int) -> list[Statement]:
        """Select a checkpoint and those above it, nearest first, and their writes to some channels."""
        args = (key.thread_id, key.namespace, key.checkpoint_id, limit)
        return [Statement(self._path, args), Statement(self._path_writes, (*args, json.dumps(list(channels))))]

    def checkpoint_parts(self, key: CheckpointKey, first: int, end: int) -> Statement:
        """Select the next parts of a checkpoint, from ``first`` and below ``end``."""
        return Statement(
            f"SELECT data FROM {self._tables[0]} WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
            f" AND part >= ? AND part < ? ORDER BY part LIMIT {PARTS_READ}",
            (key.thread_id, key.namespace, key.checkpoint_id, first, end),
        )

    def write_parts(self, key: CheckpointKey, task_id: str, idx: int, first: int, end: int) -> Statement:
        """Select the next parts of a write, from ``first`` and below ``end``."""
        return Statement(
            f"SELECT data FROM {self._tables[1]} WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
            f" AND task_id = ? AND idx = ? AND part >= ? AND part < ? ORDER BY part LIMIT {PARTS_READ}",
            (key.thread_id, key.namespace, key.checkpoint_id, task_id, idx, first, end),
        )

    def put(self, key: CheckpointKey, parent_id: str | None, type_: str, metadata: str, data: bytes) -> list[Statement]:
        """Insert a checkpoint, or replace it."""
        return [
            Statement(
                self._put,
                (
                    *(key.thread_id, key.namespace, key.checkpoint_id, number),
                    *(parent_id, type_, len(data), "" if number else metadata, part),
                ),
            )
            for number, part in _parts(data)
        ]

    def put_writes(
        self, key: CheckpointKey, task_id: str, task_path: str, writes: Sequence[WriteRow]
    ) -> list[Statement]:
        """Insert a task's writes; of those that are there, replace the special ones and keep the others."""
        rows = [
            (write.idx, number, write.channel, write.type, len(write.data), part)
            for write in writes
            for number, part in _parts(write.data)
        ]
        shared = (key.thread_id, key.namespace, key.checkpoint_id, task_id, task_path)
        statements: list[Statement] = []
        for start in range(0, len(rows), _ROWS_INSERTED):
            some = rows[start : start + _ROWS_INSERTED]
            values = ", ".join(
                "(?1, ?2, ?3, ?4, ?5, " + ", ".join(f"?{6 + 6 * row + column}" for column in range(6)) + ")"
                for row in range(len(some))
            )
            sql = (
                f"INSERT INTO {self._tables[1]} (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx,"
                f" part, channel, type, size, data) VALUES {values}"
                " ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, part) DO UPDATE SET"
                " task_path = excluded.task_path, channel = excluded.channel, type = excluded.type,"
                " size = excluded.size, data = excluded.data WHERE excluded.idx < 0"
            )
            statements.append(Statement(sql, (*shared, *(value for row in some for value in row))))
        return statements

    def delete_thread(self, thread_id: str) -> list[Statement]:
        """Delete a thread's checkpoints and writes."""
        return [Statement(f"DELETE FROM {table} WHERE thread_id = ?", (thread_id,)) for table in self._tables]

    def delete_runs(self, run_ids: Sequence[str]) -> list[Statement]:
        """Delete the checkpoints of runs, and their writes first, which are found through them."""
        return [
            Statement(
                f"DELETE FROM {table} WHERE (thread_id, checkpoint_ns, checkpoint_id) IN ({self._runs})",
                (json.dumps(list(run_ids)),),
            )
            for table in reversed(self._tables)
        ]

    def copy_thread(self, source: str, target: str) -> list[Statement]:
        """Copy a thread's checkpoints and writes, and replace those of the other thread with the same ids."""
        checkpoints, writes = self._tables
        kept = "parent_id, type, size, metadata, data"
        kept_writes = "task_id, idx, part, task_path, channel, type, size, data"
        return [
            Statement(
                f"INSERT OR REPLACE INTO {table} (thread_id, checkpoint_ns, checkpoint_id, {columns})"
                f" SELECT ?2, checkpoint_ns, checkpoint_id, {columns} FROM {table} WHERE thread_id = ?1",
                (source, target),
            )
            for table, columns in ((checkpoints, f"part, {kept}"), (writes, kept_writes))
        ]

    def latest(self, thread_id: str) -> Statement:
        """Select the latest checkpoint of each namespace of a thread."""
        return Statement(
            f"SELECT checkpoint_ns, max(checkpoint_id) AS checkpoint_id FROM {self._tables[0]}"
            " WHERE thread_id = ? AND part = 0 GROUP BY checkpoint_ns",
            (thread_id,),
        )

    def prune(self, latest: CheckpointKey, kept: Iterable[str]) -> list[Statement]:
        """Delete what is older than a namespace's latest checkpoint, except those whose ids are to be kept."""
        args = (latest.thread_id, latest.namespace, latest.checkpoint_id, json.dumps(sorted(kept)))
        return [
            Statement(
                f"DELETE FROM {table} WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id < ?3"
                " AND checkpoint_id NOT IN (SELECT value FROM json_each(?4))",
                args,
            )
            for table in self._tables
        ]


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    for number, start in enumerate(range(0, max(len(data), 1), MAX_PART_BYTES)):
        yield number, data[start : start + MAX_PART_BYTES]
