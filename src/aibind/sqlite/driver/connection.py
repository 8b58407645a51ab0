"""Opening configured connections, and explaining failures."""

from __future__ import annotations

import random
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from ...errors import SqliteError
from .errors import is_busy, map_error
from .file import OpenFile

__all__ = ["MEMORY", "Settings", "Synchronous", "connect", "pause", "retry_busy"]

Synchronous: TypeAlias = Literal["OFF", "NORMAL", "FULL", "EXTRA"]
"""SQLite's levels of durability against power loss (https://sqlite.org/pragma.html#pragma_synchronous)."""

T = TypeVar("T")

MEMORY = ":memory:"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that all connections of one client share."""

    path: str
    synchronous: Synchronous = "NORMAL"
    busy_timeout_s: float = 30.0
    wal_limit_bytes: int = 64 * 1024 * 1024
    cached_statements: int = 256
    file: OpenFile = field(default_factory=lambda: OpenFile(None), compare=False)

    @property
    def in_memory(self) -> bool:
        """Whether the database exists only in its one connection."""
        return self.path == MEMORY


def retry_busy(action: Callable[[], T], deadline: float) -> T:
    """Retry ``action`` while another connection holds a lock, until ``deadline`` by the monotonic clock.

    SQLite's own busy handler backs off to 0.1 s, which starves a connection that competes with commits every few
    milliseconds; short random sleeps share the lock more fairly.
    """
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
        pause()


def pause() -> None:
    """Sleep until a lock may be free."""
    time.sleep(random.uniform(0.0005, 0.004))


def connect(
    settings: Settings, role: Literal["writer", "reader", "watcher"], deadline: float | None = None
) -> sqlite3.Connection:
    """Open a connection. Blocks until ``deadline``, or for the busy timeout; raises the ``Sqlite…`` errors.

    The first connection creates the file and switches its journal to a WAL, whatever its role.
    """
    try:
        connection = sqlite3.connect(
            settings.path,
            timeout=0,  # it is waited in retry_busy instead, and a watcher must never wait
            isolation_level=None,
            check_same_thread=False,
            cached_statements=settings.cached_statements,
        )
    except (sqlite3.Error, ValueError, UnicodeEncodeError) as error:
        raise _open_error(settings, error) from error
    try:
        if deadline is None:
            deadline = time.monotonic() + settings.busy_timeout_s
        retry_busy(lambda: _configure(connection, settings, role), deadline)
        settings.file.connected()
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise _open_error(settings, error) from error
        raise
    return connection


def _configure(connection: sqlite3.Connection, settings: Settings, role: str) -> None:
    with closing(connection.cursor()) as cursor:
        if not settings.in_memory and sys.platform != "emscripten":  # a WAL needs shared memory
            cursor.execute("PRAGMA journal_mode = WAL")
        else:
            cursor.execute("SELECT 1 FROM sqlite_master").fetchall()  # fails now if this is not a database
        cursor.execute(f"PRAGMA synchronous = {settings.synchronous}")
        cursor.execute("PRAGMA foreign_keys = ON")
        # The space that a large transaction or a long reader took in the WAL is freed when the WAL is reset.
        cursor.execute(f"PRAGMA journal_size_limit = {settings.wal_limit_bytes // 4}")
        if role != "writer":
            cursor.execute("PRAGMA query_only = ON")


def _open_error(settings: Settings, error: BaseException) -> SqliteError:
    path = Path(settings.path)
    try:
        if path.is_dir():
            return SqliteError(f'"{path}" is a folder: give the path of a database file')
        if not path.absolute().parent.is_dir():
            return SqliteError(f'The folder of "{path}" does not exist: create it, or choose another path')
    except (OSError, ValueError):
        pass  # not a valid path: the driver's message has to do
    mapped = map_error(error)
    return type(mapped)(f'"{path}" cannot be opened: {mapped}')
