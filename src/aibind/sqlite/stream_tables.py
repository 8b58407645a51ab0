"""Run the stream store's statements, also on status tables that lack the newer columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..errors import SqliteSchemaError
from .client import SqliteClient, SqliteResult, Statement, WatchableSqliteClient
from .stream_sql import EXTRA_COLUMNS, StreamSql

__all__ = ["StreamTables"]

_MISSING_COLUMN = rf"(?:no such column:|has no column named) (?:s\.)?({'|'.join(EXTRA_COLUMNS)})\b"
"""The pattern of the error for a status table that the JavaScript packages' SQL made, and that was not migrated."""


class StreamTables:
    """The two tables of a stream store. ``sql`` has the statements for the columns that they are known to have.

    Raises ValueError for a table name that is not a plain identifier.
    """

    def __init__(self, client: SqliteClient, chunks_table: str, status_table: str) -> None:
        self.sql = StreamSql(chunks_table, status_table, counted=isinstance(client, WatchableSqliteClient))
        self._client = client

    async def execute(self, statement: Statement) -> SqliteResult:
        """Run a statement."""
        return await self._client.execute(statement.sql, statement.args)

    async def run(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        """Run statements in one transaction."""
        if len(statements) == 1:
            return [await self._client.execute(statements[0].sql, statements[0].args)]
        return await self._client.batch(statements)

    async def execute_extended(self, make: Callable[[StreamSql], Statement]) -> SqliteResult:
        """Run a statement that names the columns of sessions, without those that the status table lacks."""
        result = await self.try_extended(make)
        return await self.execute(make(self.sql)) if result is None else result

    async def try_extended(self, make: Callable[[StreamSql], Statement]) -> SqliteResult | None:
        """Run a statement that names the columns of sessions, or return None where the status table lacks all of them.

        That shows when the first such statement fails, once per store object; asking would cost every store a query. A
        table that has had some of the migrations lacks the columns of the others.
        """
        while (sql := self.sql).extended:
            try:
                return await self.execute(make(sql))
            except SqliteSchemaError as error:
                missing = re.search(_MISSING_COLUMN, str(error))
                if missing is None:
                    raise
                self.sql = sql.without_column(missing[1])
        return None
