"""The standard library's sqlite3 behind one writer thread. No other package of aibind uses threads."""

from __future__ import annotations

from .database import SqliteDatabase, wrap_sqlite3

__all__ = ["SqliteDatabase", "wrap_sqlite3"]
