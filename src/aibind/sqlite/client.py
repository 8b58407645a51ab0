"""The small async interface that every SQLite-shaped engine is wrapped into (contract §1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

__all__ = ["SqliteClient", "SqliteResult", "SqliteRow", "SqliteValue", "Statement", "WatchableSqliteClient"]

SqliteValue: TypeAlias = str | int | float | bytes | bool | None
"""What a parameter may be. ``bool`` is stored as 0 or 1; integers must fit the engine (64 bits; 53 over D1)."""

SqliteRow: TypeAlias = dict[str, str | int | float | bytes | None]
"""One row by column name."""


@dataclass(frozen=True, slots=True)
class Statement:
    """Is one SQL statement with the values of its ``?`` parameters."""

    sql: str
    args: Sequence[SqliteValue] = ()


@dataclass(frozen=True, slots=True)
class SqliteResult:
    """Is what one statement gave back.

    ``rows_read`` and ``rows_written`` are the engine's own counts where it has them (D1 bills by them); a local file
    counts the rows that it returned and changed.
    """

    rows: list[SqliteRow] = field(default_factory=list[SqliteRow])
    rows_read: int = 0
    rows_written: int = 0


class SqliteClient(Protocol):
    """Runs SQL on one database.

    Both methods raise the ``Sqlite…`` errors of :mod:`aibind.errors`, with the driver's error as ``__cause__``.
    They may be called concurrently; calls that were awaited one after the other happen in that order, and a read sees
    every write that was awaited before it. An implementation may retry by itself only what is safe to repeat.
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
        """Run several statements in ONE transaction, all or nothing, and return a result each, in order.

        An empty batch gives an empty list.
        """
        ...


@runtime_checkable
class WatchableSqliteClient(SqliteClient, Protocol):
    """Is a client whose database is on this machine: calls cost little, and changes can be noticed without a query.

    ``rows_written`` of its results is exactly how many rows the statement inserted, updated or deleted.
    Stores treat any other client as remote: each call crosses a network and is billed.
    """

    @property
    def change_token(self) -> int:
        """Tell the version of the database: it grows with every commit that is noticed, whoever made it."""
        ...

    async def wait_for_change(self, since: int, timeout_s: float) -> int:
        """Wait until the version is no longer ``since``, ``timeout_s`` seconds at most; return the version then."""
        ...
