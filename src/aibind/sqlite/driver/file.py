"""Noticing that the file of an open database was removed or replaced.

SQLite goes on in a file that has no name any more: every call succeeds, and nothing of it can be found later.
"""

from __future__ import annotations

import os
import time

from ...errors import SqliteError

__all__ = ["OpenFile"]

_LOOK_EVERY_S = 0.5


class OpenFile:
    """The file that a client's first connection opened; None for a database in memory.

    Once it is found to be another or none, that stays so: connections hold the old file, and what they write is lost.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._next_look = 0.0
        self._lost: str | None = None

    def connected(self) -> None:
        """Remember the file at the first connection; raise SqliteError when a later one has opened another."""
        if self._path is None:
            return
        if self._identity is None:
            self._identity = _identity(self._path)
            self._next_look = time.monotonic() + _LOOK_EVERY_S
        else:
            self._next_look = 0.0
            self.check()

    def check(self) -> None:
        """Raise SqliteError when the file was removed or replaced. It looks twice a second, in microseconds."""
        if self.is_lost:
            raise SqliteError(
                f'The database file "{self._path}" was {self._lost} while it was open, and nothing is stored in it any '
                "more: put the file back if need be, and restart the server (or make a new client)"
            )

    @property
    def is_lost(self) -> bool:
        """Whether the file was removed or replaced."""
        if self._lost is None and self._path is not None and self._identity is not None:
            now = time.monotonic()
            if now >= self._next_look:
                self._next_look = now + _LOOK_EVERY_S
                found = _identity(self._path)
                if found != self._identity:
                    self._lost = "removed" if found is None else "replaced"
        return self._lost is not None


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from every other that exists, or None when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - cheaper than Path, and called often
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
