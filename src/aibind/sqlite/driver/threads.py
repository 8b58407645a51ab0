"""Engines that run jobs: on threads, or inline on the caller where there are none (Pyodide).

A thread refers to its engine but not to the client, so that a client that is no longer referenced is shut down.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import Protocol

from ...errors import SqliteError
from .connection import Settings, connect, pause
from .errors import closed_error, is_busy, map_error
from .group import Committer, fail_all, run_steps
from .jobs import Job, post_all
from .watch import Watcher

__all__ = ["Engine", "InlineEngine", "ThreadedEngine"]

_MAX_GROUP_JOBS = 500
_PAUSE_S = 1.0
_EXIT_PATIENCE_S = 5.0


class Engine(Protocol):
    """An executor of jobs, which settles each of them."""

    def submit(self, job: Job, *, read: bool) -> None:
        """Accept a job; ``read`` is True when it changes nothing. Raises SqliteError after :meth:`stop`."""
        ...

    def stop(self) -> Future[None]:
        """Accept no more jobs; the returned future is done when all accepted jobs are."""
        ...

    def abandon(self) -> None:
        """Stop because the client was garbage-collected or the interpreter exits; never block a running event loop."""
        ...


class InlineEngine:
    """An engine that runs each job immediately on its caller, with one connection for reads and writes."""

    def __init__(self, settings: Settings, watcher: Watcher) -> None:
        self._watcher = watcher
        self._committer = Committer(settings, watcher.committed)
        self._lock = threading.Lock()
        self._stopped: Future[None] = Future()

    def submit(self, job: Job, *, read: bool) -> None:  # noqa: ARG002 - reads and writes share the connection
        """Run a job."""
        with self._lock:
            if self._stopped.done():
                raise closed_error(job.steps[0].sql if job.steps else None)
            self._committer.run([job])
        job.settle()

    def stop(self) -> Future[None]:
        """Close the connection."""
        with self._lock:
            if not self._stopped.done():
                self._watcher.close()
                self._committer.close()
                self._stopped.set_result(None)
        return self._stopped

    def abandon(self) -> None:
        """Close the connection."""
        self.stop()


class ThreadedEngine:
    """An engine that groups writes on one thread, and reads on a few others, which never wait for the writer.

    Threads start when they are first needed.
    """

    def __init__(self, settings: Settings, watcher: Watcher, readers: int) -> None:
        self._settings = settings
        self._watcher = watcher
        self._writes: SimpleQueue[Job | None] = SimpleQueue()
        self._reads: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None
        self._readers: list[threading.Thread] = []
        self._max_readers = readers
        self._open_reads = 0  # queued or running
        self._process: int | None = None
        self._stopping = False
        self._stopped: Future[None] = Future()

    def submit(self, job: Job, *, read: bool) -> None:
        """Queue a job for the writer or for a reader."""
        with self._lock:  # so that nothing is queued behind the sentinel that stops a thread
            if self._stopping:
                raise closed_error(job.steps[0].sql if job.steps else None)
            if self._process is None:
                self._writer = _start(self._write, "writer")  # needed even without writes: it stops the readers
                self._process = os.getpid()
            elif self._process != os.getpid():
                raise SqliteError(
                    "This SQLite client was used before the process forked, and its connections do not survive a fork: "
                    "make a new one with wrap_sqlite3() in the child process"
                )
            if not read:
                self._writes.put(job)
                return
            if len(self._readers) < min(self._open_reads + 1, self._max_readers):
                self._readers.append(_start(self._read, f"reader-{len(self._readers) + 1}"))
            self._open_reads += 1
            self._reads.put(job)

    def stop(self) -> Future[None]:
        """Let the threads finish the queued jobs and end."""
        with self._lock:
            if not self._stopping:
                self._stopping = True
                if self._process != os.getpid():  # never used, or used only before a fork
                    self._stopped.set_result(None)
                    return self._stopped
                for _ in self._readers:
                    self._reads.put(None)
                self._writes.put(None)
        return self._stopped

    def abandon(self) -> None:
        """Stop the threads, and wait up to 5 s for the writer unless called on one of them or with a running loop."""
        if self._process != os.getpid():
            return
        self.stop()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self._writer is not None and threading.current_thread() not in (self._writer, *self._readers):
                self._writer.join(_EXIT_PATIENCE_S)

    # --- on the threads ----------------------------------------------------------------------------------------------

    def _write(self) -> None:
        committer = Committer(self._settings, self._watcher.committed)
        try:
            while (group := self._gather(committer)) is not None:
                try:
                    committer.run(group)
                except BaseException as error:  # must not happen, but no caller may be left waiting
                    fail_all(group, error)
                post_all(group)
                del group  # it would keep the last results alive until the next job
            for reader in self._readers:
                reader.join()
            self._watcher.close()
            committer.close()
        finally:
            self._stopped.set_result(None)

    def _gather(self, committer: Committer) -> list[Job] | None:
        """Wait for jobs and return all that are queued; None after the last. Checkpoint the WAL in a pause."""
        try:
            first = self._writes.get(timeout=_PAUSE_S if committer.is_dirty else None)
        except Empty:
            committer.look_after_wal()
            first = self._writes.get()
        if first is None:
            return None
        group = [first]
        while len(group) < _MAX_GROUP_JOBS and not self._writes.empty():
            job = self._writes.get()
            if job is None:
                self._writes.put(None)  # the sentinel is always last: run these jobs first
                break
            group.append(job)
        return group

    def _read(self) -> None:
        connection: sqlite3.Connection | None = None
        while (job := self._reads.get()) is not None:
            try:
                if job.future.cancelled():
                    pass
                elif job.call is not None:
                    job.call()
                else:
                    deadline = job.since + self._settings.busy_timeout_s
                    connection = connection or connect(self._settings, "reader", deadline)
                    self._settings.file.check()
                    _run_reads(connection, job, deadline)
            except BaseException as error:  # no caller may be left waiting
                job.error = map_error(error, job.steps[0].sql if job.steps else None)
            with self._lock:
                self._open_reads -= 1
            job.mailbox.post((job,))
            del job  # it would keep the last results alive until the next job
        if connection is not None:
            connection.close()


def _run_reads(connection: sqlite3.Connection, job: Job, deadline: float) -> None:
    """Run statements that only read, again until the deadline while another connection holds a lock."""
    while True:
        _read_snapshot(connection, job)
        cause = job.error.__cause__ if job.error is not None else None
        if cause is None or not is_busy(cause) or time.monotonic() >= deadline:
            return
        job.results, job.error = [], None
        pause()


def _read_snapshot(connection: sqlite3.Connection, job: Job) -> None:
    """Run statements that only read; several of them see one snapshot."""
    with closing(connection.cursor()) as cursor:
        if len(job.steps) == 1:
            run_steps(connection, cursor, job)
            return
        cursor.execute("BEGIN")
        try:
            run_steps(connection, cursor, job)
        finally:
            cursor.execute("ROLLBACK")


def _start(target: Callable[[], None], name: str) -> threading.Thread:
    # A daemon, so that a program that did not close the client can exit; see abandon().
    thread = threading.Thread(target=target, name=f"aibind-sqlite-{name}", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise SqliteError(f"A thread cannot be started here ({error}): use wrap_sqlite3(…, threads=False)") from error
    return thread
