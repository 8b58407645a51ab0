"""A call on its way: from an event loop to the thread that runs it, and back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ...errors import SqliteError
from ..client import SqliteResult
from .sql import Kind, Step

__all__ = ["Job", "Mailbox", "post_all"]


@dataclass(slots=True, eq=False)
class Job:
    """Is one call: its statements, where they may run, and in the end their results or an error.

    ``call`` is run instead of statements when it is set.
    """

    steps: tuple[Step, ...]
    kind: Kind
    future: asyncio.Future[list[SqliteResult]]
    mailbox: Mailbox
    call: Callable[[], None] | None = None
    results: list[SqliteResult] = field(default_factory=list[SqliteResult])
    error: SqliteError | None = None

    def settle(self) -> None:
        """Hand the outcome to the caller; runs on the caller's loop."""
        if self.future.done():  # cancelled meanwhile: what was asked for has happened all the same
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.results)


class Mailbox:
    """Brings finished jobs home to one event loop.

    A loop is woken once, however many jobs finish before it gets to look. No lock: appending comes before reading the
    flag here, and clearing the flag before emptying the box there, so that nothing is left lying.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._finished: deque[Job] = deque()
        self._woken = False

    @property
    def is_closed(self) -> bool:
        """Say whether nobody can be waiting any more."""
        return self._loop.is_closed()

    def post(self, jobs: Iterable[Job]) -> None:
        """Take in finished jobs, from any thread."""
        self._finished.extend(jobs)
        if self._woken:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop was closed, and its callers with it
            self._finished.clear()

    def _deliver(self) -> None:
        self._woken = False
        finished = self._finished
        while finished:
            finished.popleft().settle()


def post_all(jobs: list[Job]) -> None:
    """Bring a group of finished jobs home, each to its own loop, with one wake-up a loop."""
    first = jobs[0].mailbox
    if all(job.mailbox is first for job in jobs):
        first.post(jobs)
        return
    boxes: dict[Mailbox, list[Job]] = {}
    for job in jobs:
        boxes.setdefault(job.mailbox, []).append(job)
    for mailbox, group in boxes.items():
        mailbox.post(group)
