"""Noticing commits: those of this client immediately, those of other processes within a few milliseconds.

``PRAGMA data_version`` returns another number after a commit of another connection
(https://sqlite.org/pragma.html#pragma_data_version). It reads shared memory in about 3 microseconds and never waits for
a lock, so a timer on the event loop polls it while anything is waiting. One connection and one timer per loop serve any
number of waiters.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from .file import OpenFile

__all__ = ["Watcher"]

_QUIET_AFTER_S = 1.0
_QUIET_INTERVAL_S = 0.01


class _LoopWaiters:
    """The waiters of one event loop, and the timer that polls for them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, watcher: Watcher) -> None:
        self.loop = loop
        self.futures: set[asyncio.Future[None]] = set()
        self._watcher = watcher
        self._ticking = False
        self._woken = False

    def start(self) -> None:
        """Start polling, until no waiter is left."""
        if not self._ticking:
            self._ticking = True
            self.loop.call_later(self._watcher.pause_s(), self._tick)

    def wake(self) -> None:
        """Wake all waiters; runs on the loop."""
        self._woken = False
        futures, self.futures = self.futures, set()
        for future in futures:
            if not future.done():
                future.set_result(None)

    def wake_threadsafe(self) -> None:
        """Wake all waiters from any thread; calls made before the loop runs are combined into one wake-up."""
        if self._woken or not self.futures:
            return
        self._woken = True
        try:
            self.loop.call_soon_threadsafe(self.wake)
        except RuntimeError:  # the loop was closed, so no waiter is left
            self.futures = set()

    def _tick(self) -> None:
        if not self.futures:
            self._ticking = False
            return
        self._watcher.look()
        self.loop.call_later(self._watcher.pause_s(), self._tick)


class Watcher:
    """The change token of one client, and the calls that wait for it to move.

    The token moves at every commit of the client, and when ``look`` finds that another connection has committed, or
    that the file is gone, which a waiter learns by reading. A
    waiter registers before it compares the token, and the token moves before waiters are woken, so that no change is
    missed in between.
    """

    def __init__(
        self, interval_s: float, connect: Callable[[], sqlite3.Connection] | None, file: OpenFile | None = None
    ) -> None:
        self._interval_s = interval_s
        self._file = file or OpenFile(None)
        self._told_of_loss = False
        self._connect = connect
        self._moved_at = time.monotonic()
        self._token = 0
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._seen = -1
        self._look_lock = threading.Lock()  # guards the connection and the last version seen
        self._lock = threading.Lock()  # guards the rest, and is only held briefly
        self._loops: dict[asyncio.AbstractEventLoop, _LoopWaiters] = {}
        self._closed = False

    @property
    def token(self) -> int:
        """The current token."""
        return self._token

    @property
    def is_open(self) -> bool:
        """Whether commits of other connections are noticed, or cannot occur."""
        return self._connection is not None or self._connect is None

    def pause_s(self) -> float:
        """Return the seconds until the next poll: longer once nothing has happened for a second."""
        if time.monotonic() - self._moved_at < _QUIET_AFTER_S:
            return self._interval_s
        return max(self._interval_s, _QUIET_INTERVAL_S)

    def open(self) -> None:
        """Begin to notice commits of other connections; earlier ones count as a change. Blocks: not for the loop."""
        with self._look_lock:
            if self.is_open or self._closed or self._connect is None:
                return
            self._connection = self._connect()
            self._cursor = self._connection.cursor()
        self.look()

    async def wait(self, since: int, timeout_s: float) -> int:
        """Wait until the token differs from ``since``, at most ``timeout_s`` seconds, and return it."""
        loop = asyncio.get_running_loop()
        waiters = self._waiters(loop)
        future: asyncio.Future[None] = loop.create_future()
        waiters.futures.add(future)
        timer: asyncio.TimerHandle | None = None
        try:
            self.look()
            if self._token == since and timeout_s > 0 and not self._closed:
                waiters.start()
                timer = loop.call_later(timeout_s, _finish, future)
                await future
            return self._token
        finally:
            waiters.futures.discard(future)
            if timer is not None:
                timer.cancel()

    def look(self) -> None:
        """Move the token if another connection has committed since the last call. Never waits."""
        if self._look_lock.acquire(blocking=False):  # otherwise its holder is looking, and will wake the waiters
            try:
                changed = self._data_version_moved()
            finally:
                self._look_lock.release()
            if changed:
                self._move()

    def committed(self) -> None:
        """Move the token after a commit of this client's writer; called on the writer's thread.

        To the watching connection that commit is another's, which the next poll would report again, so its version is
        marked as seen. Commits of other processes that this skips are covered by the same move.
        """
        if any(waiters.futures for waiters in self._loops_now()):
            with self._look_lock:
                self._data_version_moved()
        self._move()

    def close(self) -> None:
        """Wake all waiters and close the connection."""
        with self._lock:
            self._closed = True
        with self._look_lock:
            connection, self._connection, self._cursor = self._connection, None, None
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
        self._move()

    def _data_version_moved(self) -> bool:
        if self._cursor is None:
            return False
        if self._file.is_lost and not self._told_of_loss:
            self._told_of_loss = True
            return True
        try:
            version = self._cursor.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error:  # locked: the commit will still show at the next poll
            return False
        if version == self._seen:
            return False
        self._seen = version
        return True

    def _move(self) -> None:
        with self._lock:
            self._token += 1
            self._moved_at = time.monotonic()
        for waiters in self._loops_now():
            waiters.wake_threadsafe()

    def _waiters(self, loop: asyncio.AbstractEventLoop) -> _LoopWaiters:
        with self._lock:
            waiters = self._loops.get(loop)
            if waiters is None:
                for old in [old for old in self._loops if old.is_closed()]:
                    del self._loops[old]
                waiters = self._loops[loop] = _LoopWaiters(loop, self)
            return waiters

    def _loops_now(self) -> list[_LoopWaiters]:
        with self._lock:
            return list(self._loops.values())


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
