"""The async interface that aibind needs of a SQLite-shaped database (contract, section 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

__all__ = ["SqliteClient", "SqliteResult", "SqliteRow", "SqliteValue", "Statement", "WatchableSqliteClient"]

SqliteValue: TypeAlias = str | int | float | bytes | bool | None
"""A parameter of a statement. ``bool`` is stored as 0 or 1; integers are limited by the engine (64 bits; 53 on D1)."""

SqliteRow: TypeAlias = dict[str, str | int | float | bytes | None]
"""A row: values by column name."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A SQL statement and the values of its ``?`` parameters."""

    sql: str
    args: Sequence[SqliteValue] = ()


@dataclass(frozen=True, slots=True)
class SqliteResult:
    """The rows that a statement returned, and what it cost.

    ``rows_read`` and ``rows_written`` are the engine's own counts where it has them (D1 bills by them); on a local
    file they count the rows returned and the rows changed.
    """

    rows: list[SqliteRow] = field(default_factory=list[SqliteRow])
    rows_read: int = 0
    rows_written: int = 0


class SqliteClient(Protocol):
    """A connection to one SQLite-shaped database.

    Both methods raise the ``Sqlite…`` errors of :mod:`aibind.errors`, with the driver's error as ``__cause__``.
    They may be called concurrently. Calls awaited one after the other take effect in that order, and a read sees every
    write that was awaited before it. An implementation may retry only what is safe to repeat.
    """

    @property
    def shares_wakeups(self) -> bool:
        """Whether tasks that use this client may wake each other.

        False in a Worker: its requests share memory, but what one request resumes in another is cut off. A client that
        wraps another passes the other's value on.
        """
        ...

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        """Run one statement and return its rows."""
        ...

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        """Run several statements in one transaction, all or nothing, and return their results in order.

        An empty batch returns an empty list.
        """
        ...


@runtime_checkable
class WatchableSqliteClient(SqliteClient, Protocol):
    """A client of a database on this machine: calls are cheap, and changes are noticed without a query.

    ``rows_written`` of its results is the exact number of rows that the statement inserted, updated or deleted.
    Stores treat any other client as remote: every call crosses a network and is billed.
    """

    @property
    def change_token(self) -> int:
        """The version of the database: it grows with every commit noticed, from this client or another process."""
        ...

    async def wait_for_change(self, since: int, timeout_s: float) -> int:
        """Wait until the version differs from ``since``, at most ``timeout_s`` seconds, and return the version."""
        ...
