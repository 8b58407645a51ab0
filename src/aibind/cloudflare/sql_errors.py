"""The error messages of D1 and of a Durable Object's SQLite, as the errors of :mod:`aibind.errors`.

There are no error codes. A message has a prefix, SQLite's message and the name of SQLite's result code, as in
``D1_ERROR: UNIQUE constraint failed: t.c: SQLITE_CONSTRAINT (extended: …)``. Patterns are compiled when something first
fails, not when a Worker starts.
"""

from __future__ import annotations

import re

from ..errors import (
    SqliteConstraintError,
    SqliteError,
    SqliteOverloadedError,
    SqliteSchemaError,
    SqliteSyntaxError,
    SqliteTooLargeError,
    SqliteTransientError,
    SqliteTypeError,
)

__all__ = ["did_not_run", "is_read", "map_error"]

_APPLY = 'apply the schema ("aibind schema" prints it, "wrangler d1 migrations apply" takes it)'

_RULES: tuple[tuple[str, type[SqliteError], str], ...] = (
    (r"SQLITE_CONSTRAINT|constraint failed", SqliteConstraintError, ""),
    (r"SQLITE_TOOBIG", SqliteTooLargeError, "a row holds 2 MB, a statement 100 KB"),
    (
        r"too many SQL variables",
        SqliteTooLargeError,
        "it takes 100 parameters: send many values as one JSON array",
    ),
    (r"SQLITE_FULL|maximum (?:DB|database) size", SqliteTooLargeError, "the database is full"),
    (r"^too many (?!API|subrequests)|too large|too deep|parser stack overflow", SqliteTooLargeError, ""),
    (r"no such table|no such column|has no column named|D1_COLUMN_NOTFOUND", SqliteSchemaError, _APPLY),
    (r"D1_TYPE_ERROR|SQLITE_MISMATCH|datatype mismatch", SqliteTypeError, ""),
    (r"overloaded|requests queued|exceeded timeout", SqliteOverloadedError, ""),
    (r"network connection lost|client disconnected|SQLITE_BUSY|SQLITE_LOCKED|transient", SqliteTransientError, ""),
    (r"object to be reset|reset because its code was updated|cannot resolve d1 db", SqliteTransientError, ""),
    (r"SQL BEGIN TRANSACTION", SqliteSyntaxError, "use batch(), which is a transaction"),
    (r"SQLITE_AUTH|not authorized", SqliteSyntaxError, "this statement is not allowed here"),
    (r"malformed JSON|overflow|exceeded|too many (?:API|subrequests)", SqliteError, ""),
    (r"different request|outside of a request", SqliteError, "use a client in the request whose env it was made with"),
    (r"SQLITE_ERROR|syntax error|No SQL statements|not contain a statement", SqliteSyntaxError, ""),
    (r"parameter bindings|D1_EXEC_ERROR", SqliteSyntaxError, ""),
)
"""Patterns in the order in which they are tried, the error that each means, and advice to add to the message."""


def map_error(text: str, sql: str | None = None) -> SqliteError:
    """Return the error for what the engine said."""
    plain = re.sub(r"^(?:Error: )?(?:D1_\w+: )+", "", text)
    by_sqlite = "SQLITE_ERROR" in text  # the message may then quote the statement, which says nothing about the engine
    for pattern, kind, advice in _RULES:
        if by_sqlite and issubclass(kind, SqliteTransientError):
            continue
        if re.search(pattern, text, re.IGNORECASE) or re.search(pattern, plain, re.IGNORECASE):
            return kind(f"{plain} ({advice})" if advice else plain, sql)
    return SqliteError(plain, sql)


def did_not_run(text: str) -> bool:
    """Return whether D1 turned the statements away before any of them ran, so that even writes are safe to repeat."""
    return re.search(r"requests queued|cannot resolve d1 db", text, re.IGNORECASE) is not None


def is_read(sql: str) -> bool:
    """Return whether this certainly only reads.

    A statement that begins with WITH, PRAGMA or a comment may write, and so may the second of two: D1 runs both.
    """
    sql = sql.strip()
    return sql[:7].upper().rstrip() == "SELECT" and ";" not in sql[:-1]
