"""SQLite on this machine: a :class:`SqliteClient` over the standard library's sqlite3.

::

    async with wrap_sqlite3("chat.db") as client:
        await client.execute("INSERT INTO notes VALUES (?)", ["hello"])

One thread writes, and commits all calls that are waiting as one transaction; a few others read, and never wait for the
writer. The first call opens the database, and raises SqliteError when that fails.
"""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Self

from ..client import SqliteResult, SqliteValue, Statement
from .connection import MEMORY, Settings, Synchronous, connect
from .errors import closed_error
from .file import OpenFile
from .jobs import Job, Mailbox
from .sql import ALONE, Step, kind_of, make_step
from .threads import Engine, InlineEngine, ThreadedEngine
from .watch import Watcher

__all__ = ["SqliteDatabase", "wrap_sqlite3"]

_MAX_READERS = 64


def wrap_sqlite3(
    path: str | os.PathLike[str],
    *,
    synchronous: Synchronous = "NORMAL",
    busy_timeout_ms: float = 30_000,
    readers: int = 4,
    threads: bool | None = None,
    watch_interval_ms: float = 4,
    wal_limit_bytes: int = 64 * 1024 * 1024,
    cached_statements: int = 256,
) -> SqliteDatabase:
    """Wrap the SQLite database at ``path``, which is created if it does not exist; ``":memory:"`` keeps it in memory.

    ``synchronous``: with NORMAL a power cut may lose the last commits but never damages the file, and a killed process
    loses nothing; FULL waits for the disk at each commit.
    ``busy_timeout_ms``: how long a call waits for other processes, in all, before SqliteTransientError is raised; at
    least 0.
    ``readers``: how many threads may read at once, 1 to 64; they start when they are needed.
    ``threads``: False runs every call on the caller, which blocks its event loop; the default does so only in Pyodide,
    where there are no threads.
    ``watch_interval_ms``: how often ``wait_for_change`` looks for commits of other processes, at least 0.1; after a
    second without any, every 10 ms.
    ``wal_limit_bytes``: the size above which the write-ahead log is truncated by force; SQLite itself keeps it at about
    4 MB while no reader or other process is in the way.
    ``cached_statements``: how many compiled statements each connection keeps.

    Raises ValueError for an option that is out of range.
    """
    name = os.fspath(path)
    if not isinstance(name, str) or not name:
        raise ValueError(f"path must be the path of a database file, or ':memory:', not {path!r}")
    if name.startswith("file:"):
        raise ValueError(f"{name!r} is a URI: give a plain path, and the options as arguments")
    if synchronous not in ("OFF", "NORMAL", "FULL", "EXTRA"):
        raise ValueError(f"synchronous must be OFF, NORMAL, FULL or EXTRA, not {synchronous!r}")
    if not 1 <= readers <= _MAX_READERS:
        raise ValueError(f"readers must be from 1 to {_MAX_READERS}, not {readers}")
    for option, value, minimum in (
        ("busy_timeout_ms", busy_timeout_ms, 0),
        ("watch_interval_ms", watch_interval_ms, 0.1),
        ("wal_limit_bytes", wal_limit_bytes, 0),
        ("cached_statements", cached_statements, 0),
    ):
        if not value >= minimum:
            raise ValueError(f"{option} must be at least {minimum}, not {value}")
    if name != MEMORY:
        name = os.path.abspath(name)  # noqa: PTH100 - the working directory may change before connections are opened
    file = OpenFile(None if name == MEMORY else name)
    settings = Settings(name, synchronous, busy_timeout_ms / 1000, wal_limit_bytes, cached_statements, file)
    watcher = Watcher(
        watch_interval_ms / 1000, None if settings.in_memory else partial(connect, settings, "watcher"), file
    )
    if threads is None:
        threads = sys.platform != "emscripten"
    engine = ThreadedEngine(settings, watcher, readers) if threads else InlineEngine(settings, watcher)
    return SqliteDatabase(settings, engine, watcher)


