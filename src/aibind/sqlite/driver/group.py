"""Group commit: all waiting calls share one transaction, in which each succeeds or fails independently.

A transaction costs far more than a statement in it, so many callers share one. They are isolated from each other:

* a single statement that fails undoes itself; the statements of one batch run in a savepoint;
* some failures affect more than the failing call: SQLite rolled the whole transaction back, COMMIT failed because of a
  deferred constraint or a full disk, or a statement kept part of its changes (``OR FAIL``). No caller has a result yet
  at that point, so the transaction is rolled back and each call runs again in a separate one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from ...errors import SqliteError
from ..client import SqliteResult
from .connection import Settings, connect, retry_busy
from .errors import is_busy, map_error
from .jobs import Job
from .sql import Step

__all__ = ["Committer", "fail_all", "run_steps"]

_IDLE_WAL_BYTES = 1024 * 1024
_WAL_LOOK_EVERY = 32  # commits
_WAL_PATIENCE_S = 0.1
_WAL_REST = 10  # pause, in durations of the last attempt: failing attempts take at most a tenth of the time


def _run_step(connection: sqlite3.Connection, cursor: sqlite3.Cursor, step: Step) -> SqliteResult:
    """Run one statement and fetch all its rows, so that no cursor stays open; raises the driver's own errors."""
    before = connection.total_changes
    cursor.execute(step.sql, step.args)
    if cursor.description is None:
        return SqliteResult([], 0, connection.total_changes - before)
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=False)) for row in cursor]  # the lengths always match: skip the check
    return SqliteResult(rows, len(rows), connection.total_changes - before)


def run_steps(connection: sqlite3.Connection, cursor: sqlite3.Cursor, job: Job) -> None:
    """Run the statements of a job up to the first that fails, and store their results or its error in the job."""
    for step in job.steps:
        try:
            job.results.append(_run_step(connection, cursor, step))
        except Exception as error:
            job.results, job.error = [], map_error(error, step.sql)
            return


def fail_all(jobs: list[Job], error: BaseException) -> None:
    """Store in each job a separate copy of the error that stopped all of them."""
    for job in jobs:
        mapped = map_error(error, job.steps[0].sql if job.steps else None)
        job.error = mapped if mapped is not error else _copy(mapped, job)


def _copy(error: SqliteError, job: Job) -> SqliteError:
    copy = type(error)(str(error), job.steps[0].sql if job.steps else None)
    copy.__cause__ = error.__cause__
    return copy


def _is_plain_read(job: Job) -> bool:
    return job.kind.reads and len(job.steps) == 1


