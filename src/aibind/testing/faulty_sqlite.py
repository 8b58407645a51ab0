"""A SqliteClient with faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..errors import SqliteOverloadedError, SqliteTransientError
from ..sqlite.client import SqliteClient, SqliteResult, SqliteValue, Statement
from .faults import Faults

__all__ = ["FaultySqliteClient"]


class FaultySqliteClient:
    """A SqliteClient whose calls pass through ``faults`` on their way to another client.

    What fails raises SqliteTransientError or SqliteOverloadedError. A statement that begins with SELECT or WITH and
    does not insert, update or delete counts as one that only reads. Stores treat this client as one of a remote
    database, whichever it wraps.
    """

    def __init__(self, client: SqliteClient, faults: Faults) -> None:
        self._client = client
        self._faults = faults

    def __repr__(self) -> str:
        return f"<FaultySqliteClient {self._faults!r} of {self._client!r}>"

    @property
    def shares_wakeups(self) -> bool:
        """As the wrapped client says."""
        return self._client.shares_wakeups

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        """Run one statement and return its rows, unless a fault strikes."""
        return await self._faults.call(
            lambda: self._client.execute(sql, args),
            writes=not _reads(sql),
            lost=_error(SqliteTransientError, sql),
            overloaded=_error(SqliteOverloadedError, sql),
        )

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        """Run several statements in one transaction and return their results, unless a fault strikes all of them."""
        if not statements:
            return []
        sql = statements[0].sql
        return await self._faults.call(
            lambda: self._client.batch(statements),
            writes=not all(_reads(statement.sql) for statement in statements),
            lost=_error(SqliteTransientError, sql),
            overloaded=_error(SqliteOverloadedError, sql),
        )


def _reads(sql: str) -> bool:
    return re.match(r"\s*(SELECT|WITH)\b", sql, re.IGNORECASE) is not None and not re.search(
        r"\b(INSERT|UPDATE|DELETE|REPLACE)\s+(INTO|OR|FROM|\w)", sql, re.IGNORECASE
    )


def _error(kind: type[SqliteTransientError], sql: str) -> Callable[[str], SqliteTransientError]:
    return lambda message: kind(message, sql)
