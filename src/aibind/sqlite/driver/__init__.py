"""The standard library's sqlite3 behind one writer thread: the only place in aibind that knows threads."""

from __future__ import annotations

from .database import SqliteDatabase, wrap_sqlite3

__all__ = ["SqliteDatabase", "wrap_sqlite3"]
