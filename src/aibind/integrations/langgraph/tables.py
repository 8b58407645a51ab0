"""The tables of the checkpoint saver, read and written through a client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from ..._retry import retry
from ...errors import SqliteSchemaError, SqliteTransientError
from ...sqlite import SqliteClient, SqliteResult, SqliteRow, Statement
from .checkpoint_sql import MAX_PART_BYTES, CheckpointKey, CheckpointSql

__all__ = ["CheckpointTables", "key_of"]


class CheckpointTables:
    """Two tables, and the statements for them. Raises ValueError for an invalid table name."""

    def __init__(self, client: SqliteClient, checkpoints_table: str, writes_table: str, patience_s: float) -> None:
        self.sql = CheckpointSql(checkpoints_table, writes_table)
        self._client = client
        self._names = checkpoints_table, writes_table
        self._patience_s = patience_s

    def __repr__(self) -> str:
        checkpoints, writes = self._names
        return f"{self._client!r} checkpoints_table={checkpoints!r} writes_table={writes!r}"

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        """Run statements in one transaction, and again after transient errors: each of them is safe to repeat.

        Raises one of the ``Sqlite…`` errors of the client.
        """
        try:
            return await retry(lambda: self._client.batch(statements), patience_s=self._patience_s)
        except SqliteSchemaError as error:
            tables = " and ".join(self._names)
            text = f"The tables {tables} are missing or not those of this saver: await its setup() once"
            raise SqliteSchemaError(text, error.sql) from error

    async def checkpoint_data(self, row: SqliteRow) -> bytes:
        """Return the bytes of a checkpoint, given its first part."""
        key = key_of(row)
        return await self._join(row, lambda first, end: self.sql.checkpoint_parts(key, first, end))

    async def write_data(self, row: SqliteRow) -> bytes:
        """Return the bytes of a write, given its first part."""
        key, task_id, idx = key_of(row), cast("str", row["task_id"]), cast("int", row["idx"])
        return await self._join(row, lambda first, end: self.sql.write_parts(key, task_id, idx, first, end))

    async def _join(self, row: SqliteRow, read: Callable[[int, int], Statement]) -> bytes:
        size, data = cast("int", row["size"]), cast("bytes", row["data"])
        parts, end = [data], -(-size // MAX_PART_BYTES)
        while len(parts) < end:
            found = (await self.batch([read(len(parts), end)]))[0].rows
            parts += (cast("bytes", part["data"]) for part in found)
            if not found:
                break
        joined = b"".join(parts)
        if len(joined) != size:
            place = key_of(row)
            raise SqliteTransientError(
                f"Checkpoint {place.checkpoint_id} of thread {place.thread_id} changed while it was read: read it again"
            )
        return joined


def key_of(row: SqliteRow) -> CheckpointKey:
    """Return the key of the checkpoint that a row is a part of, or belongs to."""
    return CheckpointKey(
        cast("str", row["thread_id"]), cast("str", row["checkpoint_ns"]), cast("str", row["checkpoint_id"])
    )
