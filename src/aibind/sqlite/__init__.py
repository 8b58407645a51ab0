"""Streams and conversations in databases that speak SQLite's dialect, by default a file on this machine.

Names are loaded on first use: a Worker has no sqlite3 module, and is billed for the time that imports take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import load_on_demand

if TYPE_CHECKING:
    from .client import SqliteClient, SqliteResult, SqliteRow, SqliteValue, Statement, WatchableSqliteClient
    from .conversation_store import SqliteConversationStore
    from .driver import SqliteDatabase, wrap_sqlite3
    from .message_store import SqliteMessageStore
    from .schema import Migration, TableNames, migrate, migrations, schema_sql
    from .search import SearchHit
    from .stream_store import SqliteStreamStore

__all__ = [
    "Migration",
    "SearchHit",
    "SqliteClient",
    "SqliteConversationStore",
    "SqliteDatabase",
    "SqliteMessageStore",
    "SqliteResult",
    "SqliteRow",
    "SqliteStreamStore",
    "SqliteValue",
    "Statement",
    "TableNames",
    "WatchableSqliteClient",
    "migrate",
    "migrations",
    "schema_sql",
    "wrap_sqlite3",
]

__getattr__ = load_on_demand(
    __name__,
    {
        "client": "WatchableSqliteClient SqliteClient SqliteResult SqliteRow SqliteValue Statement",
        "conversation_store": "SqliteConversationStore",
        "message_store": "SqliteMessageStore",
        "driver": "SqliteDatabase wrap_sqlite3",
        "schema": "Migration TableNames migrate migrations schema_sql",
        "search": "SearchHit",
        "stream_store": "SqliteStreamStore",
    },
)


def __dir__() -> list[str]:
    return __all__
