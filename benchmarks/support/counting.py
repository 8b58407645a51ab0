"""A SqliteClient that counts what it is asked, and looks to a store like a database across a network."""

from __future__ import annotations

from collections.abc import Sequence

from aibind.sqlite.client import SqliteClient, SqliteResult, SqliteValue, Statement

from .result import Figures

__all__ = ["CountingClient"]


class CountingClient:
    """Passes everything on and counts calls, statements and rows."""

    def __init__(self, client: SqliteClient) -> None:
        self._client = client
        self.round_trips = 0
        self.statements = 0
        self.rows_read = 0
        self.rows_written = 0

    @property
    def shares_wakeups(self) -> bool:
        """Whether tasks that use the client may wake each other."""
        return self._client.shares_wakeups

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        """Run one statement."""
        result = await self._client.execute(sql, args)
        self._count([result])
        return result

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        """Run several."""
        results = await self._client.batch(statements)
        self._count(results)
        return results

    def _count(self, results: Sequence[SqliteResult]) -> None:
        self.round_trips += 1
        self.statements += len(results)
        self.rows_read += sum(result.rows_read for result in results)
        self.rows_written += sum(result.rows_written for result in results)

    @property
    def figures(self) -> Figures:
        """Tell the counts."""
        return {
            "statements": self.statements,
            "round_trips": self.round_trips,
            "rows_read": self.rows_read,
            "rows_written": self.rows_written,
        }
