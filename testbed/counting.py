"""A SqliteClient that counts what it is asked, and looks to a store like a database across a network."""

from __future__ import annotations

from collections.abc import Sequence

from aibind.sqlite.client import SqliteClient, SqliteResult, SqliteValue, Statement

__all__ = ["CountingClient"]


class CountingClient:
    """Pass everything on; count calls, statements and rows, and keep the statements' SQL in ``log``.

    It hides that the client below may be local: it has only what a database across a network has.
    """

    def __init__(self, client: SqliteClient) -> None:
        self._client = client
        self.round_trips = 0
        self.statements = 0
        self.rows_read = 0
        self.rows_written = 0
        self.log: list[str] = []

    @property
    def shares_wakeups(self) -> bool:
        """Whether tasks that use the client may wake each other."""
        return self._client.shares_wakeups

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        """Run one statement."""
        self._count_call([sql])
        result = await self._client.execute(sql, args)
        self._count_rows([result])
        return result

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        """Run several."""
        self._count_call([statement.sql for statement in statements])
        results = await self._client.batch(statements)
        self._count_rows(results)
        return results

    def _count_call(self, sql: list[str]) -> None:
        self.round_trips += 1
        self.statements += len(sql)
        self.log += sql

    def _count_rows(self, results: Sequence[SqliteResult]) -> None:
        self.rows_read += sum(result.rows_read for result in results)
        self.rows_written += sum(result.rows_written for result in results)

    @property
    def figures(self) -> dict[str, int]:
        """All counts by name."""
        return {
            "statements": self.statements,
            "round_trips": self.round_trips,
            "rows_read": self.rows_read,
            "rows_written": self.rows_written,
        }