class SqliteDatabase:
    """A client of one local database, returned by :func:`wrap_sqlite3`. A :class:`WatchableSqliteClient`.

    It may be used from any number of tasks, event loops and threads. Cancelling a call does not undo it: a queued write
    still runs. Reads (SELECT, VALUES, EXPLAIN) run on other connections than writes: use RETURNING rather than
    ``last_insert_rowid()``. After ATTACH or CREATE TEMP, whose effect only the writing connection sees, that connection
    does the reading as well, in turn with the writes.

    BEGIN, COMMIT and the like raise SqliteSyntaxError: use ``batch``. VACUUM, PRAGMA, ATTACH and DETACH run outside
    transactions when given to ``execute``, on the writing connection.

    When the file is removed or replaced while it is open, calls fail with SqliteError within a second, until a new
    client is made.

    Close it with ``await client.aclose()`` or use it in ``async with``. A client that is garbage-collected is shut down
    as well.
    """

    shares_wakeups = True
    """Tasks that use one client may wake each other."""

    def __init__(self, settings: Settings, engine: Engine, watcher: Watcher) -> None:
        self.path = settings.path
        self._engine = engine
        self._watcher = watcher
        self._one_connection = settings.in_memory
        self._mailboxes: dict[asyncio.AbstractEventLoop, Mailbox] = {}
        self._closed = False
        self._finalizer = weakref.finalize(self, engine.abandon)

    def __repr__(self) -> str:
        return f"<SqliteDatabase {self.path!r}{' closed' if self._closed else ''}>"

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        """Run one statement and return its rows."""
        return (await self._start((make_step(sql, args),)))[0]

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        """Run several statements in one transaction, all or nothing, and return their results in order."""
        if not statements:
            if self._closed:
                raise closed_error()
            return []
        return await self._start(tuple(make_step(statement.sql, statement.args) for statement in statements))

    @property
    def change_token(self) -> int:
        """The version of the database. Read it before the query whose result ``wait_for_change`` is to wait for."""
        return self._watcher.token

    async def wait_for_change(self, since: int, timeout_s: float) -> int:
        """Wait for a commit after the token ``since``, at most ``timeout_s`` seconds, and return the current token.

        An unchanged token means the timeout expired. Commits of this client are noticed immediately, those of other
        connections and processes at the next poll. The call may return early, but misses no commit.
        """
        if not self._watcher.is_open and not self._closed:
            loop = asyncio.get_running_loop()
            await self._submit(Job((), ALONE, loop.create_future(), self._mailbox(loop), self._watcher.open), read=True)
        token = await self._watcher.wait(since, timeout_s)
        if self._closed:
            raise closed_error()
        return token

    async def aclose(self) -> None:
        """Wait for earlier calls, copy the write-ahead log into the database, and close it.

        Later calls raise SqliteError; closing again does nothing.
        """
        self._closed = True
        self._finalizer.detach()
        stopped: Future[None] = self._engine.stop()
        if not stopped.done():
            # Shielded: cancelling one caller must not cancel the close that others wait for.
            await asyncio.shield(asyncio.wrap_future(stopped))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- submitting jobs ---------------------------------------------------------------------------------------------

    def _start(self, steps: tuple[Step, ...]) -> asyncio.Future[list[SqliteResult]]:
        kind = kind_of(steps)
        if kind.private:
            self._one_connection = True
        loop = asyncio.get_running_loop()
        job = Job(steps, kind, loop.create_future(), self._mailbox(loop))
        return self._submit(job, read=kind.reads and not self._one_connection)

    def _submit(self, job: Job, *, read: bool) -> asyncio.Future[list[SqliteResult]]:
        self._engine.submit(job, read=read)
        return job.future

    def _mailbox(self, loop: asyncio.AbstractEventLoop) -> Mailbox:
        mailbox = self._mailboxes.get(loop)
        if mailbox is None:
            # Closed loops are dropped; replacing the whole dict keeps look-ups in other threads safe.
            kept = {old: box for old, box in list(self._mailboxes.items()) if not box.is_closed}
            mailbox = kept[loop] = Mailbox(loop)
            self._mailboxes = kept
        return mailbox
