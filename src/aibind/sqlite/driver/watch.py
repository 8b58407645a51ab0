"""Noticing that somebody committed: this process at once, another within a few milliseconds.

SQLite tells a connection through ``PRAGMA data_version`` whether others have committed
(https://sqlite.org/pragma.html#pragma_data_version). It is a look at shared memory, about 3 microseconds, without
waiting for anybody, and so it is done on the event loop by a timer that runs only while someone waits. However many
wait, there is one connection and, on each loop, one timer.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Watcher"]

_QUIET_AFTER_S = 1.0
_QUIET_INTERVAL_S = 0.01


class _LoopWaiters:
    """Is those who wait on one event loop, and the timer that looks for them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, watcher: Watcher) -> None:
        self.loop = loop
        self.futures: set[asyncio.Future[None]] = set()
        self._watcher = watcher
        self._ticking = False
        self._woken = False

    def start(self) -> None:
        """Look from now on, until nobody waits any more."""
        if not self._ticking:
            self._ticking = True
            self.loop.call_later(self._watcher.pause_s(), self._tick)

    def wake(self) -> None:
        """Let all go on; runs on the loop."""
        self._woken = False
        futures, self.futures = self.futures, set()
        for future in futures:
            if not future.done():
                future.set_result(None)

    def wake_threadsafe(self) -> None:
        """Let all go on, from any thread; one wake-up, however often it is called before the loop gets to it."""
        if self._woken or not self.futures:
            return
        self._woken = True
        try:
            self.loop.call_soon_threadsafe(self.wake)
        except RuntimeError:  # the loop was closed, and those who waited with it
            self.futures = set()

    def _tick(self) -> None:
        if not self.futures:
            self._ticking = False
            return
        self._watcher.look()
        self.loop.call_later(self._watcher.pause_s(), self._tick)


class Watcher:
    """Holds the change token of one client, and those who wait for it to move.

    The token moves at every commit of the client itself, and whenever ``look`` sees that others committed. Whoever
    waits is registered before the token is compared, and the token moves before those who wait are woken: no change
    falls in between.
    """

    def __init__(self, interval_s: float, connect: Callable[[], sqlite3.Connection] | None) -> None:
        self._interval_s = interval_s
        self._connect = connect
        self._moved_at = time.monotonic()
        self._token = 0
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._seen = -1
        self._look_lock = threading.Lock()  # guards the connection and what it has seen
        self._lock = threading.Lock()  # guards the rest; never held for long
        self._loops: dict[asyncio.AbstractEventLoop, _LoopWaiters] = {}
        self._closed = False

    @property
    def token(self) -> int:
        """Tell the token as it is."""
        return self._token

    @property
    def is_open(self) -> bool:
        """Say whether other connections' commits are seen, as far as there can be any."""
        return self._connection is not None or self._connect is None

    def pause_s(self) -> float:
        """Tell how long to rest between two looks: longer once nothing has happened for a second."""
        if time.monotonic() - self._moved_at < _QUIET_AFTER_S:
            return self._interval_s
        return max(self._interval_s, _QUIET_INTERVAL_S)

    def open(self) -> None:
        """Begin to see other connections' commits; any that came before count as a change. Blocks: not on a loop."""
        with self._look_lock:
            if self.is_open or self._closed or self._connect is None:
                return
            self._connection = self._connect()
            self._cursor = self._connection.cursor()
        self.look()

    async def wait(self, since: int, timeout_s: float) -> int:
        """Wait until the token is another than ``since`` or the time is up, and return it."""
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
        """Move the token if another connection has committed since the last look. Never waits."""
        if self._look_lock.acquire(blocking=False):  # whoever has it is looking, and will wake us
            try:
                changed = self._data_version_moved()
            finally:
                self._look_lock.release()
            if changed:
                self._move()

    def committed(self) -> None:
        """Move the token, because this client's own writer has committed; called on its thread.

        That commit would be seen again at the next look, as it was made on another connection, so take it for seen.
        Commits of others that are passed over by this are covered by this very move.
        """
        if any(waiters.futures for waiters in self._loops_now()):
            with self._look_lock:
                self._data_version_moved()
        self._move()

    def close(self) -> None:
        """Let all go on who wait, and close the connection."""
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
        try:
            version = self._cursor.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error:  # busy for a moment: what was committed will still show next time
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
