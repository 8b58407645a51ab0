"""What any user of the sqlite3 module asks of SQLite, counted: statements, rows and bytes.

The module's connections are replaced, so that libraries are counted as they are, in whichever thread they connect.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .sizes import bytes_of

__all__ = ["Meter", "metered"]

FIGURES = ("statements", "rows_read", "rows_written", "bytes", "bytes_returned")
UNCOUNTED = ("BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA")


@dataclass
class Meter:
    """What was asked so far.

    ``rows_read`` are the rows that statements returned. ``bytes`` are those of the SQL and its arguments,
    ``bytes_returned`` those of the values of the rows read.
    """

    statements: int = 0
    rows_read: int = 0
    bytes: int = 0
    bytes_returned: int = 0
    written_before: int = 0
    """Rows written by connections that are closed."""
    connections: list[sqlite3.Connection] = field(default_factory=list[sqlite3.Connection])

    @property
    def rows_written(self) -> int:
        """The rows that statements inserted, changed or deleted; known when a statement has returned its last row."""
        return self.written_before + sum(connection.total_changes for connection in self.connections)

    def figures(self) -> dict[str, int]:
        """Return all counts by name."""
        return {name: getattr(self, name) for name in FIGURES}

    def asked(self, sql: str, args: Any) -> None:
        """Count a statement."""
        self.statements += 1
        self.bytes += bytes_of((sql, *(args.values() if isinstance(args, dict) else args)))

    def returned(self, rows: Iterable[Any]) -> None:
        """Count rows."""
        for row in rows:
            self.rows_read += 1
            self.bytes_returned += bytes_of(row)


@contextmanager
def metered() -> Iterator[Meter]:
    """Count what goes through the connections that are opened meanwhile."""
    meter = Meter()
    connect = sqlite3.connect

    def connect_metered(*args: Any, **options: Any) -> sqlite3.Connection:
        return connect(*args, **options, factory=_connections_of(meter))

    sqlite3.connect = connect_metered  # type: ignore[assignment]  # the same but for its overloads
    try:
        yield meter
    finally:
        sqlite3.connect = connect


def _connections_of(meter: Meter) -> type[sqlite3.Connection]:
    class Cursor(sqlite3.Cursor):
        is_counted = False

        def returned(self, rows: list[Any]) -> list[Any]:
            if self.is_counted:
                meter.returned(rows)
            return rows

        def execute(self, sql: str, args: Any = (), /) -> Any:
            self.is_counted = not sql.lstrip().upper().startswith(UNCOUNTED)
            if self.is_counted:
                meter.asked(sql, args)
            return super().execute(sql, args)

        def executemany(self, sql: str, many: Iterable[Any], /) -> Any:
            for args in many:
                self.execute(sql, args)
            return self

        def __next__(self) -> Any:
            return self.returned([super().__next__()])[0]

        def fetchone(self) -> Any:
            row = super().fetchone()
            self.returned([] if row is None else [row])
            return row

        def fetchmany(self, size: int | None = 1) -> list[Any]:
            return self.returned(super().fetchmany(size))

        def fetchall(self) -> list[Any]:
            return self.returned(super().fetchall())

    class Connection(sqlite3.Connection):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            meter.connections.append(self)

        def close(self) -> None:
            if self in meter.connections:
                meter.connections.remove(self)
                meter.written_before += self.total_changes
            super().close()

        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def execute(self, sql: str, args: Any = (), /) -> sqlite3.Cursor:
            cursor: sqlite3.Cursor = self.cursor().execute(sql, args)
            return cursor

        def executemany(self, sql: str, many: Iterable[Any], /) -> sqlite3.Cursor:
            cursor: sqlite3.Cursor = self.cursor().executemany(sql, many)
            return cursor

    return Connection
