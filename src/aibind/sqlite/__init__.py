"""Streams and conversations in SQLite-shaped databases, and the embedded default: a file on this machine.

Every name is loaded when it is first asked for: a Worker has no sqlite3 module, and pays for what it imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import load_on_demand

if TYPE_CHECKING:
    from .client import LocalSqliteClient, SqliteClient, SqliteResult, SqliteRow, SqliteValue, Statement
    from .conversation_store import SqliteConversationStore
    from .driver import Sqlite3Client, wrap_sqlite3
    from .schema import Migration, migrate, migrations, schema_sql
    from .stream_store import SqliteStreamStore

__all__ = [
    "LocalSqliteClient",
    "Migration",
    "Sqlite3Client",
    "SqliteClient",
    "SqliteConversationStore",
    "SqliteResult",
    "SqliteRow",
    "SqliteStreamStore",
    "SqliteValue",
    "Statement",
    "migrate",
    "migrations",
    "schema_sql",
    "wrap_sqlite3",
]

__getattr__ = load_on_demand(
    __name__,
    {
        "client": "LocalSqliteClient SqliteClient SqliteResult SqliteRow SqliteValue Statement",
        "conversation_store": "SqliteConversationStore",
        "driver": "Sqlite3Client wrap_sqlite3",
        "schema": "Migration migrate migrations schema_sql",
        "stream_store": "SqliteStreamStore",
    },
)


def __dir__() -> list[str]:
    return __all__