class Committer:
    """The owner of the writing connection; used by one thread, or under a lock.

    ``on_commit`` is called after each transaction that may have changed something.
    """

    def __init__(self, settings: Settings, on_commit: Callable[[], None]) -> None:
        self._settings = settings
        self._on_commit = on_commit
        self._connection: sqlite3.Connection | None = None
        self._commits = 0
        self._next_wal_look = 0.0
        self.is_dirty = False
        """Whether there were commits since :meth:`look_after_wal` was last called."""

    def run(self, jobs: list[Job]) -> None:
        """Run jobs in order, and store in each its results or its error. Never raises a job's error."""
        try:
            connection = self._connection or self._open(min(map(self._deadline, jobs)))
            self._settings.file.check()
        except Exception as error:
            fail_all(jobs, error)
            return
        if len(jobs) == 1 and _is_plain_read(jobs[0]):
            self._run_alone(connection, jobs[0])
            return
        together: list[Job] = []
        for job in jobs:
            if job.kind.alone:
                self._run_together(connection, together)
                together = []
                self._run_alone(connection, job)
            else:
                together.append(job)
        self._run_together(connection, together)
        self._keep_wal_small()

    def look_after_wal(self) -> None:
        """Copy a WAL of more than 1 MiB into the database and truncate it; meant for a pause between writes."""
        self.is_dirty = False
        if self._wal_bytes() > _IDLE_WAL_BYTES:
            self._truncate_wal()

    def close(self) -> None:
        """Copy the WAL into the database and close the connection."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not self._settings.in_memory:
            with suppress(sqlite3.Error):  # another process may be using the WAL, and will do it
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with suppress(sqlite3.Error):
            connection.close()

    def _open(self, deadline: float) -> sqlite3.Connection:
        self._connection = connect(self._settings, "writer", deadline)
        return self._connection

    def _deadline(self, job: Job) -> float:
        return job.since + self._settings.busy_timeout_s

    # --- transactions ------------------------------------------------------------------------------------------------

    def _run_together(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        groups = [jobs] if jobs else []
        while groups:
            again = self._transaction(connection, groups.pop(0))
            for job in (job for group in again for job in group):
                job.results, job.error = [], None
            groups = again + groups

    def _transaction(self, connection: sqlite3.Connection, jobs: list[Job]) -> list[list[Job]]:
        """Run jobs in one transaction; return those for which nothing has happened, to be run again, each group alone.

        While the database is busy, each job is waited for until its own deadline.
        """
        cursor = connection.cursor()
        try:
            return [] if self._in_transaction(connection, cursor, jobs) else [[job] for job in jobs]
        except Exception as error:  # BEGIN or COMMIT failed, not a job
            if len(jobs) > 1 and not is_busy(error):
                return [[job] for job in jobs]
            waiting = [job for job in jobs if job.error is None]
            first = min(map(self._deadline, waiting), default=0.0)
            now = max(time.monotonic(), first)
            patient = [job for job in waiting if is_busy(error) and self._deadline(job) > now]
            fail_all([job for job in waiting if job not in patient], error)
            return [patient] if patient else []
        finally:
            cursor.close()  # a statement that failed between two rows would stay open otherwise
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")

    def _in_transaction(self, connection: sqlite3.Connection, cursor: sqlite3.Cursor, jobs: list[Job]) -> bool:
        reads_only = all(job.kind.reads for job in jobs)
        begin = "BEGIN" if reads_only else "BEGIN IMMEDIATE"
        deadline = min(map(self._deadline, jobs))
        retry_busy(lambda: cursor.execute(begin), deadline)
        shared = len(jobs) > 1
        for job in jobs:
            before = connection.total_changes
            if shared and len(job.steps) > 1:
                self._run_in_savepoint(connection, cursor, job)
            else:
                run_steps(connection, cursor, job)
            if job.error is None:
                continue
            if not shared:
                return True  # the caller rolls back everything that the job did
            if not connection.in_transaction or (len(job.steps) == 1 and connection.total_changes != before):
                return False
        retry_busy(lambda: cursor.execute("COMMIT"), deadline)
        if not reads_only:
            self._commits += 1
            self.is_dirty = True
            self._on_commit()
        return True

    def _run_in_savepoint(self, connection: sqlite3.Connection, cursor: sqlite3.Cursor, job: Job) -> None:
        cursor.execute("SAVEPOINT job")
        run_steps(connection, cursor, job)
        if job.error is not None and connection.in_transaction:
            cursor.execute("ROLLBACK TO job")
        if connection.in_transaction:
            cursor.execute("RELEASE job")

    def _run_alone(self, connection: sqlite3.Connection, job: Job) -> None:
        cursor = connection.cursor()
        try:
            if job.call is not None:
                job.call()
            for step in job.steps:
                run = partial(_run_step, connection, cursor, step)
                job.results.append(retry_busy(run, self._deadline(job)))
        except Exception as error:
            job.error = map_error(error, job.steps[0].sql if job.steps else None)
        finally:
            cursor.close()
        if job.steps and not _is_plain_read(job):
            self.is_dirty = True
            self._on_commit()

    # --- the WAL -----------------------------------------------------------------------------------------------------

    def _keep_wal_small(self) -> None:
        """Truncate a WAL that has outgrown its limit although SQLite checkpoints every 1,000 pages.

        A checkpoint resets the WAL only while no reader uses it, which with several processes may never be the case.
        """
        if self._commits < _WAL_LOOK_EVERY:
            return
        self._commits = 0
        began = time.monotonic()
        if began >= self._next_wal_look and self._wal_bytes() > self._settings.wal_limit_bytes:
            self._truncate_wal()
            now = time.monotonic()
            self._next_wal_look = now + (now - began) * _WAL_REST

    def _truncate_wal(self) -> None:
        """Wait briefly for readers of the WAL, and reset it to be empty."""
        connection = self._connection
        if connection is None:
            return
        with suppress(sqlite3.Error):
            connection.execute(f"PRAGMA busy_timeout = {int(_WAL_PATIENCE_S * 1000)}")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA busy_timeout = 0")

    def _wal_bytes(self) -> int:
        if self._settings.in_memory:
            return 0
        try:
            return os.stat(self._settings.path + "-wal").st_size  # noqa: PTH116 - cheaper than Path, and called often
        except OSError:
            return 0
