"""Translation of the sqlite3 module's errors into those of :mod:`aibind.errors`.

The numbers are SQLite's primary result codes (https://sqlite.org/rescode.html). Errors that the sqlite3 module raises
before it calls SQLite have no code; they are told apart by type and message.
"""

from __future__ import annotations

import re
import sqlite3

from ...errors import (
    SqliteConstraintError,
    SqliteError,
    SqliteSchemaError,
    SqliteSyntaxError,
    SqliteTooLargeError,
    SqliteTransientError,
    SqliteTypeError,
)

__all__ = ["closed_error", "is_busy", "map_error", "primary_code"]

_MISSING = re.compile(r"no such table|no such column|has no column named")
_OVER_LIMIT = re.compile(r"^too many |too large|too deep|parser stack overflow|at most \d+ tables")
_WHILE_RUNNING = re.compile(r"json|overflow|too complex", re.IGNORECASE)

_BUSY_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})

# The transaction was rolled back, and another attempt succeeds once there is room. A limit of the file's size, or a
# quota, is told as a failed write, and so is shared memory that cannot grow.
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})

_ADVICE = {
    sqlite3.SQLITE_PERM: "the operating system denies this process access to the file: check its permissions",
    sqlite3.SQLITE_READONLY: "the database can only be read: check the permissions of the file and of its folder",
    sqlite3.SQLITE_IOERR: "reading or writing the file failed: check the disk",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: run PRAGMA integrity_check, and restore it from a backup",
    sqlite3.SQLITE_FULL: "the disk, or the space allowed to the database, is full: make room; nothing was written",
    sqlite3.SQLITE_CANTOPEN: "a file could not be opened: check that its folder exists and is writable",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database: choose another path",
    sqlite3.SQLITE_NOMEM: "out of memory",
}


def primary_code(error: BaseException) -> int | None:
    """Return SQLite's primary result code; None when the error did not come from SQLite itself."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def is_busy(error: BaseException) -> bool:
    """Return whether another connection held a lock, so that nothing happened and a retry may succeed."""
    return primary_code(error) in _BUSY_CODES


def closed_error(sql: str | None = None) -> SqliteError:
    """Return the error for a call on a closed client."""
    return SqliteError("The SQLite client is closed: make a new one with wrap_sqlite3()", sql)


def map_error(error: BaseException, sql: str | None = None) -> SqliteError:
    """Return the ``Sqlite…`` error for a driver's error, with the latter as its ``__cause__``."""
    if isinstance(error, SqliteError):
        return error
    mapped = _map(error)
    mapped.sql = sql
    mapped.__cause__ = error
    return mapped


def _map(error: BaseException) -> SqliteError:
    text = str(error)
    code = primary_code(error)
    if code is None:
        return _map_uncoded(error, text)
    if code in _BUSY_CODES:
        return SqliteTransientError(f"Another connection kept the database busy for too long ({text})")
    if getattr(error, "sqlite_errorcode", None) in _NO_ROOM:
        return SqliteTransientError(f"{text}: {_ADVICE[sqlite3.SQLITE_FULL]}")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return SqliteConstraintError(text)
    if code == sqlite3.SQLITE_TOOBIG:
        return SqliteTooLargeError(f"A value, a row or the statement is over SQLite's limit ({text})")
    if code == sqlite3.SQLITE_MISMATCH:
        return SqliteTypeError(f"A value does not fit the type of its column ({text})")
    if code == sqlite3.SQLITE_AUTH:
        return SqliteSyntaxError(f"The statement is not allowed ({text})")
    if code == sqlite3.SQLITE_ERROR:
        return _map_by_message(text)
    advice = _ADVICE.get(code)
    return SqliteError(f"{text}: {advice}" if advice else text)


def _map_by_message(text: str) -> SqliteError:
    """Distinguish the errors that share the code SQLITE_ERROR: mostly statements that do not compile."""
    if _MISSING.search(text):
        return SqliteSchemaError(f'{text}: apply the schema ("aibind schema" prints it; aibind.sqlite.migrate does it)')
    if _OVER_LIMIT.search(text):
        return SqliteTooLargeError(f"The statement is over one of SQLite's limits ({text})")
    if _WHILE_RUNNING.search(text):
        return SqliteError(text)
    return SqliteSyntaxError(text)


def _map_uncoded(error: BaseException, text: str) -> SqliteError:
    """Map errors that the sqlite3 module or Python raised before SQLite was called."""
    if isinstance(error, UnicodeEncodeError):
        return SqliteTypeError(
            "A string holds a lone surrogate (half of a character), which cannot be stored as UTF-8: "
            "replace it, or store the string as JSON with ASCII escapes"
        )
    if isinstance(error, OverflowError):
        if "INT_MAX" in text:
            return SqliteTooLargeError(f"A value is over SQLite's limit ({text})")
        return SqliteTypeError("An integer does not fit SQLite's 64 bits: store it as text")
    if isinstance(error, MemoryError):
        return SqliteError("Out of memory")
    if isinstance(error, sqlite3.DataError):
        return SqliteTooLargeError(f"The statement is over SQLite's limit ({text})")
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
        if "binding parameter" in text:
            return SqliteTypeError(text)
        if "one statement at a time" in text:
            return SqliteSyntaxError("execute() runs one statement: use batch() for several")
        return SqliteSyntaxError(text)
    return SqliteError(text or type(error).__name__)
